"""`async def` handlers: a task that lives as long as its state, whose errors become Exception, on whatever loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

import asyncmachine as am
from tests.machine.recording import RawSchema

AB: RawSchema = {"A": {}, "B": {}, "M": {"multi": True}}


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Log:
    """Handlers whose `AState` works until it is stopped, and notes what happens to it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    async def AState(self, e: am.Event) -> None:
        self.lines.append(f"begin {e.scope.tick}")
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.lines.append("cancelled")
            raise


async def test_the_task_begins_after_the_transition() -> None:
    log = Log()
    machine = am.Machine(AB, log)
    assert machine.add("A").executed
    assert log.lines == []
    await turns()
    assert log.lines == ["begin 1"]
    machine.dispose()


async def test_the_task_ends_with_its_state() -> None:
    log = Log()
    machine = am.Machine(AB, log)
    machine.add("A")
    await turns()
    machine.add("B")
    await turns()
    assert log.lines == ["begin 1"]
    machine.remove("A")
    await turns()
    assert log.lines == ["begin 1", "cancelled"]
    assert machine.err is None, "the end of a state is no error"


async def test_each_activation_has_its_own_task() -> None:
    log = Log()
    machine = am.Machine(AB, log)
    for _ in range(2):
        machine.add("A")
        await turns()
        machine.remove("A")
    await turns()
    assert log.lines == ["begin 1", "cancelled", "begin 3", "cancelled"]


async def test_a_state_that_is_gone_before_the_loop_runs_never_begins() -> None:
    log = Log()
    machine = am.Machine(AB, log)
    machine.add("A")
    machine.remove("A")
    await turns()
    assert log.lines == []


async def test_disposal_ends_tasks() -> None:
    log = Log()
    machine = am.Machine(AB, log)
    machine.add("A")
    await turns()
    machine.dispose()
    await turns()
    assert log.lines == ["begin 1", "cancelled"]


async def test_a_task_may_go_on_to_the_next_state() -> None:
    class Handlers:
        async def AState(self, e: am.Event) -> None:
            await asyncio.sleep(0)
            e.add("B")

    machine = am.Machine({"A": {"remove": "B"}, "B": {"remove": "A"}}, Handlers())
    done = machine.when("B")
    machine.add("A")
    await done
    assert machine.not_("A")


async def test_a_task_that_ends_its_own_state_runs_on_to_its_next_await() -> None:
    lines: list[str] = []

    class Handlers:
        async def AState(self, e: am.Event) -> None:
            e.remove("A")
            lines.append("still here")
            await asyncio.sleep(0)
            lines.append("never")

    machine = am.Machine(AB, Handlers())
    machine.add("A")
    await turns()
    assert lines == ["still here"]
    assert machine.err is None


async def test_mutations_of_a_task_are_traced_to_its_event() -> None:
    sources: list[am.MutationSource | None] = []
    ids: list[str] = []

    class Handlers:
        async def AState(self, e: am.Event) -> None:
            await asyncio.sleep(0)
            ids.append(e.tx.id)
            assert not e.is_valid(), "its transition is over"
            e.add("B")

        def BState(self, e: am.Event) -> None:
            sources.append(e.mutation.source)

    machine = am.Machine(AB, Handlers(), id="m")
    done = machine.when("B")
    machine.add("A")
    await done
    assert sources == [am.MutationSource("m", ids[0], 0)]


async def test_an_error_of_a_task_becomes_exception() -> None:
    class Handlers:
        async def AState(self, e: am.Event) -> None:
            await asyncio.sleep(0)
            raise OSError("lost")

    seen: list[am.Event] = []
    machine = am.Machine(AB, Handlers())
    machine.bind({"ExceptionState": seen.append})
    machine.add("A")
    await machine.when_err()
    assert machine.is_("A"), "the transition was over long ago"
    assert str(machine.err) == "lost"
    assert seen[0].args(am.ErrorArgs).err is machine.err
    assert seen[0].mutation.source is not None


async def test_an_error_of_a_tasks_cleanup_becomes_exception_too() -> None:
    class Handlers:
        async def AState(self, e: am.Event) -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                raise OSError("cannot clean up")

    machine = am.Machine(AB, Handlers())
    machine.add("A")
    await turns()
    machine.remove("A")
    await machine.when_err()
    assert str(machine.err) == "cannot clean up"


