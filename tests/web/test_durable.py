"""Durable machines over a store in memory: what is written when, and what is resumed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import wraps
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine_web.page import durable, journal
from asyncmachine_web.page.durable import DurableMachine, Saved, SchemaChanged
from asyncmachine_web.page.journal import KeepingStates, NotKept
from asyncmachine_web.page.records import ASIDE, EVERY, RecordsDamaged
from asyncmachine_web.page.store import StorageBlocked, StorageFull, TakenOver
from asyncmachine_web.page.term import Term, TermOver
from tests.web.stores import Disk


class Shop(am.StatesDef):
    Open = am.state()
    Paid = am.state(multi=True)
    Refused = am.state()
    MachineRestored = am.state(multi=True)


class Basket:
    """Counts payments; refuses `Refused`."""

    def __init__(self) -> None:
        self.paid = 0
        self.restored: list[int] = []

    def RefusedEnter(self, e: am.Event) -> bool:
        return False

    def PaidState(self, e: am.Event) -> None:
        self.paid += 1

    def MachineRestoredState(self, e: am.Event) -> None:
        self.restored.append(self.paid)

    def load(self, data: Any) -> None:
        self.paid = data["paid"]

    def save(self) -> dict[str, int]:
        return {"paid": self.paid}


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(test)
    def run(*args: Any, **kw: Any) -> None:
        asyncio.run(test(*args, **kw))

    return run


async def shop(disk: Disk, basket: Basket | None = None) -> DurableMachine[Shop]:
    basket = basket or Basket()
    return await durable.open(Shop, basket, id="shop", save=basket.save, load=basket.load, store=disk.opened())


@in_loop
async def test_a_machine_resumes_with_states_ticks_queue_tick_and_data() -> None:
    disk = Disk()
    before = await shop(disk)
    before.add(Shop.Open)
    for _ in range(3):
        await before.add(Shop.Paid)
    basket = Basket()
    after = await shop(disk, basket)
    assert after.clock([Shop.Open, Shop.Paid]) == {"Open": 1, "Paid": 5}
    assert after.queue_tick == before.queue_tick + 1  # MachineRestored
    assert after.machine_tick == 1
    assert (basket.paid, basket.restored) == (3, [3])
    assert KeepingStates.Resumed in after.keeping
    assert KeepingStates.Resumed not in before.keeping


@in_loop
async def test_a_call_returns_at_once_and_its_await_with_the_commit() -> None:
    disk = Disk()
    machine = await shop(disk)
    disk.open.clear()
    result = machine.add(Shop.Open)
    assert result
    assert Shop.Open in machine
    assert not result.done()
    waiting = asyncio.ensure_future(_final(result))
    await asyncio.sleep(0)
    assert KeepingStates.Writing in machine.keeping
    assert not waiting.done()
    disk.open.set()
    assert (await waiting).executed
    assert KeepingStates.Kept in machine.keeping


async def _final(result: am.Result) -> am.FinalResult:
    return await result


@in_loop
async def test_what_is_not_awaited_yet_may_be_missing_and_what_is_awaited_is_not() -> None:
    disk = Disk()
    machine = await shop(disk)
    await machine.add(Shop.Open)
    disk.open.clear()
    machine.add(Shop.Paid)
    after = await crashed(disk)
    assert after.is_(Shop.Open)
    assert after.not_(Shop.Paid)


async def crashed(disk: Disk) -> DurableMachine[Shop]:
    """What is there after the page was killed as it stands."""
    copy = Disk()
    copy.entries = dict(disk.entries)
    return await shop(copy)


@in_loop
async def test_mutations_that_come_while_one_is_written_share_the_next_commit() -> None:
    disk = Disk()
    machine = await shop(disk)
    before = disk.commits
    await asyncio.gather(*[_final(machine.add(Shop.Paid)) for _ in range(100)])
    assert disk.commits - before <= 2
    assert (await shop(disk)).tick(Shop.Paid) == 199


@in_loop
async def test_a_queued_mutation_is_final_when_it_has_run_and_is_written() -> None:
    disk, found = Disk(), list[am.Result]()
    machine = await shop(disk)
    machine.bind({"OpenState": lambda e: found.append(e.machine.add(Shop.Paid))})
    machine.add(Shop.Open)
    assert (await found[0]).executed
    assert (await shop(disk)).is_(Shop.Open, Shop.Paid)


@in_loop
async def test_a_mutation_that_goes_first_is_written_too() -> None:
    disk = Disk()
    machine = await shop(disk)
    await machine.prepend("add", Shop.Open)
    assert (await shop(disk)).is_(Shop.Open)


@in_loop
async def test_a_canceled_mutation_stays_canceled() -> None:
    machine = await shop(Disk())
    result = machine.add(Shop.Refused)
    assert not result
    assert (await result).canceled


@in_loop
async def test_a_dry_run_is_not_written() -> None:
    disk = Disk()
    machine = await shop(disk)
    before = disk.commits
    assert (await machine.can_add(Shop.Open)).executed
    for _ in range(5):
        await asyncio.sleep(0)
    assert disk.commits == before


@in_loop
async def test_what_is_not_written_yet_when_a_machine_is_disposed_is_written_all_the_same() -> None:
    disk = Disk()
    machine = await shop(disk)
    disk.open.clear()
    under_way = machine.add(Shop.Open)
    await asyncio.sleep(0)
    behind = machine.add(Shop.Paid)
    machine.dispose()
    disk.open.set()
    assert (await under_way).executed
    assert (await behind).executed
    assert (await shop(disk)).clock([Shop.Open, Shop.Paid]) == {"Open": 1, "Paid": 1}


@in_loop
async def test_a_page_that_goes_while_a_write_is_under_way_hands_the_rest_over_at_once() -> None:
    disk = Disk()
    machine = await shop(disk)
    disk.open.clear()
    machine.add(Shop.Open)
    await asyncio.sleep(0)
    machine.add(Shop.Paid)
    machine.flush()
    assert len(disk.handed) == 3, "the first of all, the one under way, and the one behind"
    left = Disk()
    for puts in disk.handed:
        left.entries.update(puts)
    assert (await shop(left)).clock([Shop.Open, Shop.Paid]) == {"Open": 1, "Paid": 1}
    # The page may come back.
    disk.open.set()
    assert (await machine.add(Shop.Paid)).executed
    assert (await shop(disk)).clock([Shop.Open, Shop.Paid]) == {"Open": 1, "Paid": 3}


@pytest.mark.parametrize("there", [(2,), (3,), (2, 3), ()], ids=["the first", "the second", "both", "neither"])
@in_loop
async def test_whichever_of_the_two_writes_of_a_page_that_goes_is_on_disk_what_comes_after_counts(
    there: tuple[int, ...],
) -> None:
    """The data are what they were before the second of them, which the next record must not take for granted."""
    disk, basket = Disk(), Basket()
    machine = await shop(disk, basket)
    await machine.add(Shop.Open)
    disk.open.clear()
    basket.paid = 7
    machine.add(Shop.Paid)  # makes it 8
    await asyncio.sleep(0)
    basket.paid = 41
    machine.remove(Shop.Open)
    machine.flush()
    disk.open.set()
    basket.paid = 8
    await machine.keep()
    left = Disk()
    for number, puts in enumerate(disk.handed):
        if number not in (2, 3) or number in there:
            left.entries.update(puts)
    found = Basket()
    after = await shop(left, found)
    assert (found.paid, after.clock([Shop.Open, Shop.Paid])) == (8, {"Open": 2, "Paid": 1})
    assert after.keeping.not_(KeepingStates.ErrDamaged)


@in_loop
async def test_pages_that_go_and_come_back_again_and_again_leave_no_records_behind() -> None:
    disk = Disk()
    machine = await shop(disk)
    for _ in range(4 * EVERY):
        machine.add(Shop.Paid)
        await asyncio.sleep(0)
        last = machine.add(Shop.Paid)
        machine.flush()
        await last
    assert len(disk.entries) <= 2 * EVERY + 4
    assert len([key for key in disk.entries if key.endswith("s")]) == 2
    assert (await shop(disk)).tick(Shop.Paid) == machine.tick(Shop.Paid) == 16 * EVERY - 1


@in_loop
async def test_the_log_stays_bounded() -> None:
    disk = Disk()
    machine = await shop(disk)
    most = 0
    for _ in range(5 * EVERY):
        await machine.add(Shop.Paid)
        most = max(most, len(disk.entries))
    assert most <= 2 * EVERY + 4
    assert len([key for key in disk.entries if key.endswith("s")]) == 2
    assert (await shop(disk)).tick(Shop.Paid) == 10 * EVERY - 1


@in_loop
async def test_data_may_be_kept_without_a_mutation() -> None:
    disk, basket, later = Disk(), Basket(), Basket()
    machine = await shop(disk, basket)
    basket.paid = 42
    await machine.keep()
    await shop(disk, later)
    assert later.paid == 42


# What goes wrong


@in_loop
async def test_full_storage_is_told_and_all_is_written_once_there_is_room() -> None:
    disk = Disk()
    machine = await shop(disk)
    disk.failure = StorageFull("QuotaExceededError: no room")
    with pytest.raises(NotKept, match="no room"):
        await machine.add(Shop.Open)
    assert Shop.Open in machine
    assert machine.keeping.is_(KeepingStates.InMemory, KeepingStates.ErrFull)
    disk.failure = None
    await machine.add(Shop.Paid)
    assert machine.keeping.active_states() == (KeepingStates.Kept,)
    assert (await shop(disk)).is_(Shop.Open, Shop.Paid)


@in_loop
async def test_full_storage_is_tried_again_without_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "PAUSE", 0.01)
    disk = Disk()
    machine = await shop(disk)
    disk.failure = StorageFull("no room")
    with pytest.raises(NotKept):
        await machine.add(Shop.Open)
    disk.failure = None
    await machine.keeping.when(KeepingStates.Kept)
    assert machine.keeping.active_states() == (KeepingStates.Kept,)
    assert (await shop(disk)).is_(Shop.Open)


@in_loop
async def test_blocked_storage_is_told_and_the_machine_goes_on_in_memory() -> None:
    disk = Disk()
    disk.entries["000000000001s"] = b"not read"
    disk.failure = StorageBlocked("SecurityError")
    machine = await shop(disk)
    assert machine.keeping.is_(KeepingStates.InMemory, KeepingStates.ErrBlocked)
    disk.failure = None
    with pytest.raises(NotKept, match="SecurityError"):
        await machine.add(Shop.Open)
    assert Shop.Open in machine
    assert disk.entries == {"000000000001s": b"not read"}  # what could not be read is never written over


@in_loop
async def test_who_was_taken_over_never_writes_again() -> None:
    disk = Disk()
    first = await shop(disk)
    second = await shop(disk)
    await second.add(Shop.Open)
    for _ in range(2):
        with pytest.raises(NotKept):
            await first.add(Shop.Paid)
    assert first.keeping.is_(KeepingStates.InMemory, KeepingStates.ErrTakenOver)
    assert isinstance(first.keeping.err, TakenOver)
    third = await shop(disk)
    assert third.is_(Shop.Open)
    assert third.not_(Shop.Paid)


class Raises(Basket):
    def load(self, data: Any) -> None:
        raise OSError("it does not like it")


@in_loop
async def test_who_fails_to_open_takes_nothing_over() -> None:
    """An older release in a second tab, or one whose `load` cannot read the data."""
    disk = Disk()
    first = await shop(disk)
    await first.add(Shop.Open)
    with pytest.raises(SchemaChanged):
        await durable.open(KeepingStates, id="shop", store=disk.opened())
    with pytest.raises(OSError, match="does not like"):
        await shop(disk, Raises())
    assert (await first.add(Shop.Paid)).executed
    assert first.keeping.is_(KeepingStates.Kept)


@in_loop
async def test_what_is_written_between_reading_and_taking_over_is_resumed() -> None:
    disk, late = Disk(), Basket()
    first = await shop(disk)
    await first.add(Shop.Paid)
    store = disk.opened()
    claim = store.claim

    async def claim_late() -> dict[str, bytes]:
        await first.add(Shop.Paid)
        return await claim()

    store.claim = claim_late  # type: ignore[method-assign]
    second = await durable.open(Shop, late, id="shop", save=late.save, load=late.load, store=store)
    assert (second.tick(Shop.Paid), late.paid) == (3, 2)


@in_loop
async def test_a_page_that_is_overtaken_while_it_reads_goes_on_from_what_the_other_has_written() -> None:
    disk, late = Disk(), Basket()
    first = await shop(disk)
    await first.add(Shop.Paid)
    store = disk.opened()
    claim, others = store.claim, list[DurableMachine[Shop]]()

    async def claim_late() -> dict[str, bytes]:
        if not others:
            others.append(await shop(disk))
            await others[0].add(Shop.Paid)
        return await claim()

    store.claim = claim_late  # type: ignore[method-assign]
    third = await durable.open(Shop, late, id="shop", save=late.save, load=late.load, store=store)
    assert (third.tick(Shop.Paid), late.paid) == (3, 2)
    assert (await third.add(Shop.Paid)).executed


@pytest.mark.parametrize("when", ["before", "while it reads", "in load"])
@in_loop
async def test_a_tab_whose_term_is_over_takes_nothing_over(when: str) -> None:
    """In `load` it stands still: another tab has the machine by then."""
    disk, basket, term = Disk(), Basket(), Term()
    first = await shop(disk)
    await first.add(Shop.Paid)
    second: list[DurableMachine[Shop]] = []
    store = disk.opened()
    read, claim = store.read, store.claim

    async def read_late() -> dict[str, bytes]:
        term.over |= when == "while it reads" or bool(second)
        return await read()

    async def claim_late() -> dict[str, bytes]:
        if when == "in load":
            second.append(await shop(disk))
        return await claim()

    store.read, store.claim = read_late, claim_late  # type: ignore[method-assign]
    term.over = when == "before"
    with term, pytest.raises(TermOver):
        await durable.open(Shop, basket, id="shop", save=basket.save, load=basket.load, store=store)
    last = second[0] if second else first
    assert (await last.add(Shop.Paid)).executed
    assert last.keeping.is_(KeepingStates.Kept)


@in_loop
async def test_what_a_tab_opens_beside_the_shared_machine_outlives_its_term() -> None:
    disk, term = Disk(), Term()
    with term:
        await shop(Disk())
        beside = asyncio.create_task(shop(disk))
    term.over = True
    assert (await (await beside).add(Shop.Paid)).executed


@in_loop
async def test_cleared_site_data_are_written_again_whole(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    machine = await shop(disk)
    await machine.add(Shop.Open)
    await machine.add(Shop.Paid)
    disk.clear()
    assert machine._journal.pending is not None, "it is not kept any more, without any mutation"
    assert (await machine.add(Shop.Paid)).executed
    assert machine.keeping.active_states() == (KeepingStates.Kept,)
    assert warned(caplog) == ["keeping-shop: it was cleared; all of it is written once more"]
    basket = Basket()
    after = await shop(disk, basket)
    assert (after.clock([Shop.Open, Shop.Paid]), basket.paid) == ({"Open": 1, "Paid": 3}, 2)


@in_loop
async def test_cleared_site_data_belong_to_the_page_that_opens_next() -> None:
    disk = Disk()
    first = await shop(disk)
    await first.add(Shop.Open)
    disk.entries.clear()
    second = await shop(disk)
    with pytest.raises(NotKept):
        await first.add(Shop.Paid)
    assert KeepingStates.ErrTakenOver in first.keeping
    assert second.not_(Shop.Open)


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "asyncmachine.page"]


@in_loop
async def test_a_failure_to_keep_is_warned_of_once_if_nobody_handles_it(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    machine = await shop(disk)
    disk.failure = StorageFull("QuotaExceededError: no room")
    for _ in range(3):
        with pytest.raises(NotKept):
            await machine.add(Shop.Paid)
    full = "keeping-shop: changes are in memory only: QuotaExceededError: no room"
    assert warned(caplog) == [full]
    disk.failure = None
    await shop(disk)  # another page
    for _ in range(2):
        with pytest.raises(NotKept):
            await machine.add(Shop.Paid)
    assert warned(caplog) == [full, "keeping-shop: changes are in memory only: another page has it"]


@pytest.mark.parametrize("state", ["InMemory", "ErrFull", "Exception"])
@in_loop
async def test_who_handles_a_failure_to_keep_is_not_warned(state: str, caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    machine = await shop(disk)
    heard: list[am.Event] = []
    machine.keeping.bind({f"{state}State": heard.append})
    disk.failure = StorageFull("QuotaExceededError: no room")
    with pytest.raises(NotKept):
        await machine.add(Shop.Paid)
    assert heard and not warned(caplog)


@in_loop
async def test_data_that_cannot_be_kept_is_an_error_of_the_keeping_and_not_of_the_machine() -> None:
    disk = Disk()
    machine = await durable.open(Shop, id="shop", save=lambda: {1, 2}, store=disk.opened())
    with pytest.raises(NotKept, match="set"):
        await machine.add(Shop.Open)
    assert not machine.is_err()
    assert machine.keeping.is_err()


def damage(disk: Disk, key: str) -> None:
    found = bytearray(disk.entries[key])
    found[-1] ^= 1
    disk.entries[key] = bytes(found)


async def filled() -> Disk:
    """Two snapshots, and a change behind the last one."""
    disk = Disk()
    await (await shop(disk)).add(Shop.Open)
    machine = await shop(disk)
    await machine.add(Shop.Paid)
    return disk


@in_loop
async def test_a_damaged_snapshot_loses_nothing() -> None:
    disk = await filled()
    key = max(key for key in disk.entries if key.endswith("s"))
    damage(disk, key)
    machine = await shop(disk)
    assert machine.clock([Shop.Open, Shop.Paid]) == {"Open": 1, "Paid": 1}
    error = machine.keeping.err
    assert isinstance(error, RecordsDamaged)
    assert (error.keys, error.is_complete) == ((key,), True)
    assert machine.keeping.is_(KeepingStates.ErrDamaged, KeepingStates.Kept)
    assert {found for found in disk.entries if found.startswith(ASIDE)} == {ASIDE + key}
    assert key not in disk.entries
    assert (await shop(disk)).keeping.not_(KeepingStates.ErrDamaged)


@in_loop
async def test_a_damaged_change_is_told_as_a_loss_and_put_aside() -> None:
    disk = await filled()
    key = max(key for key in disk.entries if key.endswith("c"))
    damage(disk, key)
    machine = await shop(disk)
    assert machine.clock([Shop.Open, Shop.Paid]) == {"Open": 1, "Paid": 0}
    error = machine.keeping.err
    assert isinstance(error, RecordsDamaged)
    assert (error.keys, error.is_complete) == ((key,), False)
    await machine.add(Shop.Paid)
    assert (await shop(disk)).is_(Shop.Open, Shop.Paid)
    assert ASIDE + key in disk.entries


@in_loop
async def test_with_all_records_damaged_a_machine_begins_anew_and_says_so() -> None:
    disk = await filled()
    keys = tuple(sorted(disk.entries))
    for key in keys:
        damage(disk, key)
    machine = await shop(disk)
    assert machine.active_states() == ()
    error = machine.keeping.err
    assert isinstance(error, RecordsDamaged)
    assert (error.keys, error.is_complete) == (keys, False)
    await machine.add(Shop.Open)
    assert (await shop(disk)).is_(Shop.Open)


@in_loop
async def test_a_record_under_another_key_is_damaged() -> None:
    disk = await filled()
    key = max(key for key in disk.entries if key.endswith("c"))
    earlier = min(key for key in disk.entries if key.endswith("c"))
    disk.entries[key] = disk.entries[earlier]
    assert (await shop(disk)).keeping.is_(KeepingStates.ErrDamaged)


# Another version of the application


class Larger(Shop):
    Sent = am.state()


@in_loop
async def test_another_schema_is_refused_with_both_lists_of_names() -> None:
    disk = await filled()
    kept = dict(disk.entries)
    with pytest.raises(SchemaChanged, match=r"'shop'.*Sent in addition.*migrate") as error:
        await durable.open(Larger, id="shop", store=disk.opened())
    assert (error.value.gone, error.value.new) == ((), ("Sent",))
    assert disk.entries == kept


@in_loop
async def test_another_schema_is_taken_by_a_migration() -> None:
    disk = await filled()

    def migrate(saved: Saved) -> Saved:
        assert saved.data == {"paid": 1}
        return replace(saved, clock={**saved.clock, "Sent": saved.clock["Paid"]}, data=None)

    for _ in range(2):
        machine = await durable.open(Larger, id="shop", migrate=migrate, store=disk.opened())
        assert machine.is_(Larger.Open, Larger.Paid, Larger.Sent)
        migrate = None  # type: ignore[assignment]  # not needed the second time


@in_loop
async def test_states_that_come_at_run_time_are_kept_too() -> None:
    disk = Disk()
    machine: am.Machine[Any] = await shop(disk)
    machine.set_schema(Larger)
    await machine.add("Sent")
    assert (await durable.open(Larger, id="shop", store=disk.opened())).is_(Larger.Sent)


@in_loop
async def test_a_durable_machine_needs_an_id() -> None:
    with pytest.raises(am.SchemaError, match="needs an id"):
        await durable.open(Shop, store=Disk().opened())
