"""What a client asks without changing anything: a dry run with the handlers of the source, the names of arguments.

Questions may be asked twice, so they are: those without an answer are asked again in the next connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from asyncmachine.machine.args import Args
from asyncmachine.machine.result import Outcome, Result
from asyncmachine.rpc.calling import Link
from asyncmachine.rpc.errors import CallRefused, CallTimedOut, NotConnected, RpcError
from asyncmachine.rpc.events import CanKind
from asyncmachine.rpc.messages import Reply, WireArgs
from asyncmachine.rpc.remote_result import RemoteResult
from asyncmachine.rpc.timing import call_at

WITHIN: Final = 60.0
"""Seconds for an answer, over all connections."""

Ask = Callable[[Link], int]
Told = Callable[[Reply | RpcError], None]


class _Open(NamedTuple):
    """A question without an answer, which has to come until `due`."""

    ask: Ask
    told: Told
    due: float
    timer: asyncio.TimerHandle


class Questions:
    """Asks, and hands the answers on. `ready()` is the connection, `places(states)` the numbers of states there."""

    __slots__ = ("_failed", "_in_loop", "_loop", "_open", "_places", "_ready")

    def __init__(
        self,
        ready: Callable[[], Link | None],
        loop: Callable[[], asyncio.AbstractEventLoop | None],
        in_loop: Callable[..., None],
        places: Callable[[tuple[str, ...]], tuple[int, ...]],
        failed: Callable[[Any], object],
    ) -> None:
        self._ready = ready
        self._loop = loop
        self._in_loop = in_loop
        self._places = places
        self._failed = failed
        self._open: dict[int, _Open] = {}

    def can(self, kind: CanKind, states: tuple[str, ...], args: WireArgs | None) -> Result:
        """Whether the source would accept this. From any thread."""
        result = RemoteResult(self._failed, self._loop())

        def told(answer: Reply | RpcError) -> None:
            if isinstance(answer, RpcError):
                result._fail(answer)
            else:
                result._settle(Outcome.EXECUTED if answer.executed else Outcome.CANCELED)

        self._in_loop(self._ask, lambda link: link.session.can(kind, self._places(states), args), told)
        return result

    async def arg_names(self) -> tuple[str, ...]:
        """`State.argument` for each field of the typed arguments that the source's process knows of these states."""
        found: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()
        loop = found.get_loop()

        def settle(answer: Reply | RpcError) -> None:
            if found.done():
                return
            if isinstance(answer, RpcError):
                found.set_exception(answer)
            else:
                found.set_result(answer.names)

        self._in_loop(
            self._ask,
            lambda link: link.session.ask_args(),
            lambda answer: loop.call_soon_threadsafe(settle, answer),
        )
        return await found

    def answered(self, reply: Reply) -> None:
        """An answer has come."""
        asked = self._open.pop(reply.id, None)
        if asked is not None:
            asked.timer.cancel()
            asked.told(CallRefused(reply.code, reply.message) if reply.code else reply)

    def resume(self) -> None:
        """There is a new connection: asks there what has no answer."""
        left, self._open = self._open, {}
        for asked in left.values():
            asked.timer.cancel()
            self._ask(asked.ask, asked.told, asked.due)

    def lost(self) -> None:
        """There will be no other connection."""
        left, self._open = self._open, {}
        for asked in left.values():
            asked.timer.cancel()
            asked.told(NotConnected("the connection ended before the answer: ask again"))

    def _ask(self, ask: Ask, told: Told, due: float | None = None) -> None:
        link, loop = self._ready(), self._loop()
        if link is None or loop is None:
            told(NotConnected("not connected to the source: nothing was asked"))
            return
        try:
            number = ask(link)
        except RpcError as error:
            told(error)
            return
        if due is None:
            due = loop.time() + WITHIN
        self._open[number] = _Open(ask, told, due, call_at(loop, due, partial(self._late, number)))
        link.flush()

    def _late(self, number: int) -> None:
        asked = self._open.pop(number, None)
        if asked is not None:
            asked.told(CallTimedOut("no answer within the time for a question"))


def arg_names(states: Iterable[str]) -> tuple[str, ...]:
    """`State.argument` for each field of the typed arguments of these states, in the order of their definition."""
    wanted = frozenset(states)
    kinds: list[Any] = [kind for kind in Args.registry.values() if kind.state in wanted and kind.prefix[:1] != "_"]
    # A class that is no dataclass does not tell its fields.
    named = [(kind.state, field) for kind in kinds if _is_told(kind) for field in fields(kind)]
    return tuple(dict.fromkeys(f"{state}.{field.name}" for state, field in named if field.init))


def _is_told(kind: object) -> bool:
    return is_dataclass(kind)
