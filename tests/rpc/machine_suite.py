"""What a local machine does, asked of a mirror: the same schemas, mutations and readings, over a connection.

Each behaviour is named after the test of the checklist that it stands for. Mutations are awaited, everything else is
read from the mirror.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncmachine as am
from asyncmachine import rpc
from tests.rpc.behaviour import Net, Relations, behaviour, paired, raises

Schema = dict[str, dict[str, Any]]

PLAIN: Schema = {"A": {}, "B": {}, "C": {}, "D": {}}


@asynccontextmanager
async def mirrored(net: Net, schema: Any, active: tuple[str, ...] = (), **options: Any) -> AsyncIterator[Any]:
    """The mirror of a source with this schema, the given states active. Both are equal at the end."""
    async with paired(net, am.Schema(schema) if isinstance(schema, dict) else schema, **options) as pair:
        if active:
            await pair.mirror.set(active)
        yield pair.mirror
        await pair.client.sync()
        pair.assert_equal()


@behaviour
async def single_state_active(net: Net) -> None:
    async with mirrored(net, PLAIN, ("A",)) as mirror:
        assert mirror.active_states() == ("A",)


@behaviour
async def multiple_states_active(net: Net) -> None:
    async with mirrored(net, PLAIN, ("A",)) as mirror:
        await mirror.add("B")
        assert mirror.active_states() == ("A", "B")


@behaviour
async def expose_all_state_names(net: Net) -> None:
    async with mirrored(net, PLAIN, ("A",)) as mirror:
        assert set(mirror.names) == {"A", "B", "C", "D", "Exception"}


@behaviour
async def state_set(net: Net) -> None:
    async with mirrored(net, PLAIN, ("A",)) as mirror:
        await mirror.set("B")
        assert mirror.active_states() == ("B",)


@behaviour
async def state_add(net: Net) -> None:
    async with mirrored(net, PLAIN, ("A",)) as mirror:
        await mirror.add("B")
        assert mirror.is_("A", "B")
        assert mirror.not_("C", "D")


@behaviour
async def state_remove(net: Net) -> None:
    async with mirrored(net, PLAIN, ("B", "C")) as mirror:
        await mirror.remove("C")
        assert mirror.active_states() == ("B",)


@behaviour
async def remove_relation(net: Net) -> None:
    async with mirrored(net, {**PLAIN, "C": {"remove": ["D"]}}, ("D",)) as mirror:
        await mirror.add("C")
        assert mirror.active_states() == ("C",)


@behaviour
async def remove_relation_simultaneous(net: Net) -> None:
    async with mirrored(net, {**PLAIN, "C": {"remove": ["D"]}}, ("D",)) as mirror:
        assert (await mirror.set(["C", "D"])).canceled
        assert mirror.active_states() == ("D",)


@behaviour
async def remove_relation_cross_blocking(net: Net) -> None:
    crossed = {**PLAIN, "C": {"remove": ["D"]}, "D": {"remove": ["C"]}}
    for kind, called, left in (
        ("set", "C", ("C",)),
        ("set", "D", ("D",)),
        ("add", "C", ("C",)),
        ("add", "D", ("D",)),
    ):
        async with mirrored(net, crossed, ("D",) if called == "C" else ("C",)) as mirror:
            assert (await getattr(mirror, kind)(called)).executed
            assert mirror.active_states() == left


@behaviour
async def add_relation(net: Net) -> None:
    async with mirrored(net, {**PLAIN, "A": {"remove": ["D"]}, "C": {"add": ["D"]}}) as mirror:
        await mirror.add("C")
        assert mirror.active_states() == ("C", "D")
        await mirror.set(["A", "C"])
        assert mirror.active_states() == ("A", "C")


@behaviour
async def require_relation(net: Net) -> None:
    async with mirrored(net, {**PLAIN, "C": {"require": ["D"]}}) as mirror:
        await mirror.set(["C", "D"])
        assert mirror.active_states() == ("C", "D")


@behaviour
async def require_relation_when_required_isnt_active(net: Net) -> None:
    async with mirrored(net, {**PLAIN, "C": {"require": ["D"]}}, ("A",)) as mirror:
        assert (await mirror.set(["C", "A"])).canceled
        assert mirror.active_states() == ("A",)


@behaviour
async def auto_states(net: Net) -> None:
    async with mirrored(net, {**PLAIN, "B": {"auto": True, "require": ["A"]}}) as mirror:
        await mirror.add("A")
        assert mirror.is_("A", "B")


@behaviour
async def partial_auto(net: Net) -> None:
    schema = {**PLAIN, "C": {"auto": True, "require": ["B"]}, "D": {"auto": True, "require": ["B"], "remove": ["C"]}}
    async with mirrored(net, schema, ("A",)) as mirror:
        await mirror.add("B")
        assert mirror.is_("A", "B")
        assert len(mirror.active_states(("C", "D"))) == 1


@behaviour
async def switch(net: Net) -> None:
    async with mirrored(net, PLAIN, ("A", "C")) as mirror:
        assert mirror.switch(("A", "B")) == "A"
        assert mirror.switch(("B", "D")) is None


@behaviour
async def regression_remove_cross_blocked_by_implied(net: Net) -> None:
    schema = {"A": {"remove": ["B"]}, "B": {"remove": ["A"]}, "Z": {"add": ["B"]}}
    async with mirrored(net, schema, ("Z", "B")) as mirror:
        assert mirror.is_("Z", "B")
        await mirror.add("A")
        assert mirror.is_("A")
        assert mirror.not_("B")


@behaviour
async def regression_implied_block_by_being_removed(net: Net) -> None:
    schema = {"Wet": {"require": ["Water"]}, "Dry": {"remove": ["Wet"]}, "Water": {"add": ["Wet"], "remove": ["Dry"]}}
    async with mirrored(net, schema, ("Dry",)) as mirror:
        await mirror.set("Water")
        assert mirror.active_states() == ("Wet", "Water")


# Waits


@behaviour
async def when_2(net: Net) -> None:
    async with mirrored(net, PLAIN) as mirror:
        both, again = mirror.when("A", "B"), mirror.when("A", "B")
        await mirror.add("A")
        assert not both.done()
        await mirror.add("B")
        await both
        await again


@behaviour
async def when_active(net: Net) -> None:
    async with mirrored(net, PLAIN, ("A",)) as mirror:
        assert mirror.when("A").done()


@behaviour
async def when_not_2(net: Net) -> None:
    async with mirrored(net, PLAIN, ("A", "B")) as mirror:
        neither = mirror.when_not("A", "B")
        await mirror.remove("A")
        assert not neither.done()
        await mirror.remove("B")
        await neither


@behaviour
async def when_not_active(net: Net) -> None:
    async with mirrored(net, PLAIN, ("A",)) as mirror:
        assert mirror.when_not("B").done()


@behaviour
async def when_time(net: Net) -> None:
    async with mirrored(net, PLAIN, ("A", "B")) as mirror:
        later = mirror.when_time(["A", "B"], [5, 2])
        await mirror.remove(["A", "B"])
        await mirror.add(["A", "B"])
        assert not later.done()
        await mirror.toggle("A")
        await mirror.toggle("A")
        await later


@behaviour
async def when_queue(net: Net) -> None:
    queued: list[am.Result] = []

    def asked(e: am.Event) -> None:
        queued.append(e.add("B"))

    async with mirrored(net, {**PLAIN, "ErrOnClient": {}}, handlers={"AState": asked}) as mirror:
        await mirror.add("A")
        (result,) = queued
        assert result.tick > 0
        # The number of a place in the source's queue is good for the mirror as well.
        await mirror.when_queue(result)
        assert "B" in mirror
        later = mirror.when_queue(mirror.queue_tick + 2)
        await mirror.add("C")
        assert not later.done()
        await mirror.add("D")
        await later


@behaviour
async def when_query(net: Net) -> None:
    async with mirrored(net, PLAIN) as mirror:
        many = mirror.when_query(lambda clock: sum(clock.values()) >= 3)
        await mirror.add("A")
        await mirror.add("B")
        assert not many.done()
        await mirror.add("C")
        await many


@behaviour
async def state_ctx(net: Net) -> None:
    async with mirrored(net, PLAIN, ("A",)) as mirror:
        active, inactive = mirror.scope("A"), mirror.scope("B")
        assert not active.expired
        assert not inactive.expired
        await mirror.set("B")
        assert active.expired
        assert inactive.expired


# Readings


@behaviour
async def time(net: Net) -> None:
    async with mirrored(net, {**PLAIN, "B": {"multi": True}}) as mirror:
        names = ("A", "B", "C", "D")
        for called, expected in (
            (("A",), (1, 0, 0, 0)),
            (("B",), (1, 1, 0, 0)),
            (("A", "B"), (1, 3, 0, 0)),
            (("B",), (1, 5, 0, 0)),
            (("A", "C"), (1, 5, 1, 0)),
        ):
            await mirror.add(called)
            assert mirror.time(names) == expected
        await mirror.set("D")
        assert mirror.time(names) == (2, 6, 2, 1)
        await mirror.set("D")
        assert mirror.time(names) == (2, 6, 2, 1)


@behaviour
async def is_(net: Net) -> None:
    async with mirrored(net, PLAIN, ("A", "B")) as mirror:
        assert mirror.is_("A")
        assert mirror.is_("A", "B")
        assert not mirror.is_("A", "B", "C")


@behaviour
async def not_(net: Net) -> None:
    async with mirrored(net, PLAIN, ("A", "B")) as mirror:
        assert mirror.not_("C")
        assert mirror.not_("C", "D")
        assert not mirror.not_("A")
        assert not mirror.not_("C", "A")


@behaviour
async def any_(net: Net) -> None:
    async with mirrored(net, PLAIN, ("A", "B")) as mirror:
        assert mirror.any_("A", "C")
        assert mirror.any_("C", "B")
        assert not mirror.any_("C", "D")


@behaviour
async def clock(net: Net) -> None:
    async with mirrored(net, PLAIN, ("A", "B")) as mirror:
        assert mirror.clock(("A", "C")) == {"A": 1, "C": 0}
        assert mirror.clock() == {name: mirror.tick(name) for name in mirror.names}


@behaviour
async def is_time(net: Net) -> None:
    async with mirrored(net, PLAIN, ("A", "B")) as mirror:
        assert mirror.is_time([1, 1, 0, 0], ["A", "B", "C", "D"])
        assert not mirror.is_time([1, 0], ["A", "B"])
        assert mirror.was_time([1, 0], ["A", "B"])
        assert not mirror.was_time([3, 0], ["A", "B"])


@behaviour
async def is_clock(net: Net) -> None:
    async with mirrored(net, PLAIN, ("A", "B")) as mirror:
        assert mirror.is_clock({"A": 1, "C": 0})
        assert not mirror.is_clock({"A": 3})
        assert mirror.was_clock({"A": 1, "B": 0})


@behaviour
async def inspect(net: Net) -> None:
    async with mirrored(net, Relations, ("C",)) as mirror:
        assert mirror.inspect(("A", "B", "C", "D")) == (
            "1 A\n    |Tick     1\n    |Auto     true\n    |Require  C\n"
            "0 B\n    |Tick     0\n    |Multi    true\n    |Add      C\n"
            "1 C\n    |Tick     1\n    |After    D\n"
            "0 D\n    |Tick     0\n    |Add      C B\n"
        )


@behaviour
async def string_and_string_all(net: Net) -> None:
    async with mirrored(net, PLAIN, ("A", "B")) as mirror:
        assert str(mirror) == "(A:1 B:1)"
        assert mirror.string_all() == "(A:1 B:1) [C:0 D:0 Exception:0]"


# Handlers and pipes


@behaviour
async def nested_mutation(net: Net) -> None:
    seen: list[str] = []

    def entered(e: am.Event) -> None:
        seen.append("A")
        e.add("B")

    schema = {**PLAIN, "ErrOnClient": {}}
    async with mirrored(net, schema, handlers={"AState": entered, "BState": lambda e: seen.append("B")}) as mirror:
        await mirror.add("A")
        assert mirror.is_("A", "B")
        assert seen == ["A", "B"]


@behaviour
async def pipes(net: Net) -> None:
    async with mirrored(net, PLAIN) as mirror:
        local: am.Machine[Any] = am.Machine(am.Schema(PLAIN))
        am.pipes.bind_any(mirror, local)
        await mirror.add(["A", "B"])
        assert local.active_states() == ("A", "B")
        await mirror.set("C")
        assert local.active_states() == ("C",)
        local.dispose()


@behaviour
async def an_unknown_name_is_told_as_on_a_local_machine(net: Net) -> None:
    async with mirrored(net, PLAIN) as mirror:
        for asked in (mirror.when, mirror.scope, mirror.add):
            with raises(am.StateMissing):
                asked("Nowhere")
        assert (mirror.tick("Nowhere"), mirror.index("Nowhere")) == (0, -1)
        assert not mirror.has("Nowhere")
        assert isinstance(mirror, rpc.NetworkMachine)
        assert not mirror.is_local
