"""The relay as a machine: what it does, and what it was asked to do and refused."""

from __future__ import annotations

from dataclasses import dataclass

import asyncmachine as am
from asyncmachine.states import Basic, Disposed


class RelayStates(Disposed, Basic):
    """The Multi states count by their ticks: two for each tunnel, or refusal.

    `TunnelUp` and `TunnelDown` come with every tunnel, beside the pair of its kind: `WsTunListen…` for one that is
    listened for, `WsDial…` for one that dialled in. All of them carry a `TunnelArgs`.
    """

    ErrAuth = am.state(multi=True, add="Exception", require="Exception")
    ErrLimit = am.state(multi=True, add="Exception", require="Exception")
    ErrTarget = am.state(multi=True, add="Exception", require="Exception")

    HttpStarting = am.state(require=Basic.Start, remove="HttpReady")
    HttpReady = am.state(require=Basic.Start, remove=HttpStarting)

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
