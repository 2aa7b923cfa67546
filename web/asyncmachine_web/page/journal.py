"""The journal of a durable machine: notes that it has changed, and writes how it stands.

One write is under way at a time. What happens meanwhile goes into the next one, so a hundred mutations cost two
commits; only a page that goes hands over a second one behind the first. A write that fails is tried again with the next
change, or after a pause, and nothing is skipped: it holds all that has changed since the last one that was committed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import asyncmachine as am
from asyncmachine.machine.recovery import error_states, is_heard
from asyncmachine_web.page.records import Batch, Log, Snapshot
from asyncmachine_web.page.store import Store, StoreEmptied, StoreFailed, TakenOver

logger = logging.getLogger("asyncmachine.page")


class KeepingStates(am.StatesDef):
    ErrStore = am.state(multi=True, add="Exception", require="Exception")
    ErrFull = am.state(multi=True, add="Exception", require="Exception")
    ErrBlocked = am.state(multi=True, add="Exception", require="Exception")
    ErrTakenOver = am.state(multi=True, add="Exception", require="Exception")
    ErrDamaged = am.state(multi=True, add="Exception", require="Exception")
    Resumed = am.state()
    Writing = am.state(remove="Kept")
    Kept = am.state(remove=(Writing, "InMemory"))
    InMemory = am.state(remove=(Writing, Kept))


PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds until a write that the store has failed is tried again, doubled with each failure."""

MENDED = (KeepingStates.ErrStore, KeepingStates.ErrFull)
"""What a write that succeeds takes away. Damage stays until somebody has seen to it."""


class NotKept(am.AmError):
    """The mutation was carried out in memory, but is not on disk. `__cause__` tells why."""

    state = "ErrStore"


