"""A tunnel through a relay: a `Dial` whose calls fetch a token, open a WebSocket with it and return it as a transport.

Tunnels that are opened at the same time fetch theirs with one request (`tunnel_tokens`). How a tunnel stands shows in
its `machine`: `Open`, or `ErrRefused` with the relay's reason in `tunnel.refused`, from the first refusal until it is
let in. One that may pass, as when another program has the id, is met with another try, after the third in a row only
every few seconds. One that will not pass ends in `GaveUp` after three in a row: the tunnel does not ask again until
`retry` is called. What answers without being a relay (`NO_RELAY`, with the address in the hint) may pass too, and is
a warning in the log after the third in a row.

What it needs of its surroundings is `Outside`: a native program has it from `relayed`, a page from
`asyncmachine_web.page.relay`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol, cast
from urllib.parse import quote

from asyncmachine.machine.machine import Machine
from asyncmachine.machine.schema import StatesDef, state
from asyncmachine.machine.view import View
from asyncmachine.rpc.transport import GOING_AWAY, LOST, NORMAL, Direct, Peer, Take, Transport, TransportClosed
from asyncmachine.rpc.transport.tunnel_tokens import Tokens, reason_in

logger = logging.getLogger("asyncmachine.rpc")

SUBPROTOCOL: Final = "amrpc.v1"
"""One connection."""
MANY: Final = "ammany.v1"
"""Many connections, to be carried by `many.Many`."""
TOKEN_PREFIX: Final = "amtok."  # noqa: S105 (a prefix)
TIMEOUT: Final = 3
"""Seconds for an answer, and for an open socket."""
REPEATED: Final = 3
"""Refusals in a row that are no accident: a person is told, and it is of no use to ask again at once, or at all."""
PAUSE: Final = 7.0
"""Seconds between two tries from then on, at least: less than a client's longest pause, of which none is to be lost."""
LEFT: Final = "the page was left"
FINAL: Final = frozenset({"AUTH", "FORBIDDEN", "TARGET"})
"""Refusals that the next try will meet again; all others pass. An id is free when the page that has it is gone."""
UNNAMED: Final[Mapping[int, str]] = {401: "AUTH", 403: "FORBIDDEN", 429: "LIMIT"}
"""What a status means that comes without a reason of ours: something before the relay has answered in its place."""
NO_RELAY: Final = "NO_RELAY"
"""The reason of whatever else answers: the address leads to another server, or to another path of this one."""
NOT_IMPLEMENTED: Final = 501
"""What a server of files answers; other statuses from 500 on are those of a proxy whose relay is away for a moment."""
STOPPING: Final = "SHUTDOWN"

Op = Literal["listen", "dial"]


class TunnelStates(StatesDef):
    ErrRefused = state(multi=True, add="Exception", require="Exception")
    Opening = state(remove="Open")
    Open = state(remove=(Opening, "GaveUp"))
    GaveUp = state(remove=(Opening, Open))


class Refused(TransportClosed):
    """The relay's no. `name` is its reason, as DUPLICATE, and `hint` what to do about it."""

    state = "ErrRefused"

    def __init__(self, code: int, name: str, hint: str) -> None:
        super().__init__(code, f"{name}: {hint}")
        self.name = name
        self.hint = hint

    @classmethod
    def of(cls, closed: TransportClosed) -> TransportClosed:
        """The same as a Refused if it is one: the relay closes with `NAME: hint`. One that stops refuses nothing."""
        name, hint = reason_in(closed.reason)
        return cls(closed.code, name, hint) if name and closed.code != GOING_AWAY else closed


class Outside(Protocol):
    """What a tunnel needs of the program that it is in."""

    url: str
    """The relay's address, which ends with a slash."""
    named: str
    """Where that is written, for whoever has to mend it."""
    tokens: Tokens
    """Asks the relay."""

    async def connect(self, path: str, subprotocols: tuple[str, ...]) -> Transport:
        """An open WebSocket, whose `close` does not wait. Raises TransportClosed."""

    def secret(self, id: str) -> str:
        """The resume secret of an id, empty for none."""

    def keep(self, id: str, secret: str) -> None: ...


