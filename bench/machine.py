"""The machine against other Python state machines.

The unit of comparison is T: one toggle pair with one callback in `transitions`, measured in the same run. Aims are
given as "ratio >= 4" for "at most 0.25 T". Everything runs as shipped: locks, watchdog and results on.
"""

from __future__ import annotations

import gc
import random
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import asyncmachine as am
from asyncmachine.machine import plan
from asyncmachine.rpc.states import ServerStates
from bench.report import Row, main, row

FOUR: dict[str, dict[str, Any]] = {"A": {}, "B": {}, "C": {}, "D": {}}
TWENTY: dict[str, dict[str, Any]] = {f"S{i}": {} for i in range(20)}
REPEATS = 7


def best(step: Callable[[], object], seconds: float = 0.05) -> float:
    """Microseconds for one call: the best of several rounds, each about `seconds` long, after a warm-up."""
    step()
    calls = 1
    while (took := timed(step, calls)) < seconds / 4:
        calls *= 2
    calls = max(1, int(calls * seconds / took))
    return min(timed(step, calls) for _ in range(REPEATS)) / calls * 1e6


def timed(step: Callable[[], object], calls: int) -> float:
    """Seconds for that many calls, without the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        begun = perf_counter()
        for _ in range(calls):
            step()
        return perf_counter() - begun
    finally:
        gc.enable()


class Counting:
    """A callback for every machine compared."""

    def __init__(self) -> None:
        self.calls = 0

    def called(self, *_: object) -> None:
        self.calls += 1


def transitions_pair() -> Callable[[], object]:
    """The toggle pair T in `transitions`."""
    from transitions import Machine

    model: Any = Counting()
    machine = Machine(model, states=["off", "on"], initial="off")
    machine.add_transition("switch_on", "off", "on", after="called")
    machine.add_transition("switch_off", "on", "off")

    def step() -> None:
        model.switch_on()
        model.switch_off()

    return step


def statemachine_pair() -> Callable[[], object]:
    """The same in `python-statemachine`."""
    from statemachine import State, StateMachine

    class Switch(StateMachine):
        off = State(initial=True)
        on = State()
        switch_on = off.to(on)
        switch_off = on.to(off)
        calls = 0

        def on_enter_on(self) -> None:
            self.calls += 1

    machine = Switch()

    def step() -> None:
        machine.switch_on()
        machine.switch_off()

    return step


def automat_pair() -> Callable[[], object]:
    """The same in `automat`."""
    from automat import MethodicalMachine

    class Switch(Counting):
        machine = MethodicalMachine()

        @machine.state(initial=True)  # type: ignore[untyped-decorator]
        def off(self) -> None: ...

        @machine.state()  # type: ignore[untyped-decorator]
        def on(self) -> None: ...

        @machine.input()  # type: ignore[untyped-decorator]
        def switch_on(self) -> None: ...

        @machine.input()  # type: ignore[untyped-decorator]
        def switch_off(self) -> None: ...

        @machine.output()  # type: ignore[untyped-decorator]
        def count(self) -> None:
            self.called()

        off.upon(switch_on, enter=on, outputs=[count])
        on.upon(switch_off, enter=off, outputs=[])

    model = Switch()

    def step() -> None:
        model.switch_on()
        model.switch_off()

    return step


def pair(machine: am.Machine[Any], state: str) -> Callable[[], object]:
    """Add and remove one state."""

    def step() -> None:
        machine.add(state)
        machine.remove(state)

    return step


def server(tracer: am.Tracer | None = None) -> am.Machine[ServerStates]:
    """A machine of aRPC's server, the typical schema of a component."""
    return am.Machine(ServerStates, tracers=[tracer] if tracer else [])


def server_life(machine: am.Machine[ServerStates]) -> Callable[[], object]:
    """Five mutations from stopped over Ready, an Auto state, to stopped."""
    states = ServerStates

    def step() -> None:
        machine.add(states.Start)
        machine.add(states.RpcReady)
        machine.add(states.ClientConnected)
        machine.add(states.HandshakeDone)
        machine.remove(states.Start)

    step()
    machine.add((states.Start, states.RpcReady))
    machine.add((states.ClientConnected, states.HandshakeDone))
    assert "Ready" in machine
    machine.remove(states.Start)
    return step


def large(seed: int = 1) -> dict[str, dict[str, Any]]:
    """100 states with three relations each, none of which keeps the first 21 from being active together."""
    chance = random.Random(seed)
    names = [f"S{i}" for i in range(100)]
    free = set(names[:21])
    schema: dict[str, dict[str, Any]] = {}
    for name in names:
        others = [n for n in names if n != name and not (name in free and n in free)]
        kinds = chance.sample(["add", "remove", "after", "require"], 3) if name not in free else ["after"] * 3
        found: dict[str, Any] = {}
        for kind in kinds:
            target = chance.choice(others)
            if not (kind == "remove" and target in free) and target not in found.get("require", []):
                found.setdefault(kind, []).append(target)
        if set(found.get("require", ())) & set(found.get("remove", ())):
            del found["remove"]
        schema[name] = found
    return schema


