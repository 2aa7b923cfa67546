"""Machines that outlive their page: reloaded, crashed or closed, they resume where they were.

    basket = Basket()
    machine = await durable.open(Shop, basket, id="shop", save=basket.save, load=basket.load)
    machine.add(Shop.Paying)          # returns at once, as ever
    await machine.add(Shop.Paid)      # returns when it is on disk, and will be there after a crash

Only machines that are opened here pay for it. How the keeping stands shows in `machine.keeping`: `Kept` when all is
written; `InMemory` with an error state when the machine goes on without: `ErrFull` or `ErrStore` (tried again with each
change, and after a pause), `ErrBlocked`, `ErrTakenOver` (another page has opened it since); `ErrDamaged` when records
could not be read. An `await` then raises `NotKept`. To use one machine in several tabs, see `shared`.

What is kept are states, ticks and queue tick of transitions that are over, and what `save` returns; not what waits in
the queue. Handlers are not called on resuming: `MachineRestored` is added, if the schema has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar, Unpack

import msgspec

import asyncmachine as am
from asyncmachine.machine.options import Options
from asyncmachine.machine.reading import N
from asyncmachine.rpc.values import encode_value, pack_data, unpack_data, unpack_ext
from asyncmachine_web.page import term
from asyncmachine_web.page.journal import Journal, KeepingStates
from asyncmachine_web.page.lifecycle import lifecycle
from asyncmachine_web.page.records import Log, Recovered, Snapshot, recover
from asyncmachine_web.page.store import ClaimedMeanwhile, IndexedDb, Store, StoreFailed

D = TypeVar("D", bound=str)


@dataclass(frozen=True, slots=True)
class Saved:
    """A machine as it was stored. `schema_hash` is that of its schema then, `data` what `save` had returned."""

    clock: Mapping[str, int]
    queue_tick: int
    machine_tick: int
    schema_hash: str
    data: Any


class SchemaChanged(am.SchemaError):
    """The stored machine has other states than the schema. `gone` and `new` name them; nothing was changed."""

    def __init__(self, id: str, gone: tuple[str, ...], new: tuple[str, ...]) -> None:
        told = [f"no {', '.join(gone)} any more"] * bool(gone) + [f"{', '.join(new)} in addition"] * bool(new)
        super().__init__(
            f"what is stored of {id!r} is of an older schema, this one has {' and '.join(told)}: give "
            "durable.open a `migrate` that returns what was saved with the names of this one"
        )
        self.gone, self.new = gone, new


class Kept(am.Result):
    """A result that is final once it is on disk too. What became of the mutation is known as soon as it has run."""

    __slots__ = ("_inner", "_journal")

    def __init__(self, inner: am.Result, journal: Journal) -> None:
        super().__init__(am.Outcome.QUEUED, inner.tick)
        self._inner = inner
        self._journal = journal
        inner.then(self._ran)

    def _ran(self) -> None:
        self._outcome = self._inner.outcome
        pending = self._journal.pending
        if pending is None:
            self._written(None)
        else:
            pending.then(lambda: self._written(pending))

    def _written(self, wait: am.Wait | None) -> None:
        assert self._wait is not None
        if wait is not None and wait._error is not None:
            self._error = wait._error()
        self._wait._end()


class DurableMachine(am.Machine[N]):
    """Made by `open`. `keeping` is the machine that tells how its records stand."""

    __slots__ = ("_journal", "_save", "keeping")

    def __init__(self, states: Any, handlers: object, store: Store, save: Callable[[], Any], options: Options) -> None:
        name = options.get("id", "")
        self.keeping: am.Machine[KeepingStates] = am.Machine(KeepingStates, id=f"keeping-{name}", tags=("keeping",))
        self._journal = Journal(self.keeping, store, self._snapshot)
        self._save = save
        super().__init__(states, handlers, **options)

    async def keep(self) -> None:
        """Writes data that has changed without a mutation. Raises `NotKept`."""
        await self._journal.changed()

    def flush(self) -> None:
        """Begins to write what is not written yet, without waiting for the event loop."""
        self._journal.flush()

    def dispose(self) -> None:
        """As any machine's. What is not written yet is written all the same."""
        if not self._closing:
            self._journal.end()
        super().dispose()

    def stop_keeping(self, why: StoreFailed) -> None:
        """Goes on in memory, with `why` as the reason."""
        self._journal.stop(why)

    def _take_over(self, saved: Saved) -> None:
        with self._guard:
            self._queue_tick = self._issued = self._finished = saved.queue_tick
        time = tuple([saved.clock[name] for name in self._names])
        self.restore(am.Export(self._id, self._names, time, saved.queue_tick, saved.machine_tick))
        self.keeping.add(KeepingStates.Resumed)

    def _snapshot(self) -> Snapshot:
        data = encode_value(pack_data(self._save()))
        return Snapshot(self._names, self.schema.hash, self.time(), self._queue_tick, self._machine_tick, data)

    def _mutate(self, *request: Any) -> am.Result:
        return self._kept(super()._mutate(*request))

    def _put_first(self, mutation: am.Mutation) -> am.Result:
        result = super()._put_first(mutation)
        return result if mutation.is_check else self._kept(result)

    def _kept(self, result: am.Result) -> am.Result:
        if self._closing or (result.done() and self._journal.pending is None):
            return result
        return Kept(result, self._journal)