class Tunnel:
    """See the module. One connection at a time: when a second one is opened, the relay closes the first."""

    def __init__(
        self,
        op: Op,
        id: str,
        target: str,
        outside: Outside,
        *,
        many: bool = False,
        parent: View[Any] | None = None,
    ) -> None:
        self.op, self.id, self.target = op, id, target
        self.subprotocol = MANY if many else SUBPROTOCOL
        self.machine = Machine(TunnelStates, id=f"tunnel-{op}-{id}", tags=("tunnel",), parent=parent)
        self._outside = outside
        self.refused: Refused | None = None
        """The last refusal; None once it is let in."""
        self.refusals = 0
        """How many there were in a row."""
        self._final = 0
        self._strays = 0
        self._not_before = 0.0
        self._current: Connected | None = None
        self._left = False

    async def __call__(self) -> Transport:
        """A new connection. Raises Refused, or TransportClosed when there is no relay to be had."""
        pauses = TunnelStates.GaveUp in self.machine or asyncio.get_running_loop().time() < self._not_before
        if pauses and self.refused is not None:
            raise self.refused.with_traceback(None)  # which would grow with each raise
        self._check_not_left()
        self.machine.add(TunnelStates.Opening)
        try:
            token = await self._token()
            path = f"{self.op}/{quote(self.id, safe='')}/{quote(self.target, safe='')}"
            self._check_not_left()
            inner = await self._outside.connect(path, (self.subprotocol, TOKEN_PREFIX + token))
        except TransportClosed as error:
            closed = Refused.of(error)
            self._note(closed)
            raise closed from None
        finally:
            self.machine.remove(TunnelStates.Opening)
        self._current = (DirectlyConnected if hasattr(inner, "deliver") else Connected)(inner, self)
        self.machine.add(TunnelStates.Open)
        return self._current

    def retry(self) -> None:
        """After it gave up or pauses, or the page was left and is back: the next call dials again."""
        self._left = False
        self._final, self._not_before = 0, 0.0
        self.machine.remove(TunnelStates.GaveUp)

    def leave(self) -> None:
        """The page goes: close at once, and do not take the id from the page that comes after."""
        self._left = True
        if self._current is not None:
            closing = self._current.close(NORMAL, LEFT)
            try:
                closing.send(None)  # no loop will run a task any more
            except StopIteration:
                pass
            else:
                closing.close()

    def _check_not_left(self) -> None:
        if self._left:
            raise TransportClosed(GOING_AWAY, LEFT)

    async def _token(self) -> str:
        wish = {"op": self.op, "id": self.id, "target": self.target, "secret": self._outside.secret(self.id)}
        status, answer = await self._outside.tokens.ask(wish)
        try:
            if status == 200:
                self._outside.keep(self.id, answer["resume"])
                return str(answer["token"])
            name, hint = str(answer["code"]), str(answer["message"])
        except (LookupError, TypeError) as error:
            if status >= 500 and status != NOT_IMPLEMENTED:
                raise TransportClosed(LOST, f"the relay answered {status} without a token") from error
            name, hint = self._unnamed(status)
        if name == STOPPING:  # it refuses nothing
            raise TransportClosed(GOING_AWAY, f"{name}: {hint}")
        raise Refused(4000 + status, name, hint)

    def _unnamed(self, status: int) -> tuple[str, str]:
        """Name and hint of an answer that is no relay's."""
        if status in UNNAMED:
            return UNNAMED[status], f"the server answered {status} without a reason"
        outside = self._outside
        return NO_RELAY, f"no relay is at {outside.url}token, which answered {status}: is {outside.named} right?"

    def _note(self, closed: TransportClosed) -> None:
        if not isinstance(closed, Refused):
            return
        self.refused = closed
        self.refusals += 1
        self._final = self._final + 1 if closed.name in FINAL else 0
        self._strays = self._strays + 1 if closed.name == NO_RELAY else 0
        if self._strays == REPEATED:
            logger.warning("%s: %s", self.machine.id, closed.hint)
        if self.refusals >= REPEATED:
            self._not_before = asyncio.get_running_loop().time() + PAUSE
        self.machine.add_err(closed)
        if self._final >= REPEATED:
            self.machine.add(TunnelStates.GaveUp)

    def _welcomed(self) -> None:
        """The first message came: the relay let us in."""
        self.refused, self.refusals, self._final, self._strays, self._not_before = None, 0, 0, 0, 0.0
        if TunnelStates.ErrRefused in self.machine:
            self.machine.remove([TunnelStates.ErrRefused, TunnelStates.Exception])

    def _ended(self, connected: Connected, closed: TransportClosed) -> None:
        if self._current is connected:
            self._current = None
            self.machine.remove(TunnelStates.Open)
            self._note(closed)


class Connected:
    """A tunnel's transport, which tells the tunnel when it is let in and how it ends."""

    def __init__(self, inner: Transport, tunnel: Tunnel) -> None:
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
        self._heard()
        return data

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        await self.inner.close(code, reason)
        self._tunnel._ended(self, TransportClosed(code, reason))

    def _heard(self) -> None:
        if self._silent:
            self._silent = False
            self._tunnel._welcomed()


class DirectlyConnected(Connected):
    """The same on a transport that is `Direct`."""

    def send_now(self, messages: Sequence[bytes]) -> bool:
        return cast(Direct, self.inner).send_now(messages)

    def deliver(self, take: Take | None) -> None:
        def hear(messages: list[bytes]) -> int:
            self._heard()
            assert take is not None
            return take(messages)

        cast(Direct, self.inner).deliver(None if take is None else hear)
