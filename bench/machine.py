"""The machine against other Python state machines.

The unit of comparison is T: one toggle pair with one callback in `transitions`, measured in the same run. Aims are
given as "ratio >= 4" for "at most 0.25 T". Everything runs as shipped: locks, watchdog and results on.
"""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import asyncmachine as am
from asyncmachine.machine import plan
from asyncmachine.machine.plan import Configuration, Plan
from asyncmachine.machine.rules import Rules
from asyncmachine.rpc.states import ServerStates
from bench.machine_rows import FOUR, TWENTY, Counting, best_of, calls_in, clock, large, pair, pairs, server, timed
from bench.report import Row, main, row
from scripts.vendor import vendor_folder

ROOT = Path(__file__).resolve().parent.parent

NATIVE = (
    ("a", "a. add + remove, 4 states, no handlers", "ratio >= 4"),
    ("b", "b. same, State and End handlers", "ratio >= 2.857"),
    ("c", "c. ServerStates, ±Start", "ratio >= 2.5"),
    ("c2", "c2. ServerStates, 5 mutations incl. auto Ready", "ratio >= 0.833"),
    ("d0", "d. 100 states × 3 relations, pair", "ratio >= 3.333"),
    ("d20", "d. same, 20 others active", "ratio >= 3.333"),
)

IN_NODE = """
const vendor = process.argv[1];
const { loadPyodide } = await import(vendor + "/pyodide/pyodide.mjs");
const { readFileSync } = await import("node:fs");
const where = { lockFileURL: vendor + "/wheels/pyodide-lock.json", packageBaseUrl: vendor + "/wheels/" };
const python = await loadPyodide({ ...where, packages: ["asyncmachine"], stdout: () => {} });
python.FS.writeFile("machine_rows.py", readFileSync(0, "utf8"));
const found = python.runPython(
  "import json; from machine_rows import best_of, pairs; json.dumps(best_of(pairs()))");
console.log(found);
"""


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


class Walker(am.Machine[Any]):
    """Counts the mutations that found no plan."""

    misses = 0

    def _new_plan(self, kind: int, key: str | Iterable[str]) -> Plan:
        self.misses += 1
        return super()._new_plan(kind, key)


class Walk:
    """A random walk: one or two states are added or removed, whatever comes of it."""

    def __init__(self, seed: int = 7) -> None:
        self.machine = Walker(large())
        self._chance = random.Random(seed)
        self._names = [f"S{i}" for i in range(100)]

    def steps(self, count: int) -> float:
        """Microseconds a step."""
        chance, names, machine = self._chance, self._names, self.machine
        moves = [(chance.random() < 0.5, tuple(chance.sample(names, chance.choice((1, 2))))) for _ in range(count)]
        begun = clock()
        for adds, called in moves:
            if adds:
                machine.add(called)
            else:
                machine.remove(called)
        return (clock() - begun) / count * 1e6


