"""The schemas of aRPC's own machines, state by state, as they are specified."""

from __future__ import annotations

from typing import Any

import pytest

from asyncmachine import Machine, SchemaError
from asyncmachine.rpc import Consumer, Server, StateSource
from asyncmachine.rpc.states import ClientStates, MuxStates, ServerStates

HANDSHAKE = ["Handshaking", "HandshakeDone"]
RPC = ["RpcStarting", "RpcAccepting", "RpcReady"]
CONNECTED = ["Connecting", "Connected", "Disconnecting", "Disconnected"]

SHARED: dict[str, dict[str, Any]] = {
    "Exception": {"multi": True},
    "ErrOnClient": {"require": ["Exception"]},
    "ErrHandlerTimeout": {"multi": True, "require": ["Exception"], "add": ["Exception"]},
    "Healthcheck": {"multi": True},
    "Heartbeat": {},
    "ErrNetworkTimeout": {"require": ["Exception"]},
    "ErrRpc": {"require": ["Exception"]},
    "ErrDelivery": {"require": ["Exception"]},
}

SERVER: dict[str, dict[str, Any]] = {
    **SHARED,
    "ErrNetwork": {"require": ["Exception"], "remove": ["ClientConnected"]},
    "Handshaking": {"require": ["Start"], "remove": HANDSHAKE},
    # Specified with Exception in its Remove, which its handler does: the relation would bar every later error.
    "HandshakeDone": {"require": ["Start", "ClientConnected"], "remove": HANDSHAKE},
    "Start": {"add": ["RpcStarting"]},
    "Ready": {"auto": True, "require": ["HandshakeDone", "RpcReady"]},
    "RpcStarting": {"require": ["Start"], "remove": RPC},
    "RpcAccepting": {"require": ["Start"], "remove": RPC},
    "RpcReady": {"require": ["Start"], "remove": RPC},
    "ClientConnected": {"require": ["RpcReady"]},
    "MetricSync": {"multi": True},
    "WebSocketTunnel": {},
}

CLIENT: dict[str, dict[str, Any]] = {
    **SHARED,
    "ErrNetwork": {"require": ["Exception"], "remove": ["Connecting"]},
    "ErrConnecting": {"require": ["Exception"]},
    "Start": {"add": ["Connecting"], "remove": ["ConnRetryFailed"]},
    "Ready": {"auto": True, "require": ["HandshakeDone"]},
    "Connecting": {"require": ["Start"], "remove": CONNECTED},
    "Connected": {"require": ["Start"], "add": ["Handshaking"], "remove": [*CONNECTED, "RetryingConn"]},
    "Disconnecting": {"remove": CONNECTED},
    "Disconnected": {"auto": True, "remove": CONNECTED},
    "Handshaking": {"require": ["Start", "Connected"], "remove": HANDSHAKE},
    "HandshakeDone": {"require": ["Start", "Connected"], "remove": HANDSHAKE},
    "RetryingCall": {"require": ["Start"]},
    "CallRetryFailed": {"add": ["ErrNetwork", "Exception"], "remove": ["RetryingCall"]},
    "RetryingConn": {"require": ["Start"]},
    "ConnRetryFailed": {"remove": ["Start"]},
    "ServerDelivering": {"multi": True, "require": ["Connected"]},
    "ServerPayload": {"multi": True, "require": ["Connected"]},
    "MetricSync": {"multi": True},
    "SourceAway": {"require": ["HandshakeDone"]},  # beyond the specification
}

MUX: dict[str, dict[str, Any]] = {
    "Exception": {"multi": True, "remove": ["Ready"]},
    "ErrNetwork": {"multi": True, "require": ["Exception"], "add": ["Exception"]},
    "ErrHandlerTimeout": {"multi": True, "require": ["Exception"], "add": ["Exception"]},
    "Start": {},
    "Ready": {"require": ["Start"]},
    "Healthcheck": {"multi": True},
    "Heartbeat": {},
    "ClientConnected": {"multi": True, "require": ["Start"]},
    "HasClients": {"require": ["Start"]},
    "NewServerErr": {},
    "DeliveryErr": {"multi": True},
}


@pytest.mark.parametrize(("states", "expected"), [(ServerStates, SERVER), (ClientStates, CLIENT), (MuxStates, MUX)])
def test_schema(states: Any, expected: dict[str, dict[str, Any]]) -> None:
    assert states.schema.to_dict() == expected


def test_consumer_and_source() -> None:
    assert Consumer.schema.to_dict() == {"Exception": {"multi": True}, "ServerPayload": {"multi": True}}
    assert StateSource.schema.to_dict() == {"Exception": {"multi": True}, "ErrOnClient": {"require": ["Exception"]}}


def test_a_source_with_handlers_needs_a_state_for_errors_of_clients() -> None:
    with pytest.raises(SchemaError, match=r"rpc\.StateSource"):
        Server(Machine({"A": {}}, {"AState": lambda e: None}, id="bare"))
    Server(Machine({"A": {}}))


def test_ids_and_tags() -> None:
    server = Server(Machine({"A": {}}, id="source"), "name")
    assert (server.machine.id, server.machine.tags) == ("rs-name", ("rpc-server",))
    assert Server(server.source).machine.id == "rs-rpc"
