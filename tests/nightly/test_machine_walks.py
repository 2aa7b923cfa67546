"""Long walks over larger schemas than the daily property tests take."""

from __future__ import annotations

from random import Random

import pytest

import asyncmachine as am
from tests.machine.slow_machine import SlowMachine
from tests.machine.strategies import KINDS
from tests.rounds import Rounds

STEPS = 150


def random_schema(draw: Random, *, after_cycles: bool) -> am.Schema:
    """4 to 16 states with a few relations each. Without `after_cycles`, After names only states that come earlier."""
    names = ["Exception", *(f"S{number}" for number in range(draw.randint(3, 15)))]

    def some(pool: list[str]) -> tuple[str, ...]:
        return tuple(draw.sample(pool, min(len(pool), draw.choice((0, 0, 0, 1, 1, 2, 3)))))

    def state(at: int) -> am.State:
        require = some(names)
        return am.State(
            auto=draw.random() < 0.2,
            multi=draw.random() < 0.2,
            require=require,
            add=some(names),
            # To require what one removes is a mistake that the machine refuses.
            remove=tuple(name for name in some(names) if name not in require),
            after=some(names if after_cycles else names[:at]),
        )

    return am.Schema({name: state(at) for at, name in enumerate(names)})


def random_mutation(draw: Random, names: tuple[str, ...]) -> tuple[str, list[str]]:
    return draw.choice(KINDS), draw.sample(names, draw.randint(1, min(4, len(names))))


@pytest.mark.nightly
def test_the_slow_machine_agrees_on_long_walks(rounds: Rounds) -> None:
    for seed in rounds:
        draw = Random(seed)
        machine = am.Machine(random_schema(draw, after_cycles=True))
        slow = SlowMachine(machine.schema)
        for step in range(STEPS):
            kind, called = random_mutation(draw, machine.names)
            result: am.Result = getattr(machine, kind)(called)
            assert result.outcome == slow.run(kind, called), (seed, step, kind, called)
            assert machine.clock() == slow.ticks, (seed, step, kind, called)
            assert list(machine.active_states()) == slow.active, (seed, step, kind, called)


@pytest.mark.nightly
def test_strict_relations_hold_on_long_walks(rounds: Rounds) -> None:
    for seed in rounds:
        draw = Random(seed)
        machine = am.Machine(random_schema(draw, after_cycles=False), relations="strict")
        for step in range(STEPS):
            kind, called = random_mutation(draw, machine.names)
            getattr(machine, kind)(called)
            active = machine.active_states()
            for at, name in enumerate(active):
                state = machine.schema[name]
                where = (seed, step, kind, called, name)
                assert set(state.require or ()) <= set(active), where
                assert not set(state.remove or ()) & set(active) - {name}, where
                assert not set(state.after or ()) & set(active[at + 1 :]), where