class Keeping(am.Tracer):
    """Keeps every transition. What relations decide alone is kept as its plan, which knows its steps and log lines."""

    def __init__(self) -> None:
        self.kept: list[object] = []

    def transition_end(self, tx: am.Transition) -> None:
        self.kept.append(tx)

    def transition_plain(self, machine: am.View[Any], plan: Plan, auto: Plan | None, queue_tick: int) -> None:
        self.kept.append((plan, auto, queue_tick))


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

    class One(Counting):
        AState = Counting.called

    toggles = {
        "T": transitions_pair(),
        "statemachine": statemachine_pair(),
        "automat": automat_pair(),
        "toggle": pair(am.Machine(FOUR, One()), "A"),
        "tracer": pair(server(Keeping()), "Start"),
    }
    ours = best_of({**toggles, **pairs(), **small()})
    t = {"T": ours["T"]}
    peers = {"transitions": ours["T"], "python-statemachine": ours["statemachine"], "automat": ours["automat"]}
    yield row("toggle pair, one callback", "µs", ours["toggle"], peers=peers)
    for name, title, aim in NATIVE:
        yield row(title, "µs", ours[name], peers=t, aim=aim)
    yield from walked()
    yield row("e. when made and met, on top of a", "µs", ours["when"] - ours["a"], peers=t, aim="ratio >= 6.667")
    yield row("f. is_", "µs", ours["is_"], peers=t, aim="ratio >= 66.7")
    yield row("g. scope made and ended, on top of a", "µs", ours["scope"] - ours["a"], peers=t, aim="ratio >= 6.667")
    yield row("i. new machine of 20 states", "µs", ours["new"], peers=t, aim="ratio >= 2")
    schema = am.Schema(TWENTY)
    yield row("h. idle machine of 20 states", "KB", memory(lambda: am.Machine(schema)), aim="ours <= 4")
    yield row("cold: first resolution, ServerStates", "µs", ours["cold"] / 2, peers=t, aim="ratio >= 0.333")
    kept = {"row c": ours["c"]}
    yield row("tracer that keeps transitions, row c", "µs", ours["tracer"], peers=kept, aim="ratio >= 0.4")
    yield from in_pyodide(ours)


def walked(steps: int = 100_000, laps: int = 20) -> Iterator[Row]:
    """A random walk, and what it leaves in memory. As all its steps count, the mean of T beside it is its peer."""
    walk = Walk()
    toggle = transitions_pair()
    calls = calls_in(toggle, 0.05)
    took = beside = 0.0
    for _ in range(laps):
        beside += timed(toggle, calls) / calls * 1e6 / laps
        took += walk.steps(steps // laps) / laps
    rules = walk.machine._rules
    yield row("w. random walk over 100 states, a step", "µs", took, peers={"T beside it": beside}, aim="ratio >= 0.333")
    yield row("w. steps that found their plan", "%", 100 * (1 - walk.machine.misses / steps))
    yield row("w. plans kept after it", "plans", rules.plan_count)
    yield row("w. configurations kept after it", "configurations", len(rules.configurations))
    yield row("w. memory of plans and configurations", "MB", kept_bytes(rules) / 1e6)


def kept_bytes(rules: Rules) -> int:
    """Bytes of all plans and configurations of a schema, with their tuples, masks and tables."""
    seen: set[int] = set()
    total = 0
    waiting: list[object] = [rules.configurations]
    while waiting:
        found = waiting.pop()
        if id(found) not in seen and isinstance(found, dict | tuple | int | Plan | Configuration):
            seen.add(id(found))
            total += sys.getsizeof(found)
            waiting += gc.get_referents(found)
    return total


def small() -> dict[str, Callable[[], object]]:
    """Waits, scopes, checks, new machines, and a situation never seen before (two of them)."""
    four, seen, cold = am.Machine(FOUR), am.Schema(TWENTY), server()
    cold_rules = cold._rules

    def when() -> None:
        four.when("A")
        four.add("A")
        four.remove("A")

    def scope() -> None:
        four.add("A")
        four.scope("A")
        four.remove("A")

    def resolve() -> None:
        plan.forget(cold_rules)
        cold.add(ServerStates.Start)
        cold.remove(ServerStates.Start)

    return {
        "when": when,
        "scope": scope,
        "is_": lambda: four.is_("A"),
        "new": lambda: am.Machine(seen),
        "cold": resolve,
    }


def in_pyodide(native: dict[str, float]) -> Iterator[Row]:
    """Rows a to d in Pyodide under Node; `ratio` is native against Pyodide."""
    vendor = vendor_folder(ROOT)
    source = (ROOT / "bench" / "machine_rows.py").read_text(encoding="utf-8")
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", IN_NODE, str(vendor)],
        input=source,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    for name, title, _ in NATIVE:
        yield row(f"Pyodide, {title}", "µs", found[name], peers={"native": native[name]}, aim="ratio >= 0.4545")


if __name__ == "__main__":
    sys.exit(main("machine", rows))
