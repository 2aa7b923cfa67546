"""The calls of one client: they go out in their order, and each result learns what became of its call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from msgspec.structs import astuple

from asyncmachine.machine.machine import Machine
from asyncmachine.machine.mutation import Kind, MutationSource
from asyncmachine.machine.result import Outcome, Result
from asyncmachine.rpc import events as e
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.asking import ClientSession
from asyncmachine.rpc.connection import Connection
from asyncmachine.rpc.errors import CallRefused, CallTimedOut, Code, NotConnected, RpcError
from asyncmachine.rpc.limits import check_value
from asyncmachine.rpc.remote_result import RemoteResult
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.tracing import Tracing, packed
from asyncmachine.rpc.unheard import unheard
from asyncmachine.rpc.values import pack_args

Link = Connection[ClientSession]
Send = Callable[[Link, Result], None]


class Calling:
    """Sends mutations and settles their results. `ready()` is the connection that they may go out on.

    While the client is `between()` two connections they wait; then comes `moved` or `lost`.

    `places` has the number of each state in the session.
    """

    __slots__ = (
        "_between", "_held", "_holds", "_in_loop", "_loop", "_machine", "_ready", "_results", "_syncs", "_tracing",
        "places",
    )  # fmt: skip

    def __init__(
        self,
        machine: Machine[C],
        ready: Callable[[], Link | None],
        between: Callable[[], bool],
        loop: Callable[[], asyncio.AbstractEventLoop | None],
        in_loop: Callable[..., None],
        tracing: Tracing | None,
    ) -> None:
        self.places: Mapping[str, int] = {}
        self._machine = machine
        self._ready = ready
        self._between = between
        self._held: list[tuple[Result, Send, tuple[str, ...]]] = []
        self._holds = False
        self._loop = loop
        self._in_loop = in_loop
        self._tracing = tracing
        self._results: dict[int, Result] = {}
        self._syncs: dict[int, Result] = {}

    # For the mirror, from any thread

    def call(
        self,
        kind: Kind,
        states: tuple[str, ...],
        args: Mapping[str, Any],
        source: MutationSource | None,
        within: float | None,
    ) -> Result:
        """Sends a mutation to the source. Raises `Unsendable`; whatever goes wrong later fails the result."""
        packed_args, origin, trace = pack_args(args), _origin(source), packed(self._tracing)

        def send(link: Link, result: Result) -> None:
            places = self.places_of(states)
            number = link.session.call(kind, places, packed_args, origin, link.now, within, trace)
            self._results[number] = result

        return self._ask(send, kind, *states)

    def notify(self, states: tuple[str, ...], args: Mapping[str, Any], source: MutationSource | None) -> Result:
        """Asks the source to add states, and for no answer: the result counts as executed once it is sent."""
        packed_args, origin, trace = pack_args(args), _origin(source), packed(self._tracing)

        def send(link: Link, result: Result) -> None:
            link.session.notify(self.places_of(states), packed_args, origin, link.now, trace)
            result._settle(Outcome.EXECUTED)

        return self._ask(send, "add", *states)

    def sync(self) -> Result:
        """Asks for the whole clock."""

        def send(link: Link, result: Result) -> None:
            self._syncs[link.session.sync()] = result

        return self._ask(send, "sync")

    # Events of the session

    def settle(self, link: Link, event: e.Event) -> bool:
        """Takes an event that is about a call. False for all others."""
        match event:
            case e.Replied():
                self._settle(event.id, partial(_settled, executed=event.executed, reason=event.reason), link)
            case e.CallFailed():
                if isinstance(event.error, CallTimedOut) and C.RetryingCall in self._machine:
                    self._machine.add(C.CallRetryFailed)
                self._settle(event.id, partial(self._failed, error=event.error), link)
            case e.CallsRepeated():
                self._machine.add(C.RetryingCall)
            case e.CallsArrived():
                self.arrived(link.session)
            case e.Synced():
                _settled(self._syncs.pop(event.id, None), executed=True)
                self._machine.add(C.MetricSync)
                self._machine.remove(C.MetricSync)  # not by a handler, which would take memory of each idle mirror
            case _:
                return False
        return True

    def lost(self, session: ClientSession, *, coming_back: bool) -> None:
        """The connection has ended. Calls that wait for their answers are retried when it comes back."""
        syncs, self._syncs = self._syncs, {}
        for result in syncs.values():
            result._fail(NotConnected("the connection ended before the clock came: ask again"))
        if coming_back and len(session.calls):
            self._machine.add(C.RetryingCall)
        self.release()

    def arrived(self, session: ClientSession) -> None:
        """Nothing is tried again any more, if no call is open."""
        if not len(session.calls) and C.RetryingCall in self._machine:
            self._machine.remove(C.RetryingCall)

    def moved(self) -> None:
        """Another connection has taken the place of the first. Its welcome has told the whole clock."""
        syncs, self._syncs = self._syncs, {}
        for result in syncs.values():
            _settled(result, executed=True)
        self.release()

    def release(self) -> None:
        """Sends what has waited, on the connection that there is now."""
        held, self._held = self._held, []
        for each in held:
            self._send(*each)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Calls that are made meanwhile are sent at the end."""
        self._holds = True
        try:
            yield
        finally:
            self._holds = False
            self.release()

    def place(self, state: str) -> int:
        """The number of a state in the session, -1 if it has none."""
        return self.places.get(state, -1)

    # Inside

    def _ask(self, send: Send, *what: str) -> Result:
        result = RemoteResult(partial(unheard, self._machine, what), self._loop())
        self._in_loop(self._send, result, send, what)
        return result

    def _send(self, result: Result, send: Send, what: tuple[str, ...]) -> None:
        if self._holds or self._between():
            self._held.append((result, send, what))
            return
        link = self._ready()
        if link is None:
            result._fail(NotConnected(f"not connected to the source: {' '.join(what)} was not sent"))
            return
        try:
            send(link, result)
        except RpcError as error:
            result._fail(error)
        else:
            link.flush()

    def places_of(self, states: tuple[str, ...]) -> tuple[int, ...]:
        """The numbers of states in the session. Raises `CallRefused` for one that has none."""
        try:
            return tuple([self.places[name] for name in states])
        except KeyError as missing:
            raise CallRefused(Code.NO_STATE, f"the source has no state {missing} for this client") from None

    def _failed(self, result: Result | None, *, error: RpcError) -> None:
        if result is None:  # of a notification, whose caller was told only that it was sent
            unheard(self._machine, ("a notification",), error)
        else:
            result._fail(error)

    def _settle(self, number: int, tell: Callable[[Result | None], None], link: Link) -> None:
        tell(self._results.pop(number, None))
        self.arrived(link.session)


def _origin(source: MutationSource | None) -> m.Source | None:
    if source is None:
        return None
    origin = m.Source(source.machine_id, source.tx_id, source.machine_time)
    check_value(f"the source of the call, {source.machine_id!r}", astuple(origin), m.Source)
    return origin


def _settled(result: Result | None, *, executed: bool, reason: str = "") -> None:
    if result is not None:
        result._settle(Outcome.EXECUTED if executed else Outcome.CANCELED, "" if executed else reason)
