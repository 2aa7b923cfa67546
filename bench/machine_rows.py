"""The rows of `bench.machine` that are measured in CPython and in Pyodide alike."""

from __future__ import annotations

import gc
import math
import random
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import asyncmachine as am
from asyncmachine.rpc.states import ServerStates

FOUR: dict[str, dict[str, Any]] = {"A": {}, "B": {}, "C": {}, "D": {}}
TWENTY: dict[str, dict[str, Any]] = {f"S{i}": {} for i in range(20)}
REPEATS = 11

# The time this thread has been running: what else the computer does at the moment does not count. Browsers have none.
clock = time.perf_counter if sys.platform == "emscripten" else time.thread_time


def best(step: Callable[[], object], seconds: float = 0.05) -> float:
    """Microseconds for one call: the best of several rounds, each about `seconds` long, after a warm-up."""
    return best_of({"": step}, seconds)[""]


def best_of(steps: Mapping[str, Callable[[], object]], seconds: float = 0.05) -> dict[str, float]:
    """`best` of several, their rounds in turn: a slow spell of the computer hits all of them and none of the bests."""
    calls = {name: calls_in(step, seconds) for name, step in steps.items()}
    found = dict.fromkeys(steps, math.inf)
    for _ in range(REPEATS):
        for name, step in steps.items():
            found[name] = min(found[name], timed(step, calls[name]) / calls[name] * 1e6)
    return found


def calls_in(step: Callable[[], object], seconds: float) -> int:
    """How many calls take about this long. Warms up."""
    step()
    calls = 1
    while (took := timed(step, calls)) < seconds / 4:
        calls *= 2
    return max(1, int(calls * seconds / took))


def timed(step: Callable[[], object], calls: int) -> float:
    """Seconds for that many calls, without the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        begun = clock()
        for _ in range(calls):
            step()
        return clock() - begun
    finally:
        gc.enable()


class Counting:
    """A callback for every machine compared."""

    def __init__(self) -> None:
        self.calls = 0

    def called(self, *_: object) -> None:
        """Counts."""
        self.calls += 1


class Both(Counting):
    """A State and an End handler."""

    AState = AEnd = Counting.called


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


def pairs() -> dict[str, Callable[[], object]]:
    """What rows a to d measure."""
    crowded = am.Machine(large())
    crowded.add([f"S{i}" for i in range(1, 21)])
    assert len(crowded.active_states()) >= 20
    return {
        "a": pair(am.Machine(FOUR), "A"),
        "b": pair(am.Machine(FOUR, Both()), "A"),
        "c": pair(server(), "Start"),
        "c2": server_life(server()),
        "d0": pair(am.Machine(large()), "S0"),
        "d20": pair(crowded, "S0"),
    }