class Journal(am.Tracer):
    """Traces one machine. `state` tells how that stands; without a `log` nothing is ever written."""

    def __init__(self, machine: am.Machine[KeepingStates], store: Store, state: Callable[[], Snapshot]) -> None:
        self.machine = machine
        self._store = store
        self._state = state
        self._log: Log | None = None
        self._why: Exception = StoreFailed("it was not opened")
        # Ends with the write that is under way, and with the one after that.
        self._now: am.Wait | None = None
        self._next: am.Wait | None = None
        self._scheduled = False
        self._failures = 0
        self._retry: asyncio.TimerHandle | None = None
        self._over = False

    def begin(self, log: Log) -> am.Wait:
        """Writes from now on, all there is to begin with. The wait ends with the first write."""
        self._log = log
        self._store.on_lost(self._lost)
        return self.changed()

    def _lost(self) -> None:
        if not self._over:
            self.changed()

    def stop(self, why: StoreFailed) -> None:
        """Writes no more. What is under way comes to its end."""
        self._log, self._why = None, why
        self._to_memory(why)
        waits, self._next = self._next, None
        _end(waits, why)

    def changed(self) -> am.Wait:
        """The machine, or its data, is not as it was. The wait ends when it is written, or fails with `NotKept`."""
        if self._next is None:
            self._next = am.Wait()
            if self._now is None and not self._scheduled:
                self._scheduled = True
                asyncio.get_running_loop().call_soon(self._begin_write)
        return self._next

    @property
    def pending(self) -> am.Wait | None:
        """Ends when all that has happened is written; None if it is."""
        return self._next or self._now

    def flush(self) -> None:
        """Hands over to the store at once what has changed: the page may have no next turn of the loop."""
        if self._next is None or self._log is None:
            return
        if self._now is None:
            self._write(self._next)
        else:
            self._write_behind(self._log)

    def end(self) -> None:
        """The machine is about to go: what is not written yet is written as it stands now."""
        self.flush()
        self._over = True
        if self._retry is not None:
            self._retry.cancel()
        try:
            last = self._state()
        except Exception:  # noqa: BLE001 (the application's data, again: the write tells it)
            return
        self._state = lambda: last

    # For the machine

    def transition_end(self, tx: am.Transition) -> None:
        if not tx.is_check:
            self.changed()

    def transition_plain(self, *_: Any) -> None:
        self.changed()

    def schema_change(self, *_: Any) -> None:
        self.changed()

    # Inside

    def _begin_write(self) -> None:
        self._scheduled = False
        self._write_next()

    def _write_next(self) -> None:
        if self._next is not None and self._now is None:
            self._write(self._next)

    def _write_behind(self, log: Log) -> None:
        """A second write under the number of the one that is under way: the later one holds all that the first has."""
        try:
            batch = log.next(self._state())
            writing = self._store.write(batch.puts, batch.drops)
        except Exception:  # noqa: BLE001 (as in `_write`, which will tell it if the page stays)
            return
        log.also(batch)
        self._behind = asyncio.get_running_loop().create_task(_settled(writing))

    def _write(self, wait: am.Wait) -> None:
        self._next = None
        if self._log is None:
            _end(wait, self._why)
            return
        try:
            batch = self._log.next(self._state())
            writing = self._store.write(batch.puts, batch.drops)
        except Exception as error:  # noqa: BLE001 (the application's data: it may be anything)
            self._failed(error)
            _end(wait, error)
            return
        self._now = wait
        if KeepingStates.InMemory not in self.machine:
            self.machine.add(KeepingStates.Writing)
        self._task = asyncio.get_running_loop().create_task(self._finish(self._log, batch, writing, wait))

    async def _finish(self, log: Log, batch: Batch, writing: Awaitable[None], wait: am.Wait) -> None:
        failed: Exception | None = None
        try:
            batch = await self._written(log, batch, writing)
        except Exception as error:  # noqa: BLE001 (whoever waits must be told, whatever it is)
            failed = error
            self._failed(error)
        else:
            log.done(batch)
            self._failures = 0
            if self._next is None and self._log is not None:
                self._all_kept()
        self._now = None
        _end(wait, failed)
        self._write_next()
        if self._over and self._now is None:
            self._store.close()  # it may have been opened once more

    async def _written(self, log: Log, batch: Batch, writing: Awaitable[None]) -> Batch:
        """What is on disk now. Where all was cleared, all is written once more."""
        try:
            await writing
        except StoreEmptied as error:
            logger.warning("%s: %s; all of it is written once more", self.machine.id, error)
            batch = log.anew(self._state())
            await self._store.write(batch.puts, batch.drops)
        return batch

    def _all_kept(self) -> None:
        if KeepingStates.InMemory in self.machine:
            damaged = KeepingStates.ErrDamaged in self.machine
            self.machine.remove(MENDED if damaged else (*MENDED, KeepingStates.Exception))
        self.machine.add(KeepingStates.Kept)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, TakenOver):
            self._log, self._why = None, error  # for good: what is stored is another page's now
        elif isinstance(error, StoreFailed):
            self._try_later()
        is_new = error_states(error, self.machine.names)[0] not in self.machine
        if is_new and not is_heard(self.machine, error, KeepingStates.InMemory):
            logger.warning("%s: changes are in memory only: %s", self.machine.id, error)
        self._to_memory(error)

    def _try_later(self) -> None:
        if self._over:
            return
        if self._retry is not None:
            self._retry.cancel()
        pause = min(PAUSE * 2**self._failures, LONGEST_PAUSE)
        self._failures += 1
        self._retry = asyncio.get_running_loop().call_later(pause, self.changed)

    def _to_memory(self, error: Exception) -> None:
        self.machine.add_err(error)
        self.machine.add(KeepingStates.InMemory)


def not_kept(why: Exception) -> NotKept:
    error = NotKept(f"it is in memory only: {why}")
    error.__cause__ = why
    return error


async def _settled(writing: Awaitable[None]) -> None:
    """Nobody waits for it: if the page is back, all of it is written once more, and that is told."""
    with suppress(Exception):
        await writing


def _end(wait: am.Wait | None, why: Exception | None) -> None:
    if wait is not None:
        wait._end(None if why is None else partial(not_kept, why))
