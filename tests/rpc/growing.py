"""A source that is given more states while it is mirrored."""

from __future__ import annotations

from typing import Any

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.states import ClientStates as C
from tests.rpc.behaviour import Net, Relations, behaviour, below, in_browser, paired

MORE = am.Schema(
    {
        "First": {},
        **Relations.schema,
        "D": {"add": ["C", "B", "Last"]},
        "Last": {"after": ["A"]},
    }
)
"""New states before and behind the known ones, and one that is defined anew."""


def grow(source: am.Machine[Any]) -> None:
    source.set_schema(MORE)


@in_browser
async def new_states_join_the_session(net: Net) -> None:
    async with paired(net, Relations) as pair:
        await pair.mirror.add("B")
        scope, waiting = pair.mirror.scope("B"), pair.mirror.when("A", "D")
        grow(pair.source)
        pair.source.add("First")
        while not pair.mirror.has("Last"):
            await pair.client.sync()
        await pair.mirror.when("First")
        assert not scope.expired
        assert pair.mirror.names == (*Relations.schema.names, *(n for n in MORE if n not in Relations.schema))
        assert pair.mirror.schema["D"] == pair.source.schema["D"]
        assert (await pair.mirror.add("D")).executed
        await waiting
        assert pair.mirror.is_("A", "Last")
        assert (await pair.mirror.remove("Last")).executed
        assert {name: pair.mirror.tick(name) for name in MORE} == {name: pair.source.tick(name) for name in MORE}
        assert pair.client.statistics.out_of_step == 0


@behaviour
async def tracers_and_waits_of_a_mirror_hear_of_new_states(net: Net) -> None:
    class Hears(am.Tracer):
        id = "hears"

        def __init__(self) -> None:
            self.grown: list[tuple[str, ...]] = []

        def schema_change(self, machine: Any, old: am.Schema) -> None:
            self.grown.append(tuple(name for name in machine.names if name not in old))

    async with paired(net, Relations) as pair:
        tracer = Hears()
        pair.mirror.trace(tracer)
        known = pair.mirror.when_query(lambda clock: clock.get("Last", 0) > 0)
        grow(pair.source)
        pair.source.add("D")
        await known
        assert tracer.grown == [("First", "Last")]


@behaviour
async def those_who_asked_for_no_schema_get_names(net: Net) -> None:
    async with paired(net, Relations, schema=None, client={"no_schema": True}) as pair:
        grow(pair.source)
        assert (await pair.mirror.add("D")).executed
        assert pair.mirror.is_("Last")
        assert pair.mirror.schema["Last"] == am.State()


@behaviour
async def a_partial_mirror_grows_by_what_it_follows(net: Net) -> None:
    client = {"allowed": ("D", "Last", "C"), "skipped": ("C",)}
    async with paired(net, Relations, schema=None, client=client) as pair:
        grow(pair.source)
        pair.source.add(["First", "D"])
        await pair.mirror.when("D")
        assert pair.mirror.is_("Last")
        assert pair.mirror.tick("First") == 0, "it is not followed"
        assert (await pair.mirror.remove("Last")).executed
        assert "Last" not in pair.source


@behaviour
async def a_client_sees_of_what_is_new_what_it_may(net: Net) -> None:
    def allow(id: str, token: str, peer: rpc.Peer) -> rpc.Grants:
        return rpc.Grants(read=("A", "B", "C", "D", "First"))

    async with paired(net, Relations, schema=None, allow=allow) as pair:
        grow(pair.source)
        assert (await pair.mirror.add("D")).executed
        assert (await pair.mirror.add("First")).executed
        assert pair.mirror.is_("First", "D")
        assert not pair.mirror.has("Last")
        assert pair.mirror.schema["D"].add == ("C", "B")


@behaviour
async def a_shallow_mirror_goes_on_counting(net: Net) -> None:
    async with paired(net, Relations, client={"shallow": True}) as pair:
        for _ in range(3):
            await pair.mirror.add("B")
        grow(pair.source)
        await pair.client.sync()
        await pair.mirror.add("First")
        assert pair.mirror.tick("B") == 1
        assert pair.mirror.is_("B", "First")
        assert pair.client.statistics.out_of_step == 0


@behaviour
async def without_pushes_the_next_answer_tells(net: Net) -> None:
    async with paired(net, Relations, push_interval=0) as pair:
        grow(pair.source)
        assert not pair.mirror.has("Last")
        assert (await pair.mirror.add("D")).executed
        assert pair.mirror.is_("D", "Last")


@behaviour
async def calls_under_way_mean_the_states_they_named(net: Net) -> None:
    async with paired(net, Relations) as pair:
        calls = [pair.mirror.add("B") for _ in range(5)]
        grow(pair.source)
        calls += [pair.mirror.add("B") for _ in range(5)]
        assert all([(await call).executed for call in calls])
        assert pair.source.tick("B") == 19
        assert pair.mirror.tick("B") == 19
        assert "First" not in pair.source


@behaviour
async def a_client_that_was_away_learns_of_it_and_goes_on_with_its_session(net: Net) -> None:
    async with paired(net, Relations) as pair:
        await pair.mirror.add("B")
        sessions = pair.client.machine.tick(C.HandshakeDone)
        calls = [pair.mirror.add("B") for _ in range(3)]
        net.cut()
        grow(pair.source)
        await pair.client.machine.when_time([C.HandshakeDone], [sessions + 2])
        assert all([(await call).executed for call in calls])
        assert pair.source.tick("B") == 7, "each ran once"
        await pair.client.sync()
        assert pair.mirror.tick("B") == 7
        assert (await pair.mirror.add("D")).executed
        assert pair.mirror.is_("Last")


@behaviour
async def a_mirror_of_a_mirror_grows_as_well(net: Net) -> None:
    async with paired(net, Relations) as pair, below(net, pair.mirror, Relations) as leaf:
        grow(pair.source)
        pair.source.add("D")
        await leaf.when_query(lambda clock: clock.get("Last", 0) > 0)
        assert (await leaf.add("First")).executed
        assert "First" in pair.source
        assert leaf.is_("First", "D")


@behaviour
async def it_grows_again_and_again(net: Net) -> None:
    async with paired(net, Relations) as pair:
        schema = pair.source.schema
        for number in range(5):
            schema = schema.merge({f"N{number}": am.State()})
            pair.source.set_schema(schema)
            if number % 2:
                assert (await pair.mirror.add("B")).executed
        assert (await pair.mirror.add([f"N{number}" for number in (1, 3)])).executed
        pair.source.add("N4")
        await pair.mirror.when("N4")
        assert pair.mirror.clock() == pair.source.clock()
