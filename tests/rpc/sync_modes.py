"""What a mirror can be content with: some of the states, names alone, or whether states are active."""

from __future__ import annotations

from typing import Any

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.states import ClientStates as C
from tests.rpc.behaviour import Net, Relations, behaviour, paired, raises


@behaviour
async def partial(net: Net) -> None:
    def begun(source: am.Machine[Any]) -> None:
        source.add("D")
        source.remove("D")

    async with paired(net, Relations, client={"allowed": ("A", "B", "C"), "skipped": ("C",)}, setup=begun) as pair:
        assert pair.mirror.names == pair.source.names
        await pair.mirror.add("B")
        pair.source.add("D")
        await pair.client.sync()
        assert pair.source.is_("A", "B", "C", "D")
        assert pair.mirror.is_("A", "B")
        assert "D" not in pair.mirror
        assert pair.mirror.time(("A", "B")) == pair.source.time(("A", "B"))
        assert (await pair.mirror.remove("B")).executed
        with raises(rpc.CallRefused) as caught:
            await pair.mirror.remove("D")
        assert caught.error.code == rpc.Code.NO_STATE


@behaviour
async def partial_inferred(net: Net) -> None:
    async with paired(net, Relations, client={"allowed": ("A",)}) as pair:
        scope = pair.mirror.scope("C")
        pair.source.add("C")
        await pair.mirror.when("A")
        assert pair.mirror.active_states() == ("A", "C")
        assert scope.expired
        inferred = pair.mirror.scope("C")
        pair.source.remove("A")  # and, being auto, it comes back
        await pair.client.sync()
        assert pair.mirror.is_("A", "C")
        assert not inferred.expired
        pair.source.set("D")
        pair.source.set(())
        await pair.client.sync()
        assert pair.mirror.active_states() == ()
        assert inferred.expired


@behaviour
async def partial_with_the_schema_of_the_source(net: Net) -> None:
    async with paired(net, Relations, schema=None, client={"skipped": ("C", "ErrOnClient")}) as pair:
        assert set(pair.mirror.names) == set(pair.source.names)
        assert pair.mirror.schema["A"] == pair.source.schema["A"]
        pair.source.add("C")
        await pair.mirror.when("A")
        assert pair.mirror.is_("C")
        assert pair.mirror.tick("C") == 1


@behaviour
async def partial_no_schema(net: Net) -> None:
    async with paired(net, Relations, schema=None, client={"allowed": ("C",), "no_schema": True}) as pair:
        pair.source.add("C")
        await pair.mirror.when("C")
        assert set(pair.mirror.names) == {"C", "Exception"}
        assert pair.mirror.active_states() == ("C",)
        # Its first state is the source's third; both count in the session's own list.
        assert pair.source.index("C") > 0
        assert (await pair.mirror.remove("C")).executed
        assert "C" not in pair.source


@behaviour
async def no_schema(net: Net) -> None:
    async with paired(net, Relations, schema=None, client={"no_schema": True}) as pair:
        await pair.mirror.add(["A", "C"])
        assert pair.mirror.active_states() == ("A", "C")
        assert "Require" not in pair.mirror.inspect()
        assert pair.mirror.clock() == pair.source.clock()


@behaviour
async def shallow_sync(net: Net) -> None:
    async with paired(net, Relations, client={"shallow": True}) as pair:
        for _ in range(5):
            await pair.mirror.add("B")
        assert pair.source.tick("B") == 9
        assert pair.mirror.tick("B") == 1
        assert set(pair.mirror.active_states()) == set(pair.source.active_states())
        pair.source.remove("B")
        await pair.mirror.when_not("B")
        assert pair.mirror.tick("B") == 2
        assert pair.client.statistics.out_of_step == 0
        await pair.client.sync()
        sessions = pair.client.machine.tick(C.HandshakeDone)
        net.cut()
        await pair.client.machine.when_time([C.HandshakeDone], [sessions + 2])
        pair.source.add("B")
        await pair.mirror.when("B")
        assert pair.mirror.tick("B") == 3
        assert pair.mirror.queue_tick == pair.source.queue_tick


# What is concluded from the schema


@behaviour
async def questions_are_answered_here(net: Net) -> None:
    schema = am.Schema(
        {"A": {}, "B": {"require": ["A"]}, "C": {"remove": ["A"]}, "D": {"require": ["B"], "add": ["C"]}}
    )
    async with paired(net, schema) as pair:
        mirror = pair.mirror
        frames = pair.client.statistics.frames_out
        assert mirror.can_add("A").executed
        assert mirror.can_add("B").canceled
        assert mirror.can_add(["A", "B"]).executed
        assert mirror.can_add(["A", "C"]).canceled
        assert mirror.can_remove("A").executed
        assert pair.client.statistics.frames_out == frames
        await mirror.add("A")
        assert mirror.can_add("B").executed
        assert mirror.can_add("B").executed == pair.source.can_add("B").executed
        with raises(am.StateMissing):
            mirror.can_add("Nowhere")


@behaviour
async def schema_filtering_sync(net: Net) -> None:
    schema = am.Schema({"A": {}, "B": {"require": ["A"]}})
    async with paired(net, schema, client={"filtering": True}) as pair:
        assert pair.mirror.add("B").canceled
        assert pair.client.statistics.calls == 0
        await pair.mirror.add("A")
        assert (await pair.mirror.add("B")).executed
        assert pair.client.statistics.calls == 2


@behaviour
async def export(net: Net) -> None:
    async with paired(net, Relations) as pair:
        await pair.mirror.add("D")
        found, there = pair.mirror.export(), pair.source.export()
        assert (found.state_names, found.time) == (there.state_names, there.time)
        assert (found.queue_tick, found.machine_tick) == (there.queue_tick, there.machine_tick)
        assert pair.mirror.groups == Relations.groups
