"""Tunnels from this page or worker to the relay that served it.

    tunnel = listening("browser1", "orchestrator")          # waits to be called there; an aRPC server listens on it
    server.listen(tunnel)
    client = rpc.Client(dialing("browser1", "orchestrator"), schema=Orchestrator)

A tunnel is a `Dial`: each call fetches a fresh token, opens a WebSocket and returns it as a transport. How it stands
shows in `tunnel.machine`: `Open`, `ErrRefused` with the relay's reason in `machine.err`, and `GaveUp` after three
refusals in a row, for instance when another tab has the id. A tunnel that gave up does not ask again until the page
becomes visible or online, or `retry` is called.

Tunnels are closed when the page goes, so that a reloaded page finds its ids free; should the relay not know of the end
yet, the resume secret that the tab keeps (`tab.mjs`) proves whose the id is.
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal, Protocol
from urllib.parse import quote

import asyncmachine as am
from asyncmachine.rpc.transport import GOING_AWAY, LOST, NORMAL, Peer, Transport, TransportClosed

SUBPROTOCOL: Final = "amrpc.v1"
TOKEN_PREFIX: Final = "amtok."  # noqa: S105 (a prefix)
TRIES: Final = 3
FINAL: Final = frozenset({"AUTH", "FORBIDDEN", "TARGET", "DUPLICATE"})
"""Refusals that the next try will meet again; all others pass."""

Op = Literal["listen", "dial"]


class TunnelStates(am.StatesDef):
    ErrRefused = am.state(multi=True, add="Exception", require="Exception")
    Opening = am.state(remove="Open")
    Open = am.state(remove=(Opening, "GaveUp"))
    GaveUp = am.state(remove=(Opening, Open))


class Refused(TransportClosed):
    """The relay's no. `name` is its reason, as DUPLICATE, and `hint` what to do about it."""

    state = "ErrRefused"

    def __init__(self, code: int, name: str, hint: str) -> None:
        super().__init__(code, f"{name}: {hint}")
        self.name = name
        self.hint = hint

    @classmethod
    def of(cls, closed: TransportClosed) -> TransportClosed:
        """The same as a Refused if it is one: the relay closes with `NAME: hint` and a code from 4400 on."""
        name, colon, hint = closed.reason.partition(": ")
        return cls(closed.code, name, hint) if closed.code >= 4400 and colon and name.isupper() else closed


class SocketTransport(Transport, Protocol):
    """A WebSocket that can also be closed without waiting."""

    def abandon(self, code: int, reason: str) -> None:
        """Close at once; what waits is woken with TransportClosed."""


class Outside(Protocol):
    """What a tunnel needs of the browser, and a test replaces."""

    async def post(self, path: str, body: str) -> tuple[int, str]:
        """Status and text of the answer. Raises TransportClosed when there is none."""

    async def connect(self, path: str, subprotocols: tuple[str, ...]) -> SocketTransport:
        """An open WebSocket. Raises TransportClosed."""

    def secret(self, id: str) -> str:
        """The resume secret of an id, empty for none."""

    def keep(self, id: str, secret: str) -> None: ...


class Tunnel:
    """See the module. One connection at a time: when a second one is opened, the relay closes the first."""

    def __init__(self, op: Op, id: str, target: str, outside: Outside, *, parent: am.View[Any] | None = None) -> None:
        self.op, self.id, self.target = op, id, target
        self.machine = am.Machine(TunnelStates, id=f"tunnel-{op}-{id}", tags=("tunnel",), parent=parent)
        self._outside = outside
        self._refusals = 0
        self._refused: Refused | None = None
        self._current: Connected | None = None

    async def __call__(self) -> Transport:
        """A new connection. Raises Refused, or TransportClosed when there is no relay to be had."""
        if TunnelStates.GaveUp in self.machine and self._refused is not None:
            raise self._refused
        self.machine.add(TunnelStates.Opening)
        try:
            token = await self._token()
            path = f"{self.op}/{quote(self.id, safe='')}/{quote(self.target, safe='')}"
            inner = await self._outside.connect(path, (SUBPROTOCOL, TOKEN_PREFIX + token))
        except BaseException as error:
            self.machine.remove(TunnelStates.Opening)
            if isinstance(error, TransportClosed):
                self._note(error)
            raise
        self._current = Connected(inner, self)
        self.machine.add(TunnelStates.Open)
        return self._current

    def retry(self) -> None:
        """After it gave up: the next call dials again."""
        self._refusals = 0
        self.machine.remove(TunnelStates.GaveUp)

    def leave(self) -> None:
        """The page goes: close at once."""
        if self._current is not None:
            self._current.inner.abandon(GOING_AWAY, "the page was left")

    async def _token(self) -> str:
        wish = {"op": self.op, "id": self.id, "target": self.target, "secret": self._outside.secret(self.id)}
        status, text = await self._outside.post("token", json.dumps(wish))
        try:
            answer = json.loads(text)
            if status == 200:
                self._outside.keep(self.id, answer["resume"])
                return str(answer["token"])
            raise Refused(4000 + status, answer["code"], answer["message"])
        except (ValueError, LookupError, TypeError) as error:
            raise TransportClosed(LOST, f"the relay answered {status} without a token") from error

    def _note(self, closed: TransportClosed) -> None:
        if not isinstance(closed, Refused):
            return
        self._refused = closed
        self.machine.add_err(closed)
        self._refusals += closed.name in FINAL
        if self._refusals >= TRIES:
            self.machine.add(TunnelStates.GaveUp)

    def _welcomed(self) -> None:
        """The first message came: the relay let us in."""
        self._refusals = 0
        if TunnelStates.ErrRefused in self.machine:
            self.machine.remove([TunnelStates.ErrRefused, TunnelStates.Exception])

    def _ended(self, connected: Connected, closed: TransportClosed) -> None:
        if self._current is connected:
            self._current = None
            self.machine.remove(TunnelStates.Open)
            self._note(closed)


class Connected:
    """A tunnel's transport, which tells the tunnel when it is let in and how it ends."""

    def __init__(self, inner: SocketTransport, tunnel: Tunnel) -> None:
        self.inner = inner
        self._tunnel = tunnel
        self._silent = True

    @property
    def peer(self) -> Peer:
        return self.inner.peer

    @property
    def closed(self) -> bool:
        return self.inner.closed

    async def send(self, data: bytes) -> None:
        await self.inner.send(data)

    async def recv(self) -> bytes:
        try:
            data = await self.inner.recv()
        except TransportClosed as error:
            closed = Refused.of(error)
            self._tunnel._ended(self, closed)
            raise closed from error
        if self._silent:
            self._silent = False
            self._tunnel._welcomed()
        return data

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        await self.inner.close(code, reason)
        self._tunnel._ended(self, TransportClosed(code, reason))
