"""What one client is told of the clock of a source: the latest of it, or every transition by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asyncmachine.machine.mutation import KINDS
from asyncmachine.rpc.answering import ServerSession, Taken
from asyncmachine.rpc.clock import Clock
from asyncmachine.rpc.errors import Outgrown
from asyncmachine.rpc.exposure import Exposure
from asyncmachine.rpc.legality import Phase
from asyncmachine.rpc.watcher import Recorder, Watcher, moment_of


class Telling:
    """Watches the source between `start` and `stop`, and calls `changed()` on the thread that drains it.

    Nothing is told any more of a mirror whose source was replaced: all that would raises `Outgrown` then. `gone()` is
    called when the source is disposed of.
    """

    __slots__ = ("_clock", "_read", "_session", "_source", "_watcher", "_welcomed", "exposure")

    def __init__(
        self,
        source: Any,
        session: ServerSession,
        exposure: Exposure,
        id: str,
        changed: Callable[[], None],
        gone: Callable[[], None],
    ) -> None:
        self.exposure = exposure
        self._source = source
        self._session = session
        self._watcher = (Recorder if exposure.steps else Watcher)(source, id, changed, gone)
        self._welcomed = exposure
        # The clock is made once of what the watcher saw last, however often it is asked for.
        self._read: object = None
        self._clock: Clock

    def start(self) -> None:
        """Watches from now on. The exposure is what the client is welcomed with."""
        self._welcomed = self.exposure
        self._source.trace(self._watcher)

    def stop(self) -> None:
        """Watches no more."""
        self._source.untrace(self._watcher.id)

    def clock(self) -> Clock:
        """The source's clock as the client sees it."""
        last = self._watcher.last
        if last is not self._read:
            moment = moment_of(last)
            while len(moment[0]) != self.exposure.count:
                self._watcher.look()  # it may not have been watching when the source grew
                self._grow()
                last = self._watcher.last
                moment = moment_of(last)
            self._read, self._clock = last, self.exposure.clock(*moment)
        return self._clock

    def differs(self) -> bool:
        """Whether there is something to tell."""
        watcher = self._watcher
        self._check_same()
        return len(watcher) > 0 if isinstance(watcher, Recorder) else self._session.differs(self.clock())

    def changes(self) -> None:
        """Tells what has changed."""
        if isinstance(self._watcher, Recorder):
            self._steps(self._watcher)
        else:
            self._session.push(self.clock())

    def all(self, id: int) -> None:
        """Tells everything, as the answer to a question."""
        self._session.full(self._caught_up(), id)

    def reply(self, id: int, *, executed: bool, reason: str = "") -> None:
        """Tells the outcome of a call, and what has changed."""
        self._session.reply(id, executed, self._caught_up(), reason)

    def _caught_up(self) -> Clock:
        """The clock as it is now; of one that gets steps, as it is after those of them that there are."""
        self._check_same()
        if not isinstance(self._watcher, Recorder):
            return self.clock()
        self._steps(self._watcher)
        return self._session.known

    def _check_same(self) -> None:
        if self._watcher.restarted:
            raise Outgrown("the source of this mirror has begun anew: come back to begin with it")

    def _steps(self, recorder: Recorder) -> None:
        seen, lost = recorder.take()
        taken: list[Taken] = []
        for each in seen:
            if each.tx is None or lost or len(each.ticks) != self.exposure.count:
                # There are no steps of a schema change, nor of what was not kept.
                self._tell(taken)
                if len(each.ticks) != self.exposure.count:
                    self._grow()
                self._session.full(self.exposure.clock(each.ticks, each.queue_tick, each.machine_tick))
                self._session.counters.conflated += lost
                lost = False
            else:
                numbers = self.exposure.numbers(each.tx.called)
                clock = self.exposure.clock(each.ticks, each.queue_tick, each.machine_tick)
                taken.append(Taken(KINDS.index(each.tx.kind), numbers, each.tx.accepted, clock))
        self._tell(taken)

    def _tell(self, taken: list[Taken]) -> None:
        if taken:
            self._session.steps(taken)
            taken.clear()

    def _grow(self) -> None:
        """The source has more states: those that the client may see join its session. Raises `Outgrown`."""
        before = self.exposure
        now = before.grown(self._source.schema)
        if self._session.phase is Phase.READY and (now.names != before.names or now.news(before)):
            self._session.grow(now.names, now.news(self._welcomed))
        self.exposure = now
