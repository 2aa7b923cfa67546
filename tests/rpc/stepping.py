"""A mirror that shows every transition of its source by itself."""

from __future__ import annotations

from typing import Any

import asyncmachine as am
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.watcher import LIMIT
from tests.rpc.behaviour import Net, Relations, behaviour, below, in_browser, paired

STEPS = {"steps": True}
Told = tuple[str, tuple[str, ...], bool, tuple[str, ...]]


class Hears(am.Tracer):
    """Keeps kind, called states, outcome and active states of each transition."""

    id = "hears"

    def __init__(self, machine: Any) -> None:
        self.told: list[Told] = []
        machine.trace(self)

    def transition_end(self, tx: am.Transition) -> None:
        names = tx.machine.names
        active = tuple(name for name, tick in zip(names, tx.after, strict=True) if tick & 1)
        self.told.append((tx.kind, tx.called, tx.accepted, active))


@in_browser
async def every_transition_is_shown_as_it_was(net: Net) -> None:
    async with paired(net, Relations, client=STEPS) as pair:
        there, here = Hears(pair.source), Hears(pair.mirror)
        pair.source.add("B")
        pair.source.remove("B")
        pair.source.set(["D"])
        await pair.mirror.add("A")
        await pair.client.sync()
        assert here.told[: len(there.told)] == there.told
        pair.assert_equal()
        assert pair.client.statistics.out_of_step == 0


@behaviour
async def handlers_of_the_mirror_run_for_states_that_come_and_go(net: Net) -> None:
    async with paired(net, client=STEPS) as pair:
        ran: list[str] = []
        pair.mirror.bind({"AState": lambda e: ran.append("A"), "AEnd": lambda e: ran.append("no A")})
        for _ in range(3):
            pair.source.add("A")
            pair.source.remove("A")
        await pair.client.sync()
        assert ran == ["A", "no A"] * 3


@behaviour
async def canceled_transitions_are_shown_too(net: Net) -> None:
    async with paired(net, handlers={"AEnter": lambda e: False}, client=STEPS) as pair:
        here = Hears(pair.mirror)
        assert (await pair.mirror.add("A")).canceled
        assert here.told[0] == ("add", ("A",), False, ())
        assert pair.mirror.queue_tick == pair.source.queue_tick


@behaviour
async def an_answer_comes_after_its_steps(net: Net) -> None:
    async with paired(net, handlers={"AState": lambda e: e.add("B")}, client=STEPS, push_interval=0) as pair:
        here = Hears(pair.mirror)
        assert (await pair.mirror.add("A")).executed
        assert [told[:2] for told in here.told] == [("add", ("A",)), ("add", ("B",))]
        pair.assert_equal()


@behaviour
async def what_is_not_kept_is_told_as_a_whole(net: Net) -> None:
    async with paired(net, client=STEPS, push_interval=0) as pair:
        here = Hears(pair.mirror)
        for _ in range(LIMIT):
            pair.source.add("Ask")
        pair.source.add("A")
        pair.source.add("B")
        await pair.mirror.add("C")
        assert [told[1] for told in here.told][-2:] == [("B",), ("C",)]
        assert len(here.told) == 3, "the first stands for all that were too many"
        pair.assert_equal()
        assert pair.client.statistics.out_of_step == 0
        (server,) = pair.server.statistics().values()
        assert server.conflated == 1


@behaviour
async def steps_go_on_in_a_session_that_goes_on(net: Net) -> None:
    async with paired(net, client=STEPS) as pair:
        sessions = pair.client.machine.tick(C.HandshakeDone)
        net.cut()
        pair.source.add("A")
        await pair.client.machine.when_time([C.HandshakeDone], [sessions + 2])
        here = Hears(pair.mirror)
        pair.source.add("B")
        pair.source.add("C")
        await pair.client.sync()
        assert [told[1] for told in here.told[:2]] == [("B",), ("C",)]
        pair.assert_equal()


@behaviour
async def what_happens_during_a_cut_is_shown_as_one(net: Net) -> None:
    """Nothing is replayed: the welcome of the next connection has the whole clock."""
    async with paired(net, client=STEPS) as pair:
        sessions = pair.client.machine.tick(C.HandshakeDone)
        here = Hears(pair.mirror)
        net.cut()
        pair.source.add("A")
        pair.source.add("B")
        pair.source.remove("A")
        await pair.client.machine.when_time([C.HandshakeDone], [sessions + 2])
        assert here.told == [("set", ("B",), True, ("B",))]
        pair.assert_equal()


@behaviour
async def of_a_partial_mirror_they_name_what_it_follows(net: Net) -> None:
    async with paired(net, Relations, schema=None, client={**STEPS, "allowed": ("A", "C")}) as pair:
        here = Hears(pair.mirror)
        pair.source.add(["D", "C"])
        await pair.client.sync()
        assert here.told[0][:3] == ("add", ("C",), True)
        assert pair.mirror.is_("A", "C")


@behaviour
async def a_source_that_grows_is_told_between_steps(net: Net) -> None:
    async with paired(net, Relations, client=STEPS) as pair:
        here = Hears(pair.mirror)
        pair.source.add("B")
        pair.source.set_schema(pair.source.schema.merge({"New": am.State()}))
        pair.source.add("New")
        await pair.mirror.add("D")
        called = [told[1] for told in here.told]
        assert called.index(("B",)) < called.index(("New",)) < called.index(("D",))
        pair.assert_equal()
        assert pair.client.statistics.out_of_step == 0


@behaviour
async def a_mirror_of_a_mirror_shows_each_as_well(net: Net) -> None:
    async with paired(net, client=STEPS) as pair, below(net, pair.mirror, steps=True) as leaf:
        here = Hears(leaf)
        pair.source.add("A")
        pair.source.remove("A")
        await leaf.add("B")
        assert [told[:2] for told in here.told[:3]] == [("add", ("A",)), ("remove", ("A",)), ("add", ("B",))]
