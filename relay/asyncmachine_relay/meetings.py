"""Meetings: places where a page that listens is called by others, with no TCP in between.

    Meeting("peers", ids="page-.+", callers="tool-.+")

    /listen/page-1/peers          this page may be called
    /dial/tool-7/peers:page-1     this program calls it

Both need a token, so the application decides who listens under which id and who may call whom (`TunnelGrants.targets`
has "peers" for the one and "peers:page-1", or a pattern, for the other). A page with one connection is called once and
listens again, as on a port; one with many is called as often as it has room.

The page may be held by another relay of the same `cluster`: then that relay is called (`legs`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import ClassVar

from asyncmachine.rpc.transport import Transport, TransportClosed
from asyncmachine_relay.joining import join
from asyncmachine_relay.matchers import Serving, Tunnel
from asyncmachine_relay.patterns import pattern_of
from asyncmachine_relay.policy import Op, Reason, Refused, RelayConfigError, check_id
from asyncmachine_relay.states import TunnelStates
from asyncmachine_relay.waiting import left, may_idle

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)

Elsewhere = Callable[[Tunnel, "Meeting", str], Awaitable[Transport | None]]
"""Calls an id that another relay holds, for this tunnel. None: nobody holds it. Raises `Refused`."""


@dataclass(frozen=True)
class Meeting:
    """One place. `ids` and `callers` are regular expressions that fit the whole id of who listens, and of who dials.

    Raises `RelayConfigError`.
    """

    name: str
    ids: str = ".*"
    callers: str = ".*"
    _ids: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _callers: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("ids", "callers"):
            text = getattr(self, name)
            object.__setattr__(self, f"_{name}", pattern_of(text, f"meeting {self.name!r}: {name} {text!r}", name))
        if not _NAME.fullmatch(self.name):
            wrong = f"meeting {self.name!r}: name must have 1 to 64 characters of A-Z a-z 0-9 _ . -"
            raise RelayConfigError(wrong, field="name")

    def takes(self, id: str, target: str) -> bool:
        """Whether a tunnel of this id that listens on `target` listens here."""
        return target == self.name and self._ids.fullmatch(id) is not None

    def called(self, id: str, target: str) -> str | None:
        """The id that a tunnel of this `id` calls here with `target`. None: it may not, or calls elsewhere."""
        name, colon, wanted = target.partition(":")
        if name != self.name or not colon or not self._callers.fullmatch(id):
            return None
        return wanted if self.listens(wanted) else None

    def listens(self, id: str) -> bool:
        """Whether this id may listen here."""
        try:
            return self._ids.fullmatch(check_id(id)) is not None
        except Refused:
            return False


class Waiting:
    """Those who wait to be called at this relay."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], Callable[[], Serving]] = {}

    def put(self, key: tuple[str, str], answer: Callable[[], Serving]) -> None:
        """From now on who calls `key`, a meeting's name and an id, gets what `answer` makes."""
        self._open[key] = answer

    def take_back(self, key: tuple[str, str], answer: Callable[[], Serving]) -> None:
        """Ends that; another one of the same id stays."""
        if self._open.get(key) == answer:
            del self._open[key]

    def find(self, meeting: Meeting, id: str) -> Callable[[], Serving] | None:
        """Who waits there under this id."""
        return self._open.get((meeting.name, id))


class OneCall:
    """A page that can be called once: `answer` is its tunnel, until the caller is done with it."""

    def __init__(self, tunnel: Tunnel, gone: Callable[[], None]) -> None:
        self.taken = asyncio.Event()
        self.over = asyncio.Event()
        self._tunnel = tunnel
        self._gone = gone

    @asynccontextmanager
    async def answer(self) -> AsyncIterator[Tunnel]:
        self._gone()
        self.taken.set()
        try:
            yield self._tunnel
        finally:
            self.over.set()


