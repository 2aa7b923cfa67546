"""The relay as a machine, and each of its tunnels as one below it: what they do, and what was refused."""

from __future__ import annotations

from dataclasses import dataclass

import asyncmachine as am
from asyncmachine.states import Basic, Disposed


class RelayStates(Disposed, Basic):
    """The Multi states count by their ticks: two for each tunnel, or refusal.

    `TunnelUp` and `TunnelDown` come with every tunnel, beside the pair of its kind: `WsTunListen…` for one that is
    listened for, `WsDial…` for one that dialled in. All of them carry a `TunnelArgs`. `ConnectEvent` to `InitClient`
    are those of the debug stream, and `ErrGraph` says that one sent what does not fit together. `Agreed`: it has a
    cluster, and the other relays can be asked.
    """

    ErrAuth = am.state(multi=True, add="Exception", require="Exception")
    ErrLimit = am.state(multi=True, add="Exception", require="Exception")
    ErrTarget = am.state(multi=True, add="Exception", require="Exception")

    ErrGraph = am.state(multi=True, add="Exception", require="Exception")
    ConnectEvent = am.state(multi=True, require=Basic.Start)
    ClientMsg = am.state(multi=True, require=Basic.Start)
    DisconnectEvent = am.state(multi=True, require=Basic.Start)
    InitClient = am.state(multi=True, require=Basic.Start)

    HttpStarting = am.state(require=Basic.Start, remove="HttpReady")
    HttpReady = am.state(require=Basic.Start, remove=HttpStarting)
    Draining = am.state(require=HttpReady)
    Agreed = am.state(require=Basic.Start)

    TunnelUp = am.state(multi=True, require=HttpReady)
    TunnelDown = am.state(multi=True, require=HttpReady)
    WsTunListenConn = am.state(multi=True, require=HttpReady)
    WsTunListenDisconn = am.state(multi=True, require=HttpReady)
    WsDialConn = am.state(multi=True, require=HttpReady)
    WsDialDisconn = am.state(multi=True, require=HttpReady)


@dataclass(frozen=True)
class TunnelArgs(am.Args, prefix="relay", state="Tunnel"):
    """Which tunnel: `op` is `listen` or `dial`, `address` the peer's."""

    op: str
    id: str
    target: str
    address: str


@dataclass(frozen=True)
class SenderArgs(am.Args, prefix="relay", state="Sender"):
    """Which sender of the debug stream: a number of the relay's, and its address."""

    number: int
    address: str


class TunnelStates(Disposed, Basic):
    """One tunnel. Its phases exclude each other: Opening or Resuming, then Open, then Closed.

    `Resuming`: its owner opened the id again, and the tunnel of before has to end first. `HalfClosed`: one direction
    has ended. `Congested`: one side has waited for the other for a while. `ErrClient` is a page that broke off,
    `ErrServer` a target that did. Adding `Disposing` ends the tunnel.
    """

    ErrClient = am.state(multi=True, add="Exception", require="Exception")
    ErrServer = am.state(multi=True, add="Exception", require="Exception")

    WebSocket = am.state()
    Start = am.state(add=WebSocket)
    Opening = am.state(require=WebSocket, remove=("Resuming", "Open", "Closed"))
    Resuming = am.state(require=WebSocket, remove=(Opening, "Open", "Closed"))
    Open = am.state(require=WebSocket, remove=(Opening, Resuming, "Closed"))
    HalfClosed = am.state(require=Open)
    Congested = am.state(require=Open)
    Closed = am.state(remove=(Opening, Resuming, Open, WebSocket))

    Phase = am.group(Opening, Resuming, Open, Closed)


class ListeningTunnelStates(TunnelStates):
    """One tunnel whose page is called over TCP: `TcpListen` until the port is open, `Ready` while somebody calls."""

    TcpListen = am.state(require=TunnelStates.WebSocket, remove="TcpListening")
    TcpListening = am.state(require=(TunnelStates.Start, TunnelStates.WebSocket), remove=TcpListen)
    TcpAccepted = am.state(require=TcpListening, add="Ready")
    Ready = am.state(require=TcpAccepted)
    Start = am.state(add=(TcpListen, TunnelStates.WebSocket))
