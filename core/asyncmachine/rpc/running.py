"""The mutations of one client of a server: run on the source, and answered when that knows the outcome.

What else a client may ask for is in `served`.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from asyncmachine.machine import reasons
from asyncmachine.machine.args import ErrorArgs
from asyncmachine.machine.errors import AmError
from asyncmachine.machine.mutation import MutationSource
from asyncmachine.machine.result import CANCELED, FinalResult, Result
from asyncmachine.rpc.answering import ServerSession
from asyncmachine.rpc.called import args_of, called_by
from asyncmachine.rpc.calls import MAX_BYTES
from asyncmachine.rpc.connection import Connection
from asyncmachine.rpc.errors import CallRefused, Code
from asyncmachine.rpc.events import AnswerRequested, CanRequested, MutationRequested
from asyncmachine.rpc.exposure import Exposure
from asyncmachine.rpc.legality import Phase
from asyncmachine.rpc.loose import LooseArgs
from asyncmachine.rpc.netmach import NetworkMachine
from asyncmachine.rpc.pushing import Pushing
from asyncmachine.rpc.relaying import Share, Way
from asyncmachine.rpc.requests import Answer
from asyncmachine.rpc.timing import call_at
from asyncmachine.rpc.tracing import Tracing, within
from asyncmachine.rpc.weighing import weight_of

Link = Connection[ServerSession]


class RunningClient:
    """What `served` adds welcome, waits, questions and payloads to.

    `_heir` is the same client in its next connection: an answer that is late goes there. `_share` is what it has under
    way, at a source that is a mirror or has once not answered at once.
    """

    __slots__ = ("_connection", "_heir", "_loop", "_loose", "_pushing", "_share", "_source", "_tracing")

    _connection: Link
    _heir: RunningClient | None
    _loop: asyncio.AbstractEventLoop
    _loose: LooseArgs | None
    _pushing: Pushing
    _share: Share | None
    _source: Any
    _tracing: Tracing | None

    @property
    def exposure(self) -> Exposure:
        """What it sees of the source."""
        return self._pushing.telling.exposure

    @property
    def connection(self) -> Link:
        """Where the client is."""
        return self._connection

    @property
    def ready(self) -> bool:
        """True from when the client has applied the welcome until either side has said goodbye."""
        return self._connection.session.phase is Phase.READY

    def run(self, request: MutationRequested) -> None:
        """Runs a mutation on the source and answers it, now or when the source knows the outcome."""
        try:
            if self._share is not None:
                self._share.take(request.id, request.size)
            result = self._mutate(request)
        except CallRefused as refused:
            self._fail(request.id, refused, answered=request.answered)
        except AmError as error:
            self._fail(request.id, CallRefused(Code.NOT_EXECUTED, str(error)), answered=request.answered)
            self._pushing.source_changed()
        else:
            # Only these two of the request: what it was unpacked to may be a hundred times its bytes.
            done = partial(self._done, request.id, result, answered=request.answered)
            if result.done():
                done()
                return
            timer = None if self._is_relay else self._timed(request, result)
            self._pushing.source_changed()
            result.then(partial(self._loop.call_soon_threadsafe, partial(done, timer=timer)))

    def answer_again(self, request: AnswerRequested) -> None:
        """Answers a call that was run already."""
        self._tell(request.id, request.answer)

    # Inside

    @property
    def _is_relay(self) -> bool:
        """Whether the source is a mirror itself."""
        return isinstance(self._source, NetworkMachine)

    def _note_late(self, number: int, request: MutationRequested | CanRequested) -> None:
        """It waits, as another thread is at work with the source."""
        self._share = self._share or Share(Way())
        self._share.note(number, max(request.size, weight_of(request.args, MAX_BYTES)))

    def _give_back(self, number: int) -> None:
        if self._share is not None:
            self._share.give_back(number)

    def _timed(self, request: MutationRequested, result: Result) -> asyncio.TimerHandle | None:
        """The mutation waits, and is taken back when its time is over."""
        self._note_late(request.id, request)
        if request.expires is None:
            return None
        late = CallRefused(Code.DEADLINE, "the source was busy for longer than the call had time")
        return call_at(self._loop, request.expires, partial(self._source._withdraw, result, late))

    def _mutate(self, request: MutationRequested) -> Result:
        if not request.states:
            return CANCELED  # its caller has given up
        left = None if request.expires is None else request.expires - self._loop.time()
        if left is not None and left < 0:
            raise CallRefused(Code.DEADLINE, "it came too late to be run")
        called = called_by(self.exposure, self._source.names, request)
        args = args_of(self.exposure, called, request, self._loose)
        event = request.source
        source = None if event is None else MutationSource(event.machine, event.tx, event.time)
        told = args.get(ErrorArgs.key)
        if isinstance(told, ErrorArgs) and "Exception" in called:
            self._source._err = told.err  # as `add_err` does, which takes one detailed state only
        self._pushing.holds = True  # the answer tells what changes meanwhile
        try:
            with within(self._tracing, request.trace):
                calls = self._source if left is None or not self._is_relay else self._source.within(left)
                found: Result = getattr(calls, request.kind)(called, args or None, e=source)
        finally:
            self._pushing.holds = False
        return found

    def _done(self, id: int, result: Result, *, answered: bool, timer: asyncio.TimerHandle | None = None) -> None:
        if timer is not None:
            timer.cancel()
        try:
            answer = self._outcome(result.wait())
        except AmError as error:  # the source is a mirror itself, and its own call failed
            answer = refusal_of(error)
        if isinstance(answer, CallRefused):
            self._fail(id, answer, answered=answered)
        elif answered:
            self._answer(id, answer)
        else:
            self._give_back(id)
            self._connection.session.requests.answered(id, answer)
            self._pushing.source_changed()

    def _outcome(self, final: FinalResult) -> Answer:
        """Of a canceled call also why, to those who may read whatever that may name."""
        if final.executed:
            return True
        return (self.exposure.sees_all and reasons.told_elsewhere(final.reason)) or False

    def _fail(self, id: int, error: CallRefused, *, answered: bool) -> None:
        """Tells of an error, also whoever wants no answer."""
        self._answer(id, error)
        if not answered:
            self._connection.session.requests.failed(id, error)

    def _answer(self, id: int, answer: Answer) -> None:
        """Notes an answer, and gives it to the client: where it is now, or when it asks again."""
        self._give_back(id)
        client = self
        client._connection.session.requests.answered(id, answer)
        while client._heir is not None:
            client = client._heir
        if client.ready:
            client._tell(id, answer)

    def _tell(self, id: int, answer: Answer) -> None:
        if isinstance(answer, CallRefused):
            self._connection.session.refuse(id, answer)
        else:
            reason = answer if isinstance(answer, str) else ""
            self._pushing.tell(partial(self._pushing.telling.reply, id, executed=answer is True, reason=reason))
        self._connection.flush()


def refusal_of(error: AmError) -> CallRefused:
    """What a client is told of a call that was passed on and failed there."""
    if isinstance(error, CallRefused):
        return error
    code, retryable = getattr(error, "code", Code.UNKNOWN_OUTCOME), getattr(error, "retryable", False)
    return CallRefused(code, str(error), retryable=retryable)
