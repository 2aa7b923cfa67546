"""What is recorded is what a plain tracer sees, whatever machines do, and whatever was dropped on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import asyncmachine as am
from asyncmachine.machine.schema import Schema
from asyncmachine.machine.settings import SWITCHES
from asyncmachine.telemetry.dbg import messages as m
from asyncmachine.telemetry.dbg.outbox import OutboxLimits
from tests.machine.strategies import Mutation, mutations, schemas
from tests.rounds import Rounds
from tests.telemetry.hearing import Plain, Watch, heard


def make(schema: Schema, data: st.DataObject) -> am.Machine[str]:
    """A machine, maybe with handlers that veto, raise and mutate, and maybe with a log."""
    machine = am.Machine(schema, id="m", unknown_names="keep")
    if data.draw(st.booleans(), label="handlers"):
        machine.bind(misbehaving(schema.names, data))
    if data.draw(st.booleans(), label="log"):
        machine.log.keep(data.draw(st.integers(1, 5), label="level"))
        machine.log.switch(*data.draw(st.lists(st.sampled_from(tuple(SWITCHES)), unique=True)))
    machine.log.can = True
    return machine


def misbehaving(names: Sequence[str], data: st.DataObject) -> dict[str, Any]:
    """Handlers for a few states that veto, raise or mutate; a few times each, so that it comes to an end."""
    left = dict.fromkeys(names, 3)

    def handler(name: str, what: str) -> Any:
        def call(e: am.Event) -> bool | None:
            left[name] -= 1
            if left[name] < 0 or what == "quiet":
                return None
            if what == "veto":
                return False
            if what == "raise":
                raise RuntimeError(f"boom {name}")
            e.add(names[-1], {"name": "x", "data": b"secret"})
            return None

        return call

    found: dict[str, Any] = {}
    for name in names:
        what = data.draw(st.sampled_from(("veto", "raise", "mutate", "quiet", "none")), label=name)
        if what != "none":
            found[f"{name}{'Enter' if what == 'veto' else 'State'}"] = handler(name, what)
    return found


def run(machine: am.Machine[Any], steps: list[Mutation]) -> None:
    """Those of two states have arguments, so that plans and whole transitions take turns."""
    for kind, called in steps:
        getattr(machine, kind)(called, {"n": 1} if len(called) == 2 else None)


@given(st.data())
def test_all_of_it_is_heard(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    machine, plain = make(schema, data), Plain()
    watch = Watch(machine)
    machine.trace(plain)
    for steps in data.draw(st.lists(st.lists(mutations(schema.names), max_size=5), max_size=4)):
        run(machine, steps)
        watch.flush()
    watch.flush()
    records = watch.listener.records
    assert heard(records) == plain.seen
    assert watch.listener.of(m.Gap) == []
    assert [record.number for record in records] == list(range(1, len(records) + 1))
    ids = [record.id for record in records if not record.is_queued]
    assert [found for found in ids if not found.startswith("n")] == [found for found in plain.ids if found]
    assert tuple(watch.listener.stream.tracks[0].ticks) == machine.time()


@given(st.data())
def test_a_new_listener_hears_the_rest(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    machine, plain = make(schema, data), Plain()
    watch = Watch(machine)
    machine.trace(plain)
    run(machine, data.draw(st.lists(mutations(schema.names), max_size=5)))
    if data.draw(st.booleans(), label="flushed"):
        watch.flush()
    first = watch.listener
    second = watch.reconnect()
    run(machine, data.draw(st.lists(mutations(schema.names), max_size=5)))
    watch.flush()
    assert heard([*first.records, *second.records]) == plain.seen
    assert [record.number for record in (*first.records, *second.records)] == list(
        range(1, len(first.records) + len(second.records) + 1)
    )


@given(st.data())
def test_what_is_left_after_drops_is_heard_with_the_right_ticks(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    machine, plain = make(schema, data), Plain()
    machine.log.queued = False
    watch = Watch(machine, limits=OutboxLimits(notes=data.draw(st.integers(1, 6), label="room")))
    machine.trace(plain)
    for steps in data.draw(st.lists(st.lists(mutations(schema.names), max_size=9), max_size=4)):
        run(machine, steps)
        watch.flush()
    listener = watch.listener
    lost = sum(gap.lost for gap in listener.of(m.Gap))
    assert lost == watch.outbox.dropped
    assert lost + len(listener.records) == len(plain.seen)
    numbered = dict(enumerate(plain.seen, 1))
    assert heard(listener.records) == [numbered[record.number] for record in listener.records]
    if listener.stream.tracks:
        assert tuple(listener.stream.tracks[0].ticks) == machine.time()


@given(st.data())
def test_a_machine_that_changes_under_way_is_heard(data: st.DataObject) -> None:
    """Its schema grows, and its time is replaced."""
    schema = data.draw(schemas())
    machine, plain = am.Machine(schema, id="m", unknown_names="keep"), Plain()
    machine.log.can = True
    watch = Watch(machine)
    machine.trace(plain)
    for number in range(data.draw(st.integers(1, 3))):
        run(machine, data.draw(st.lists(mutations(machine.names), max_size=4)))
        match data.draw(st.sampled_from(("grow", "restore", "neither"))):
            case "grow":
                machine.set_schema({f"New{number}": {}, **machine.schema})
            case "restore":
                found = machine.export().to_dict()
                found["time"] = [tick + 2 * data.draw(st.integers(0, 3)) for tick in found["time"]]
                machine.restore(am.Export.from_dict(found))
            case _:
                watch.flush()
    run(machine, [("add", ("A",))])
    watch.flush()
    assert heard(watch.listener.records) == plain.seen
    assert tuple(watch.listener.stream.tracks[0].ticks) == machine.time()


@pytest.mark.nightly
def test_a_long_walk_is_heard(rounds: Rounds) -> None:
    from bench.machine import Walk

    for seed in rounds:
        walk, plain = Walk(seed), Plain()
        watch = Watch(walk.machine)
        walk.machine.trace(plain)
        for _ in range(4):
            walk.steps(250)
            watch.flush()
        assert heard(watch.listener.records) == plain.seen
