"""Arguments that a REPL gives by name, as the typed records of the states that it calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.loose import LooseArgs
from tests.rpc.behaviour import paired
from tests.rpc.nets import MemoryNet
from tests.rpc.test_repl import made


class Kitchen(rpc.StateSource):
    Baking = am.state(multi=True)
    Serving = am.state(multi=True)
    Plain = am.state(multi=True)


@dataclass(frozen=True)
class Bake(am.Args, state="Baking", prefix="kitchen"):
    dish: str
    degrees: int = 180
    steps: tuple[int, ...] = ()
    tags: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.degrees > 300:
            raise ValueError(f"{self.degrees} degrees is more than the oven has")


@dataclass(frozen=True)
class Note(am.Args, state="Baking", prefix="notes"):
    text: str
    dish: str = ""


@dataclass(frozen=True)
class Serve(am.Args, state="Serving", prefix="kitchen"):
    guests: int
    computed: str = field(init=False, default="")


KINDS = (Bake, Note, Serve)


def typed(args: dict[str, Any], *states: str) -> dict[str, Any]:
    return LooseArgs(KINDS).typed(states or ("Baking",), args)


def test_names_and_values_become_records() -> None:
    assert typed({"dish": "bread"}) == {Bake.key: Bake("bread")}
    given = {"dish": "bread", "degrees": "200", "steps": [1, 2], "tags": ["a", "b"]}
    assert typed(given) == {Bake.key: Bake("bread", 200, (1, 2), frozenset("ab"))}
    assert typed({"dish": "bread", "guests": 3}, "Baking", "Serving") == {Bake.key: Bake("bread"), Serve.key: Serve(3)}
    assert typed({"text": "hot", "dish": "bread"}) == {Note.key: Note("hot", "bread")}, "one class has both"
    assert typed({"text": "hot", "dish": "bread", "degrees": 90, "steps": []}) == {
        Bake.key: Bake("bread", 90),
        Note.key: Note("hot"),
    }


def test_of_classes_that_take_the_same_who_lacks_nothing_is_meant() -> None:
    @dataclass(frozen=True)
    class Ordered(am.Args, state="Serving", prefix="orders"):
        guests: int
        table: str

    kinds = [Ordered, Serve]
    assert LooseArgs(kinds).typed(["Serving"], {"guests": 3}) == {Serve.key: Serve(3)}
    both = LooseArgs(kinds).typed(["Serving"], {"guests": 3, "table": "7"})
    assert both == {Ordered.key: Ordered(3, "7")}
    del am.Args.registry[Ordered.key]


def test_what_is_typed_already_or_declared_by_nobody_stays() -> None:
    assert typed({}) == {}
    assert typed({Bake.key: Bake("bread")}) == {Bake.key: Bake("bread")}
    assert typed({Bake.key: Bake("bread"), "text": "hot"}) == {Bake.key: Bake("bread"), Note.key: Note("hot")}
    assert typed({"dish": 1, "n": {"deep": [1]}}, "Plain") == {"dish": 1, "n": {"deep": [1]}}


@pytest.mark.parametrize(
    ("args", "states", "message"),
    [
        ({"dsh": "bread"}, ["Baking"], "no argument is called 'dsh'; did you mean 'dish'?"),
        (
            {"dish": "bread", "colour": 1},
            ["Baking"],
            "'colour'; there are Baking.degrees, Baking.dish, Baking.steps, Baking.tags, Baking.text",
        ),
        ({"computed": "x"}, ["Serving"], "no argument is called 'computed'; there are Serving.guests"),
        ({"degrees": 200}, ["Baking"], "Baking needs dish as well (Bake)"),
        ({"dish": 1}, ["Baking"], "Baking (Bake): Expected `str`, got `int` - at `$.dish`"),
        ({"guests": "many"}, ["Serving"], "Serving (Serve): Expected `int`, got `str` - at `$.guests`"),
        ({"dish": "x", "steps": [1, "a"]}, ["Baking"], "Expected `int`, got `str` - at `$.steps[1]`"),
        ({"dish": "x", "degrees": 301}, ["Baking"], "301 degrees is more than the oven has"),
    ],
)
def test_what_does_not_fit_is_told(args: dict[str, Any], states: list[str], message: str) -> None:
    with pytest.raises(am.InvalidArgs) as caught:
        typed(args, *states)
    assert message in str(caught.value)


async def test_a_call_of_a_repl_comes_to_the_handler_as_a_record_or_is_refused() -> None:
    got: list[Bake] = []
    handlers = {"BakingState": lambda e: got.append(e.args(Bake)), "BakingEnter": lambda e: e.args(Bake).degrees < 250}
    source: am.Machine[Any] = am.Machine(Kitchen, handlers, id="kitchen")
    hook = made(source)
    await hook.when_ready()
    repl = rpc.Client(hook.address, no_schema=True, reconnect=False)
    repl.start()
    await repl.when_ready()
    assert (await repl.netmach.add("Baking", dish="bread", degrees="200", steps=[1])).executed
    assert got == [Bake("bread", 200, (1,))]
    assert (await repl.netmach.can_add_remote("Baking", dish="bread")).executed
    assert not (await repl.netmach.can_add_remote("Baking", dish="bread", degrees=260)).executed
    ticks = source.tick("Baking")
    refused: list[tuple[dict[str, Any], str]] = [
        ({"dish": 5}, "Expected `str`, got `int`"),
        ({"degrees": 5}, "Baking needs dish"),
        ({"dsh": "bread"}, "did you mean 'dish'"),
    ]
    for args, message in refused:
        for call in (repl.netmach.add, repl.netmach.can_add_remote):
            with pytest.raises(rpc.CallRefused, match=message) as caught:
                await call("Baking", args)
            assert caught.value.code == rpc.Code.BAD_ARGS
    assert source.tick("Baking") == ticks
    assert not source.is_err()
    await repl.stop()
    await hook.stop()
    source.dispose()


async def test_only_a_server_with_classes_does_so() -> None:
    got: list[dict[str, Any]] = []
    handlers = {"BakingState": lambda e: got.append(dict(e.raw_args))}
    async with paired(MemoryNet(), Kitchen, handlers, schema=Kitchen) as plain:
        assert (await plain.mirror.add("Baking", dish=5)).executed
    async with paired(MemoryNet(), Kitchen, handlers, schema=Kitchen, args=(Note,)) as notes:
        assert (await notes.mirror.add("Baking", text="hot")).executed
        assert (await notes.mirror.add("Baking", Bake("bread"))).executed
    assert got == [{"dish": 5}, {Note.key: Note("hot")}, {Bake.key: Bake("bread")}]
