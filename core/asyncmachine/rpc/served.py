"""One client of a server, from its welcome to its end: its waits, its questions and its payloads.

Its mutations are run by `running`, and what changes meanwhile is pushed to it by `pushing`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from secrets import token_bytes, token_hex
from typing import Any, Final

from asyncmachine.machine.errors import AmError, InvalidArgs
from asyncmachine.machine.result import Result
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.called import args_of, called_by, states_of, wait_args_of
from asyncmachine.rpc.calls import MAX_CALLS
from asyncmachine.rpc.convoy import Convoy
from asyncmachine.rpc.deliveries import Kept
from asyncmachine.rpc.errors import CallRefused, Code, Unsendable
from asyncmachine.rpc.events import CanRequested, WatchRequested
from asyncmachine.rpc.exposure import Exposure
from asyncmachine.rpc.features import UPSTREAM
from asyncmachine.rpc.loose import LooseArgs
from asyncmachine.rpc.pushing import Pushing
from asyncmachine.rpc.questions import arg_names
from asyncmachine.rpc.relaying import Share, way_of
from asyncmachine.rpc.running import Link, RunningClient, refusal_of
from asyncmachine.rpc.tracing import Tracing
from asyncmachine.rpc.transport import MAX_FRAME
from asyncmachine.rpc.upstream import Upstream, link_of
from asyncmachine.rpc.watching import Watched

_EACH: Final = 64
"""Bytes that one name or answer weighs."""


class ServedClient(RunningClient):
    """A client that was let in."""

    __slots__ = ("_convoy", "_upstream", "_way", "has_left", "id", "watched")

    def __init__(
        self,
        source: Any,
        connection: Link,
        id: str,
        exposure: Exposure,
        push_interval: float,
        failed: Callable[[AmError], object],
        tracing: Tracing | None = None,
        loose: LooseArgs | None = None,
    ) -> None:
        self.id = id
        self.has_left = False
        """Whether it has said goodbye. Else its session is kept for a while."""
        self._heir = None
        self._tracing = tracing
        self._loose = loose
        self._source = source
        self._way = way = way_of(source)
        self._share = None if way is None else Share(way)
        self._connection = connection
        self._convoy: Convoy | None = None
        self._upstream: Upstream | None = None
        self._loop = asyncio.get_running_loop()
        self._pushing = Pushing(source, connection, exposure, f"rpc-{id}-{token_hex(4)}", push_interval, failed)
        self.watched = Watched(source, self._fired, way)
        connection.drained = self._drained

    @property
    def weight(self) -> int:
        """About how many bytes its session takes in memory for what the client has sent: waits, wishes, and errors."""
        answers = self._connection.session.requests.refused
        return self.watched.weight + _EACH * (self.exposure.wishes + answers)

    def welcome(self, hello: m.Hello, features: tuple[str, ...], epoch: int, after: ServedClient | None) -> None:
        """Answers HELLO with everything there is to see. Raises `Unsendable` if a tick is beyond the wire.

        With `after` the session is that of this client's earlier connection, whose calls become this one's.
        """
        if after is not None:
            self._pushing.telling.exposure = self.exposure.after(after.exposure)
            self.watched, self.watched.tell = after.watched, self._fired
        clock = self._pushing.telling.clock()
        seen = self.exposure
        known = hello.sync.hash == seen.digest
        link = link_of(self._source) if UPSTREAM in features else None
        if link is not None:
            changed = partial(self._in_loop, self._tell_upstream)
            self._upstream = Upstream(link, f"rpc-{self.id}-{token_hex(4)}", changed)
        before = None if after is None else after.connection.session
        self._connection.session.welcome(
            m.Welcome(
                version=m.VERSION,
                session=token_bytes(8) if before is None else before.id,
                epoch=epoch,
                seq=0,
                features=features,
                limits=m.Limits(MAX_FRAME, MAX_CALLS if self._way is None else self._way.room // 2),
                source=self._source.id,
                names=None if known and seen.is_whole else seen.names,
                schema=seen.schema.to_dict() if hello.sync.schema and not known else None,
                hash=seen.digest,
                time=clock.ticks,
                queue_tick=clock.queue_tick,
                machine_tick=clock.machine_tick,
                grants=seen.grant_list,
                resumed=before is not None,
                received=0 if before is None else before.requests.last,
                away=self._upstream is not None and self._upstream.told,
            ),
            self._loop.time(),
            before,
        )
        if after is not None:
            after._heir = self
        self._pushing.telling.start()
        if self._upstream is not None:
            self._upstream.start()

    def established(self) -> None:
        """The client is ready: what has changed since the welcome follows."""
        self._tell_upstream()
        self._pushing.begin()
        for number, error in self._connection.session.requests.unasked:
            self._tell(number, error)

    def _tell_upstream(self) -> None:
        """The source, a mirror, is cut off from its own source or back, unless the client knows."""
        upstream = self._upstream
        if upstream is not None and self.ready and upstream.told is not upstream.is_away:
            upstream.told = not upstream.told
            self._connection.session.upstream(upstream.told)
            self._connection.flush()

    def watch(self, request: WatchRequested) -> None:
        """Waits for arguments of a state on behalf of the client."""
        try:
            state = states_of(self.exposure, (request.state,))[0]
            args = wait_args_of(self.exposure, request.args)
            self.watched.arm(request.token, state, args, request.size)
        except CallRefused as error:
            self._fired(request.token, 0, error.code, error.message)
        except InvalidArgs as error:
            self._fired(request.token, 0, Code.BAD_ARGS, str(error))
        except AmError as error:  # the source is a mirror itself, and cannot ask its own source
            self._fired(request.token, 0, Code.NOT_EXECUTED, str(error))

    def can(self, request: CanRequested) -> None:
        """Asks the source whether it would accept something, and tells the client."""
        try:
            called = called_by(self.exposure, self._source.names, request)
            if self._share is not None:
                self._share.take(-request.id, request.size)
            asked = self._dry_run(request.kind)(called, args_of(self.exposure, called, request, self._loose) or None)
        except AmError as error:
            self._give_back(-request.id)
            refused = error if isinstance(error, CallRefused) else CallRefused(Code.NOT_EXECUTED, str(error))
            self._reply(request.id, refused)
        else:
            if not asked.done() and not self._is_relay:
                self._note_late(-request.id, request)
            asked.then(partial(self._in_loop, self._could, request.id, asked))

    def _dry_run(self, kind: str) -> Callable[..., Result]:
        # A mirror knows the relations only; the handlers are asked where they are.
        found: Callable[..., Result] = getattr(self._source, f"can_{kind}_remote", None) or getattr(
            self._source, f"can_{kind}"
        )
        return found

    def _could(self, id: int, asked: Result) -> None:
        self._give_back(-id)
        try:
            executed = asked.wait().executed
        except AmError as error:
            self._reply(id, refusal_of(error))
        else:
            self._reply(id, executed=executed)

    def tell_args(self, id: int) -> None:
        """Tells the names of the arguments of the states that the client follows."""
        self._reply(id, names=arg_names(self.exposure.names))

    def _reply(
        self, id: int, error: CallRefused | None = None, *, executed: bool = False, names: tuple[str, ...] = ()
    ) -> None:
        if not self.ready:
            return
        session = self._connection.session
        try:
            session.answer(id, executed=executed, names=names, error=error)
        except Unsendable as unsendable:
            session.answer(id, error=CallRefused(Code.TOO_LARGE, str(unsendable)))
        self._connection.flush()

    def _in_loop(self, function: Callable[..., None], *args: object) -> None:
        if asyncio._get_running_loop() is self._loop:
            function(*args)
        else:
            self._loop.call_soon_threadsafe(function, *args)

    def _fired(self, token: int, tick: int, code: str = "", message: str = "") -> None:
        if self.ready:
            self._connection.session.fired(token, tick, code, message)
            self._connection.flush()

    def sync(self, id: int) -> None:
        """Sends the whole clock."""
        self._pushing.tell(partial(self._pushing.telling.all, id))
        self._connection.flush()

    def go_away(self, within: float, reason: str = "") -> None:
        """Asks the client to make another connection, if it knows how to. This one ends `within` so many seconds."""
        self._connection.session.go_away(within, reason)
        self._connection.flush()

    def send(self, kept: Kept) -> None:
        """Sends a payload, now or when it is its turn. Most clients get none."""
        if self._convoy is None:
            self._convoy = Convoy(self._connection)
        self._convoy.send(kept)

    def send_more(self) -> None:
        """What waits on its way to this client may go on: a payload is settled, or more of one is wanted."""
        if self._convoy is not None:
            self._convoy.go_on()

    def withdraw(self, token: bytes) -> None:
        """Tells that a large payload will not come any more."""
        if self.ready:
            self._connection.session.withdraw(token)
            self._connection.flush()

    def _drained(self) -> None:
        """The connection has room again: pushes that were held back are sent as one, and go first."""
        if self.ready:
            self._pushing.has_room()
        self.send_more()

    def close(self) -> None:
        """Stops watching the source, and sends no more payloads."""
        if self._convoy is not None:
            self._convoy.close()
        if self._upstream is not None:
            self._upstream.close()
        self._pushing.close()