async def open(  # noqa: A001 (as `io.open`: `durable.open` is how it is called)
    states: type[D] | Mapping[str, Any],
    handlers: object = None,
    *,
    save: Callable[[], Any] | None = None,
    load: Callable[[Any], object] | None = None,
    migrate: Callable[[Saved], Saved] | None = None,
    store: Store | None = None,
    **options: Unpack[Options],
) -> DurableMachine[D]:
    """A machine with the states, ticks and data that are stored under its `id`; a new one if there are none.

    `save` returns what is kept beside the ticks: plain values, as they travel (`rpc.values`), small enough to be
    written each time they change. `load` is given it again, before the ticks come; once more if another page writes
    or opens it at that moment, and the last one counts. `migrate` is called when the schema is another than the stored
    one; without it, `SchemaChanged` is raised if there are other states.

    A page that opens takes over from the one that had it, unless `load`, `migrate` or the schema fail: then that one
    keeps it. Never fails for what the storage does: see the module. Where `shared` has it opened, raises `TermOver`
    and takes nothing over when the tab leads no more.
    """
    term.check()
    name = options.get("id", "")
    if not name:
        raise am.SchemaError("a durable machine needs an id, by which it is found again")
    found = store or IndexedDb(name)
    machine: DurableMachine[D] = DurableMachine(states, handlers, found, save or _nothing, options)

    def loaded(stored: Mapping[str, bytes]) -> tuple[Recovered, Saved | None]:
        recovered = recover(stored)
        saved = None if recovered.state is None else _fitting(machine, recovered.state, migrate)
        if saved is not None and load is not None:
            load(saved.data)
        return recovered, saved

    stored: Mapping[str, bytes] = {}
    before = stored
    recovered, saved, failed, claimed = recover(stored), None, None, False
    try:
        while not claimed:
            before = await found.read()
            term.check()
            recovered, saved = loaded(before)
            with suppress(ClaimedMeanwhile):
                stored = await found.claim()
                claimed = True
        term.check()
        if stored != before:
            recovered, saved = loaded(stored)
    except StoreFailed as error:
        failed = error
    except BaseException:
        found.close()
        raise
    if saved is not None:
        machine._take_over(saved)
    machine.trace(machine._journal)
    if failed is not None:
        machine.stop_keeping(failed)
        return machine
    await _begin(machine, Log(stored, recovered), recovered)
    if store is None:
        _leave_with(machine, found)
    return machine


async def _begin(machine: DurableMachine[Any], log: Log, recovered: Recovered) -> None:
    first = machine._journal.begin(log)
    if recovered.damage is not None:
        machine.keeping.add_err(recovered.damage)
    try:
        await first
    except am.AmError:
        pass  # shows in `keeping`


def _fitting(machine: am.Machine[Any], state: Snapshot, migrate: Callable[[Saved], Saved] | None) -> Saved:
    data = unpack_data(msgspec.msgpack.decode(state.data, ext_hook=unpack_ext))
    clock = dict(zip(state.names, state.ticks, strict=True))
    saved = Saved(clock, state.queue_tick, state.machine_tick, state.hash, data)
    if migrate is not None and state.hash != machine.schema.hash:
        saved = migrate(saved)
    gone = tuple([name for name in saved.clock if not machine.has(name)])
    new = tuple([name for name in machine.names if name not in saved.clock])
    if gone or new:
        raise SchemaChanged(machine.id, gone, new)
    return saved


def _nothing() -> None:
    return None


def _leave_with(machine: DurableMachine[Any], store: Store) -> None:
    """Writes what is left and lets go of the database when the page goes. One that is back writes once more.

    Another page may have opened the machine meanwhile: a write tells.
    """
    page = lifecycle()

    def leave() -> None:
        machine.flush()
        store.close()

    def come_back() -> None:
        machine._journal.changed()

    bound = page.machine.bind({"LeavingState": lambda _: leave(), "LeavingEnd": lambda _: come_back()})

    def forget(_id: str) -> None:
        page.machine.detach(bound)
        leave()

    machine.on_dispose(forget)