async def test_an_outside_cancel_surfaces_in_the_task_and_is_no_error() -> None:
    tasks: list[asyncio.Task[object] | None] = []

    class Handlers:
        async def AState(self, e: am.Event) -> None:
            tasks.append(asyncio.current_task())
            await asyncio.sleep(3600)

    machine = am.Machine(AB, Handlers(), id="m")
    machine.add("A")
    await turns()
    task = tasks[0]
    assert task is not None and task.get_name() == "m.AState"
    task.cancel()
    await turns()
    assert task.cancelled()
    assert machine.err is None and machine.is_("A")


async def test_the_task_of_a_multi_state_lives_as_long_as_the_machine() -> None:
    lines: list[str] = []

    class Handlers:
        async def MState(self, e: am.Event) -> None:
            lines.append(f"begin {e.raw_args['n']}")
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                lines.append(f"end {e.raw_args['n']}")
                raise

    machine = am.Machine(AB, Handlers())
    machine.add("M", n=1)
    machine.add("M", n=2)
    machine.remove("M")
    await turns()
    assert lines == ["begin 1", "begin 2"]
    machine.dispose()
    await turns()
    assert sorted(lines[2:]) == ["end 1", "end 2"]


@pytest.mark.parametrize("name", ["AEnd", "AnyState"])
async def test_end_and_global_handlers_live_as_long_as_the_machine(name: str) -> None:
    lines: list[str] = []

    async def handler(e: am.Event) -> None:
        await asyncio.sleep(0)
        lines.append(e.name)

    machine = am.Machine(AB, {name: handler})
    machine.add("A")
    machine.remove("A")
    machine.add("B")
    await turns()
    assert set(lines) == {name}
    machine.dispose()


async def test_sync_and_async_handlers_of_one_name_go_together() -> None:
    lines: list[str] = []

    class Sync:
        def AState(self, e: am.Event) -> None:
            lines.append("sync")

    class Async:
        async def AState(self, e: am.Event) -> None:
            lines.append("async")

    machine = am.Machine(AB, Async())
    machine.bind(Sync())
    machine.add("A")
    assert lines == ["sync"]
    await turns()
    assert lines == ["sync", "async"]


# Loops and threads


def test_without_a_loop_the_handler_fails_and_says_why() -> None:
    machine = am.Machine(AB, Log())
    assert machine.add("A").canceled
    assert machine.not_("A")
    assert isinstance(machine.err, am.HandlerError)
    assert "AState is `async def` and needs an event loop" in str(machine.err)


def test_no_loop_is_needed_as_long_as_no_async_handler_runs() -> None:
    machine = am.Machine(AB, Log())
    assert machine.add("B").executed
    assert machine.remove("B").executed


async def test_a_mutation_from_another_thread_starts_the_task_on_the_machines_loop() -> None:
    loops: list[object] = []
    begun = asyncio.Event()

    class Handlers:
        async def AState(self, e: am.Event) -> None:
            loops.append(asyncio.get_running_loop())
            begun.set()

        async def BState(self, e: am.Event) -> None:
            pass

    machine = am.Machine(AB, Handlers())
    machine.add("B")
    await asyncio.to_thread(machine.add, "A")
    await begun.wait()
    assert loops == [asyncio.get_running_loop()]


async def test_a_state_ended_by_another_thread_ends_its_task() -> None:
    log = Log()
    machine = am.Machine(AB, log)
    machine.add("A")
    await turns()
    await asyncio.to_thread(machine.remove, "A")
    await turns()
    assert log.lines == ["begin 1", "cancelled"]


async def test_a_state_that_another_thread_begins_and_ends_at_once_never_begins() -> None:
    log = Log()
    machine = am.Machine(AB, log)
    machine.add("A")
    machine.remove("A")
    await turns()

    def both() -> None:
        machine.add("A")
        machine.remove("A")

    worker = threading.Thread(target=both)
    worker.start()
    worker.join(10)
    await turns()
    assert log.lines == []
    assert machine.err is None


def test_a_machine_may_outlive_its_loop() -> None:
    log = Log()
    machine = am.Machine(AB, log)

    async def once() -> None:
        machine.add("A")
        await turns()
        machine.remove("A")
        await turns()

    asyncio.run(once())
    assert machine.add("A").canceled, "the loop is closed"
    assert isinstance(machine.err, am.HandlerError)
    machine.remove("Exception")
    asyncio.run(once())
    assert log.lines == ["begin 1", "cancelled", "begin 5", "cancelled"]
