"""Handlers that run elsewhere: a machine of this process is fed by a mirror, and its handlers mutate the source."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncmachine as am
from asyncmachine import pipes, rpc
from asyncmachine.rpc.states import ClientStates as C
from tests.rpc.behaviour import NEVER, Pair, paired
from tests.rpc.nets import MemoryNet


class Mill(rpc.StateSource):
    Open = am.state()
    Order = am.state(multi=True)
    Grinding = am.state(require=Open)
    Ground = am.state(require=Open)


class Miller:
    """The handlers. They know the source by its mirror only."""

    def __init__(self, mirror: rpc.NetworkMachine[Any]) -> None:
        self.mirror = mirror
        self.ran: list[str] = []

    def OpenState(self, e: am.Event) -> None:
        self.ran.append("Open")

    def OpenEnd(self, e: am.Event) -> None:
        self.ran.append("-Open")

    async def OrderState(self, e: am.Event) -> None:
        self.ran.append("Order")
        await self.mirror.add("Grinding", e=e)

    def GrindingState(self, e: am.Event) -> None:
        self.ran.append("Grinding")
        self.mirror.add("Ground", e=e)

    async def GroundState(self, e: am.Event) -> None:
        self.ran.append("Ground")
        await self.mirror.remove(["Grinding", "Ground"], e=e)

    def taken(self) -> list[str]:
        """What has run since this was last asked."""
        taken, self.ran = self.ran, []
        return taken


def handler_machine(mirror: rpc.NetworkMachine[Any]) -> am.Machine[Any]:
    """The states without their relations, as they are now."""
    machine: am.Machine[Any] = am.Machine({name: {"multi": mirror.schema[name].multi} for name in mirror.names})
    machine.set(mirror.active_states())
    return machine


@asynccontextmanager
async def milling(*active: str, **options: Any) -> AsyncIterator[tuple[Pair, Miller, am.Machine[Any]]]:
    """A pair whose source begins with these states, and the machine that has the handlers."""

    def setup(source: am.Machine[Any]) -> None:
        source.add(active)

    async with paired(MemoryNet(), Mill, schema=Mill, setup=setup, **options) as pair:
        miller, machine = Miller(pair.mirror), handler_machine(pair.mirror)
        machine.bind(miller)
        pipes.bind_any(pair.mirror, machine)
        yield pair, miller, machine
        assert set(machine.active_states()) == set(pair.source.active_states())
        assert not machine.is_err(), machine.err
        machine.dispose()


async def done(pair: Pair) -> None:
    """All that was asked of the source has been carried out, and is shown."""
    await pair.client.sync()


async def milled(pair: Pair) -> None:
    """The order is through all handlers."""
    await pair.mirror.when_ticks("Ground", 2)
    await done(pair)


async def test_handlers_lead_the_source_from_state_to_state_each_once() -> None:
    async with milling("Open") as (pair, miller, _):
        ready = milled(pair)
        pair.source.add("Order")
        await ready
        assert miller.taken() == ["Order", "Grinding", "Ground"]
        assert pair.source.clock(["Open", "Order", "Grinding", "Ground"]) == {
            "Open": 1,
            "Order": 1,
            "Grinding": 2,
            "Ground": 2,
        }


async def test_each_call_of_an_active_multi_state_runs_its_handler() -> None:
    async with milling("Open", "Order") as (pair, miller, _):
        for _n in range(3):
            ready = milled(pair)
            pair.source.add("Order")
            await ready
            assert miller.taken() == ["Order", "Grinding", "Ground"]
        assert pair.source.tick("Order") == 7


async def test_calls_that_a_mirror_shows_as_one_run_the_handler_once() -> None:
    async with milling("Order") as (pair, miller, machine):
        for _ in range(5):
            pair.source.add("Order")
        await done(pair)
        assert miller.taken() == ["Order"]
        assert (pair.source.tick("Order"), machine.tick("Order")) == (11, 3)


async def test_a_mirror_that_shows_steps_runs_the_handler_for_each_call() -> None:
    async with milling(client={"steps": True}) as (pair, miller, machine):
        for _ in range(5):
            pair.source.add("Order")
        pair.source.remove("Order")
        pair.source.add("Order")
        await done(pair)
        assert miller.taken() == ["Order"] * 6
        assert machine.tick("Order") == pair.source.tick("Order") == 11


async def test_unrelated_changes_run_nothing() -> None:
    async with milling("Open", "Order") as (pair, miller, machine):
        pair.source.add_err(OSError("stuck"))
        await done(pair)
        pair.source.remove(["Open", "Exception"])
        await done(pair)
        pair.source.add("Open")
        await done(pair)
        pair.source.add("Open")
        await done(pair)
        assert miller.taken() == ["-Open", "Open"]
        assert machine.tick("Order") == 1


async def test_states_that_an_outage_has_left_alone_do_not_run_after_it() -> None:
    async with milling("Open", "Order") as (pair, miller, machine):
        await cut(pair)
        pair.source.remove("Open")
        await reconnected(pair)
        assert miller.taken() == ["-Open"]
        assert machine.tick("Order") == 1


async def test_changes_of_an_outage_are_followed_once_each() -> None:
    async with milling("Order") as (pair, miller, _):
        await cut(pair)
        pair.source.add("Open")
        pair.source.remove("Open")
        pair.source.add("Open")
        await reconnected(pair)
        assert miller.taken() == ["Open"]
        await cut(pair)
        await reconnected(pair)
        assert miller.taken() == []


async def test_calls_of_an_outage_run_the_handler_once_and_it_mutates_the_source() -> None:
    async with milling("Open", "Order") as (pair, miller, machine):
        await cut(pair)
        pair.source.add("Order")
        pair.source.add("Order")
        await pair.source.when_ticks("Ground", 2)
        await done(pair)
        assert miller.taken() == ["Order", "Grinding", "Ground"]
        assert (pair.source.tick("Order"), machine.tick("Order")) == (5, 3)


async def test_a_handler_that_runs_for_the_first_clock_of_a_connection_mutates_the_source() -> None:
    """It need not be asynchronous: its call goes out behind READY."""
    async with milling("Open") as (pair, miller, _):
        await cut(pair)
        ground = pair.source.when_ticks("Ground", 2)
        pair.source.add("Grinding")
        await reconnected(pair)
        await ground
        await done(pair)
        assert miller.taken() == ["Grinding", "Ground"]


async def test_a_source_that_begins_anew_with_a_multi_state_has_called_it() -> None:
    async with milling("Open", "Order") as (pair, miller, _):
        ready = milled(pair)
        pair.source.add("Order")
        await ready
        miller.taken()
        old, pair.source = pair.server, am.Machine(Mill, id="source")
        pair.source.add(["Open", "Order"])
        pair.server = rpc.Server(pair.source, "again", push_interval=0.001)
        milled_anew = pair.source.when_ticks("Ground", 2)
        await old.stop()
        await milled_anew
        await done(pair)
        assert miller.taken() == ["Order", "Grinding", "Ground"]
        old.machine.dispose()


async def test_two_machines_with_handlers_share_the_work() -> None:
    async with milling("Open") as (pair, miller, machine):
        other, stored = handler_machine(pair.mirror), list[int]()
        other.bind({"GroundState": lambda e: stored.append(other.tick("Ground"))})
        pipes.bind_any(machine, other)
        for _ in range(2):
            ready = milled(pair)
            pair.source.add("Order")
            await ready
        assert miller.taken() == ["Order", "Grinding", "Ground"] * 2
        assert stored == [1, 3]
        other.dispose()


async def test_a_closed_pipe_leaves_nothing_at_the_mirror() -> None:
    async with paired(MemoryNet(), Mill, schema=Mill) as pair:
        machine = handler_machine(pair.mirror)
        pipe = pipes.bind_any(pair.mirror, machine)
        assert pair.mirror.handlers() == (pipe.id,)
        pipe.close()
        assert (pair.mirror.handlers(), pair.mirror.tracers) == ((), ())
        pair.source.add("Order")
        await done(pair)
        assert machine.active_states() == ()
        machine.dispose()


async def test_a_machine_here_leads_the_source_through_its_mirror() -> None:
    async with paired(MemoryNet(), Mill, schema=Mill) as pair:
        leader: am.Machine[Any] = am.Machine({"Open": {}, "Order": {"multi": True}})
        pipes.bind_any(leader, pair.mirror)
        for _ in range(3):
            leader.add("Order")
        leader.add("Open")
        leader.remove("Open")
        await done(pair)
        assert pair.source.clock(leader.names) == leader.clock() == {"Open": 2, "Order": 5, "Exception": 0}
        leader.add("Open")
        await done(pair)
        assert pair.source.clock(leader.names) == leader.clock()
        leader.dispose()


async def test_what_a_handler_machine_refuses_is_tried_again_with_the_next_change() -> None:
    asked: list[str] = []

    def refuse(e: am.Event) -> bool:
        asked.append(e.name)
        return False

    async with paired(MemoryNet(), Mill, schema=Mill) as pair:
        machine = handler_machine(pair.mirror)
        machine.bind({"OrderEnter": refuse})
        pipes.bind_any(pair.mirror, machine)
        pair.source.add("Order")
        await done(pair)
        assert asked == ["OrderEnter"]
        assert pair.source.add("Ground").canceled
        await done(pair)
        assert asked == ["OrderEnter"], "nothing has changed"
        pair.source.add("Open")
        await done(pair)
        assert asked == ["OrderEnter"] * 2
        machine.dispose()


async def test_a_failure_to_lead_the_source_is_told() -> None:
    async with paired(MemoryNet(), Mill, schema=Mill, errors=True, backoff=NEVER) as pair:
        leader: am.Machine[Any] = am.Machine({"Open": {}})
        pipes.bind_any(leader, pair.mirror)
        await cut(pair)
        failed = pair.client.machine.when_ticks(C.ErrNetwork, 1)
        leader.add("Open")
        await failed
        assert isinstance(pair.client.machine.err, rpc.NotConnected)
        leader.dispose()


async def cut(pair: Pair) -> None:
    """The connection breaks, and the client knows."""
    dropped = pair.client.machine.when_not(C.Connected)
    pair.net.cut()
    await dropped


async def reconnected(pair: Pair) -> None:
    """There is another connection, whose welcome has told all ticks."""
    await pair.client.when_ready()
    await done(pair)