@dataclass(frozen=True)
class Listens:
    """`/listen/<id>/<meeting>`."""

    meeting: Meeting
    waiting: Waiting
    states: ClassVar[type[TunnelStates]] = TunnelStates

    def fits(self, id: str, target: str) -> bool:
        return self.meeting.takes(id, target)

    async def serve(self, tunnel: Tunnel) -> None:
        """One caller, until both have ended. Raises `TransportClosed` when the page leaves before there is one."""
        key = (self.meeting.name, tunnel.id)
        call = OneCall(tunnel, lambda: self.waiting.take_back(key, answer))
        answer = call.answer
        self.waiting.put(key, answer)
        may_idle(tunnel, allowed=True)
        try:
            await _first(call.taken.wait(), left(tunnel))
            may_idle(tunnel, allowed=False)
            await call.over.wait()
        finally:
            self.waiting.take_back(key, answer)

    async def serve_many(self, tunnel: Tunnel, called: Callable[[], Serving]) -> None:
        """Every caller is a connection. Raises `TransportClosed` when the page has left."""
        key = (self.meeting.name, tunnel.id)
        self.waiting.put(key, called)
        may_idle(tunnel, allowed=True)
        try:
            await left(tunnel)
        finally:
            self.waiting.take_back(key, called)


@dataclass(frozen=True)
class Calls:
    """`/dial/<id>/<meeting>:<listening id>`. `elsewhere` asks the other relays; None: there are none."""

    meeting: Meeting
    waiting: Waiting
    elsewhere: Elsewhere | None = None
    states: ClassVar[type[TunnelStates]] = TunnelStates
    serve_many: ClassVar[None] = None

    def fits(self, id: str, target: str) -> bool:
        return self.meeting.called(id, target) is not None

    async def serve(self, tunnel: Tunnel) -> None:
        """One call, until both have ended. Raises `Refused` when nobody waits."""
        wanted = tunnel.target.partition(":")[2]
        answer = self.waiting.find(self.meeting, wanted)
        if answer is not None:
            async with _answered(answer) as far:
                await join(tunnel.transport, far.transport)
            return
        leg = None if self.elsewhere is None else await self.elsewhere(tunnel, self.meeting, wanted)
        if leg is None:
            raise nobody()
        try:
            await join(tunnel.transport, leg)
        finally:
            await leg.close()


def nobody() -> Refused:
    """No one waits under the id that was called."""
    return Refused(Reason.UNREACHABLE, "nobody waits to be called under this id; try again later")


def check_meetings(meetings: Iterable[Meeting], targets: Iterable[str]) -> None:
    """Raises `RelayConfigError` when two have one name, or one has that of a target."""
    seen = set(targets)
    for number, meeting in enumerate(meetings):
        if meeting.name in seen:
            wrong = f"meeting {meeting.name!r}: a meeting or target of this name is there; rename one"
            raise RelayConfigError(wrong, field=f"meetings.{number}.name")
        seen.add(meeting.name)


def matchers_of(
    meetings: Iterable[Meeting], waiting: Waiting, elsewhere: Elsewhere | None
) -> dict[Op, tuple[Listens | Calls, ...]]:
    """What answers each op for these meetings."""
    meetings = tuple(meetings)
    return {
        Op.LISTEN: tuple(Listens(meeting, waiting) for meeting in meetings),
        Op.DIAL: tuple(Calls(meeting, waiting, elsewhere) for meeting in meetings),
    }


@asynccontextmanager
async def _answered(answer: Callable[[], AbstractAsyncContextManager[Tunnel]]) -> AsyncIterator[Tunnel]:
    """Enters what a waiting page offers. Raises `Refused` if it has no room, or left just now."""
    entering = answer()
    try:
        far = await entering.__aenter__()
    except TransportClosed as closed:
        if closed.code == Reason.LIMIT.close_code:
            raise Refused(Reason.LIMIT, "this page has all the connections it may have; try again later") from None
        raise nobody() from None
    try:
        yield far
    finally:
        await entering.__aexit__(None, None, None)


async def _first(one: Awaitable[object], other: Awaitable[object]) -> None:
    """Waits for either; raises what the first of them raised."""
    tasks = {asyncio.ensure_future(one), asyncio.ensure_future(other)}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