class Walk:
    """A random walk: one or two states are added or removed, whatever comes of it."""

    def __init__(self, seed: int = 7) -> None:
        self.machine = am.Machine(large())
        self._chance = random.Random(seed)
        self._names = [f"S{i}" for i in range(100)]

    def steps(self, count: int) -> float:
        """Microseconds a step."""
        chance, names, machine = self._chance, self._names, self.machine
        moves = [(chance.random() < 0.5, tuple(chance.sample(names, chance.choice((1, 2))))) for _ in range(count)]
        begun = perf_counter()
        for adds, called in moves:
            if adds:
                machine.add(called)
            else:
                machine.remove(called)
        return (perf_counter() - begun) / count * 1e6


class Keeping(am.Tracer):
    """Keeps every transition, as a recorder would."""

    def __init__(self) -> None:
        self.kept: list[object] = []

    def transition_end(self, tx: am.Transition) -> None:
        self.kept.append((tx.id, tx.called, tx.before, tx.after, tx.target, tx.accepted))


def memory(make: Callable[[], object], count: int = 300) -> float:
    """Kilobytes that one more object takes."""
    kept = [make() for _ in range(5)]
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept += [make() for _ in range(count)]
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return taken / count / 1024 if kept else 0.0


def rows() -> Iterator[Row]:
    """All figures. Peers are named with what was measured of them."""
    t = best(transitions_pair())
    peer = {"T": t}

    class Both(Counting):
        AState = AEnd = Counting.called

    class One(Counting):
        AState = Counting.called

    four = am.Machine(FOUR)
    yield row(
        "toggle pair, one callback",
        "µs",
        best(pair(am.Machine(FOUR, One()), "A")),
        peers={
            "transitions": t,
            "python-statemachine": best(statemachine_pair()),
            "automat": best(automat_pair()),
        },
    )
    plain = best(pair(four, "A"))
    yield row("a. add + remove, 4 states, no handlers", "µs", plain, peers=peer, aim="ratio >= 4")
    yield row(
        "b. same, State and End handlers",
        "µs",
        best(pair(am.Machine(FOUR, Both()), "A")),
        peers=peer,
        aim="ratio >= 2.857",
    )
    started = best(pair(server(), "Start"))
    yield row("c. ServerStates, ±Start", "µs", started, peers=peer, aim="ratio >= 2.5")
    yield row(
        "c2. ServerStates, 5 mutations incl. auto Ready",
        "µs",
        best(server_life(server())),
        peers=peer,
        aim="ratio >= 0.833",
    )
    yield row(
        "d. 100 states × 3 relations, pair",
        "µs",
        best(pair(am.Machine(large()), "S0")),
        peers=peer,
        aim="ratio >= 3.333",
    )
    crowded = am.Machine(large())
    crowded.add([f"S{i}" for i in range(1, 21)])
    assert len(crowded.active_states()) >= 20
    yield row("d. same, 20 others active", "µs", best(pair(crowded, "S0")), peers=peer, aim="ratio >= 3.333")
    walk = Walk()
    yield row("w. random walk over 100 states, a step", "µs", walk.steps(100_000), peers=peer, aim="ratio >= 0.333")
    rules = walk.machine._rules
    yield row("w. plans kept after it", "plans", rules.plan_count)
    yield row("w. configurations kept after it", "configurations", len(rules.configurations))

    def waited() -> None:
        four.when("A")
        four.add("A")
        four.remove("A")

    def scoped() -> None:
        four.add("A")
        four.scope("A")
        four.remove("A")

    yield row("e. when made and met, on top of a", "µs", best(waited) - plain, peers=peer, aim="ratio >= 6.667")
    yield row("f. is_", "µs", best(lambda: four.is_("A")), peers=peer, aim="ratio >= 66.7")
    yield row("g. scope made and ended, on top of a", "µs", best(scoped) - plain, peers=peer, aim="ratio >= 6.667")
    schema = am.Schema(TWENTY)
    yield row("i. new machine of 20 states", "µs", best(lambda: am.Machine(schema)), peers=peer, aim="ratio >= 2")
    yield row("h. idle machine of 20 states", "KB", memory(lambda: am.Machine(schema)), aim="ours <= 4")
    yield row("cold: first resolution, ServerStates", "µs", cold(), peers=peer, aim="ratio >= 0.333")
    kept = best(pair(server(Keeping()), "Start"))
    yield row("tracer that keeps all, row c", "µs", kept, peers={"row c": started}, aim="ratio >= 0.4")


def cold() -> float:
    """One mutation in a situation never seen before."""
    machine = server()
    rules = machine._rules

    def step() -> None:
        plan.forget(rules)
        machine.add(ServerStates.Start)
        machine.remove(ServerStates.Start)

    return best(step) / 2


if __name__ == "__main__":
    sys.exit(main("machine", rows))
