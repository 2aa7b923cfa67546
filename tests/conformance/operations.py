"""The operations that a vector can name, as calls of ours.

Three tables: mutations return a result, subscriptions a way to see that they resolved, and outer contexts are scopes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import asyncmachine as am

from .load import Json, VectorError, need

DEFAULT_QUEUE_LIMIT = 1000

Resolved = Callable[[], bool]


@dataclass(slots=True)
class Stage:
    """What operations work on: the machine, and the outer contexts made so far."""

    machine: am.Machine[str]
    scopes: dict[str, am.Scope] = field(default_factory=dict)

    def scope_of(self, op: Json) -> am.Scope | None:
        """The outer context that the operation names, or None if it names none."""
        if "ctx" not in op:
            return None
        if op["ctx"] not in self.scopes:
            raise VectorError(f"{op['op']} names the context {op['ctx']!r}, which was never made")
        return self.scopes[op["ctx"]]


def make_machine(
    schema: Mapping[str, Json], states: Iterable[str], queue_limit: int = DEFAULT_QUEUE_LIMIT
) -> am.Machine[str]:
    """A machine as lenient about unknown names in relations as the recorded one."""
    return am.Machine(schema, id="t", names=tuple(states), unknown_names="keep", queue_limit=queue_limit)


def check_operation(op: Json) -> None:
    """Raises `VectorError` for an operation that is in none of the tables."""
    if op.get("op") not in {*MUTATIONS, *SUBSCRIPTIONS, *SCOPES}:
        raise VectorError(f"unknown operation {op.get('op')!r}")


def states_of(op: Json) -> list[str]:
    """The states that the operation names."""
    return list(need(op, "states", op["op"]))


def state_of(op: Json) -> str:
    """The one state that the operation names."""
    (state,) = states_of(op)
    return state


def error_of(op: Json) -> Exception:
    """An error with the operation's text."""
    return RuntimeError(need(op, "err", op["op"]))


MUTATIONS: dict[str, Callable[[am.Machine[str], Json], am.Result]] = {
    "add": lambda machine, op: machine.add(states_of(op), op.get("args")),
    "remove": lambda machine, op: machine.remove(states_of(op), op.get("args")),
    "set": lambda machine, op: machine.set(states_of(op), op.get("args")),
    "toggle": lambda machine, op: machine.toggle(states_of(op), op.get("args")),
    "can_add": lambda machine, op: machine.can_add(states_of(op), op.get("args")),
    "can_remove": lambda machine, op: machine.can_remove(states_of(op), op.get("args")),
    "add_err": lambda machine, op: machine.add_err(error_of(op), op.get("args")),
    "add_err_state": lambda machine, op: machine.add_err(error_of(op), op.get("args"), state=state_of(op)),
}

COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    ">=": lambda tick, number: tick >= number,
    "==": lambda tick, number: tick == number,
    "<": lambda tick, number: tick < number,
}


def query(conditions: list[list[Any]]) -> Callable[[Mapping[str, int]], bool]:
    """The condition of a `when_query`: all its parts have to hold. Raises `VectorError` for an unknown comparison."""
    for _, comparison, _ in conditions:
        if comparison not in COMPARISONS:
            raise VectorError(f"unknown comparison {comparison!r} in a query")

    def holds(clock: Mapping[str, int]) -> bool:
        return all(COMPARISONS[comparison](clock[state], number) for state, comparison, number in conditions)

    return holds


def waiting(make: Callable[[am.Machine[str], Json, am.Scope | None], am.Wait]) -> Callable[[Stage, Json], Resolved]:
    """A subscription that is a wait of ours, bound to the outer context if the operation names one."""
    return lambda stage, op: make(stage.machine, op, stage.scope_of(op)).done


def state_context(stage: Stage, op: Json) -> Resolved:
    """A state context is a scope of ours; it counts as resolved when it ends."""
    scope = stage.machine.scope(state_of(op))
    return lambda: scope.expired


SUBSCRIPTIONS: dict[str, Callable[[Stage, Json], Resolved]] = {
    "when": waiting(lambda machine, op, scope: machine.when(*states_of(op), scope=scope)),
    "when_not": waiting(lambda machine, op, scope: machine.when_not(*states_of(op), scope=scope)),
    "when_err": waiting(lambda machine, op, scope: machine.when_err(scope=scope)),
    "when_time": waiting(
        lambda machine, op, scope: machine.when_time(states_of(op), need(op, "times", "when_time"), scope=scope)
    ),
    "when_ticks": waiting(
        lambda machine, op, scope: machine.when_ticks(state_of(op), need(op, "tick", "when_ticks"), scope=scope)
    ),
    "when_next_active": waiting(lambda machine, op, scope: machine.when_next_active(state_of(op), scope=scope)),
    "when_args": waiting(
        lambda machine, op, scope: machine.when_args(state_of(op), need(op, "args", "when_args"), scope=scope)
    ),
    "when_query": waiting(
        lambda machine, op, scope: machine.when_query(query(need(op, "query", "when_query")), scope=scope)
    ),
    "when_queue": waiting(lambda machine, op, scope: machine.when_queue(need(op, "tick", "when_queue"))),
    "when_queue_ends": waiting(lambda machine, op, scope: machine.when_queue_ends()),
    "state_ctx": state_context,
}


def make_scope(stage: Stage, op: Json) -> None:
    """Makes an outer context."""
    stage.scopes[need(op, "ctx", "ctx_new")] = am.Scope()


def end_scope(stage: Stage, op: Json) -> None:
    """Cancels an outer context."""
    need(op, "ctx", "ctx_cancel")
    scope = stage.scope_of(op)
    assert scope is not None
    scope.end()


SCOPES: dict[str, Callable[[Stage, Json], None]] = {"ctx_new": make_scope, "ctx_cancel": end_scope}
