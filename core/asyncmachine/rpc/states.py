"""Schemas of the machines that aRPC itself runs, and of those that are exposed or fed by it.

A source inherits from `StateSource`, a machine that takes payloads from `Consumer`. `ServerStates` and `ClientStates`
are what `server.machine` and `client.machine` have: watch them, pipe them, wait for them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from asyncmachine.machine.args import Args
from asyncmachine.machine.schema import StatesDef, group, state
from asyncmachine.states import Basic, Connected

_HANDSHAKE = ("Handshaking", "HandshakeDone")
_RPC = ("RpcStarting", "RpcAccepting", "RpcReady")


class StateSource(StatesDef):
    """For a machine with handlers that is exposed to clients: `ErrOnClient` tells of errors at one of them."""

    ErrOnClient = state(require="Exception")


class Consumer(StatesDef):
    """For a machine that takes payloads: `ServerPayload` comes with `ServerPayload` arguments. Remove it after use."""

    ServerPayload = state(multi=True)


class Shared(StateSource, Basic):
    """What both sides of a session have."""

    ErrNetwork = state(require="Exception")
    ErrNetworkTimeout = state(require="Exception")
    ErrRpc = state(require="Exception")
    ErrDelivery = state(require="Exception")
    Handshaking = state(require="Start", remove=_HANDSHAKE)
    HandshakeDone = state(require="Start", remove=_HANDSHAKE)

    Handshake = group(_HANDSHAKE)


class ServerStates(Shared):
    """One server: it waits for a client (`RpcReady`), has one (`ClientConnected`), and is of use to it (`Ready`)."""

    ErrNetwork = state(require="Exception", remove="ClientConnected")
    # Its handler removes Exception. A Remove relation would, and would keep all errors out while there is a client.
    HandshakeDone = state(require=("Start", "ClientConnected"), remove=_HANDSHAKE)
    Start = state(add="RpcStarting")
    Ready = state(auto=True, require=("HandshakeDone", "RpcReady"))
    RpcStarting = state(require="Start", remove=_RPC)
    RpcAccepting = state(require="Start", remove=_RPC)
    RpcReady = state(require="Start", remove=_RPC)
    ClientConnected = state(require="RpcReady")
    MetricSync = state(multi=True)
    WebSocketTunnel = state()

    Rpc = group(_RPC)


class ClientStates(Shared, Connected):
    """One client: `Ready` while the mirror follows its source.

    That may be a mirror itself: `SourceAway` tells that it, or one behind it, is cut off, so that values may be old.
    `MetricSync` is an event: a whole clock has come that was asked for.
    """

    ErrNetwork = state(require="Exception", remove="Connecting")
    Start = state(add="Connecting", remove="ConnRetryFailed")
    Ready = state(auto=True, require="HandshakeDone")
    Connected = state(
        require="Start",
        add="Handshaking",
        remove=("Connecting", "Connected", "Disconnecting", "Disconnected", "RetryingConn"),
    )
    Handshaking = state(require=("Start", "Connected"), remove=_HANDSHAKE)
    HandshakeDone = state(require=("Start", "Connected"), remove=_HANDSHAKE)
    RetryingCall = state(require="Start")
    CallRetryFailed = state(add=("ErrNetwork", "Exception"), remove="RetryingCall")
    RetryingConn = state(require="Start")
    ConnRetryFailed = state(remove="Start")
    ServerDelivering = state(multi=True, require="Connected")
    ServerPayload = state(multi=True, require="Connected")
    MetricSync = state(multi=True)
    SourceAway = state(require="HandshakeDone")


class MuxStates(Basic):
    """Many servers at one address: it listens (`Ready`), and has `HasClients` while a client of one of them is let in.

    `ClientConnected` is an event. `NewServerErr` tells that no server could be made for a connection; the others go on.
    `DeliveryErr` is an event too: a payload that nobody awaits has failed, since its client is gone or stays away.
    """

    Exception = state(multi=True, remove="Ready")
    Ready = state(require="Start")
    ClientConnected = state(multi=True, require="Start")
    HasClients = state(require="Start")
    NewServerErr = state()
    DeliveryErr = state(multi=True)


@dataclass(frozen=True)
class ServerPayload(Args, state="ServerPayload", prefix="rpc"):
    """What a consumer gets.

    `source` and `source_tx` tell which machine's transition it came from (empty when the sender gave no event), `token`
    is the same for each copy of one payload, `meta` whatever the sender put beside the data. `client` is the machine of
    the client that it came to, and `epoch` is another number when that client's source is not the one of before.
    """

    name: str
    data: Any = None
    source: str = ""
    source_tx: str = ""
    token: bytes = b""
    meta: dict[str, Any] = field(default_factory=dict)
    client: str = ""
    epoch: int = 0


@dataclass(frozen=True)
class ServerDelivering(Args, state="ServerDelivering", prefix="rpc"):
    """Comes with `ServerDelivering` of a client, while a large payload of `size` bytes arrives."""

    name: str
    size: int
    token: bytes = b""


@dataclass(frozen=True)
class ClientInfo(Args, state="ClientConnected", prefix="rpc"):
    """Comes with `ClientConnected` and `HandshakeDone` of a server: who the client is."""

    id: str
    address: str = ""


@dataclass(frozen=True)
class Listening(Args, state="Ready", prefix="rpc"):
    """Comes with `Ready` of a mux, and with `RpcReady` of a server at an address: where it can be dialled."""

    address: str
