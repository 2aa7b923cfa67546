import asyncio
from typing import Any

import asyncmachine as am
from asyncmachine.helpers.batch import Batcher
from tests.virtual_time import in_virtual_time


class Inbox(am.StatesDef):
    Start = am.state()
    Msgs = am.state(multi=True, require=Start)


def inbox(*, started: bool = True) -> tuple[am.Machine[Inbox], list[tuple[float, Any]]]:
    machine, seen = am.Machine(Inbox), list[tuple[float, Any]]()

    @machine.on.state(Inbox.Msgs)
    def msgs(e: am.Event) -> None:
        seen.append((asyncio.get_running_loop().time(), e.raw_args))

    if started:
        machine.add(Inbox.Start)
    return machine, seen


@in_virtual_time
async def test_items_of_one_window_are_one_mutation() -> None:
    machine, seen = inbox()
    batcher = Batcher[int](machine, "Msgs", window=2)
    for item in (1, 2, 3):
        batcher.put(item)
    assert len(batcher) == 3 and seen == []
    await asyncio.sleep(5)
    assert (await batcher.put(4)).executed
    assert seen == [(2, {"items": [1, 2, 3]}), (7, {"items": [4]})]


@in_virtual_time
async def test_a_full_batch_does_not_wait() -> None:
    machine, seen = inbox()
    batcher = Batcher[int](machine, "Msgs", window=2, key="numbers", size=2)
    results = [batcher.put(item) for item in (1, 2, 3)]
    assert [args for _, args in seen] == [{"numbers": [1, 2]}]
    assert [result.outcome for result in results] == ["executed", "executed", "pending"]
    await asyncio.sleep(5)
    assert len(seen) == 2 and seen[1] == (2, {"numbers": [3]})


@in_virtual_time
async def test_a_refused_batch_tells_each_who_has_put_something() -> None:
    machine, seen = inbox(started=False)
    batcher = Batcher[int](machine, "Msgs")
    results = await asyncio.gather(batcher.put(1), batcher.put(2))
    assert all(result.canceled for result in results)
    assert seen == [] and len(batcher) == 0


@in_virtual_time
async def test_closing_sends_what_waits_and_leaves_no_timer() -> None:
    machine, seen = inbox()
    batcher = Batcher[int](machine, "Msgs")
    assert batcher.close().executed, "nothing waits"
    result = batcher.put(1)
    batcher.close()
    assert result.executed and len(seen) == 1
    await asyncio.sleep(0.5)
    batcher.put(2)
    await asyncio.sleep(0.75)
    assert len(seen) == 1, "its own window is not over yet"
    await asyncio.sleep(0.5)
    assert seen[1] == (1.5, {"items": [2]})


@in_virtual_time
async def test_a_machine_that_goes_cancels_the_batch() -> None:
    machine, _ = inbox()
    result = Batcher[int](machine, "Msgs").put(1)
    machine.dispose()
    assert (await result).canceled
