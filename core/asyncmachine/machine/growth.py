"""Changing the schema of a running machine: states are added or redefined, never taken away.

Ticks of known states stay, new ones start at 0. Nothing is activated or deactivated. Waits and scopes of known states
go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from asyncmachine.machine.errors import SchemaError
from asyncmachine.machine.mutation import Mutation
from asyncmachine.machine.plan import configuration
from asyncmachine.machine.rules import Rules, rules_of
from asyncmachine.machine.schema import EXCEPTION, Schema, State, StatesMeta

if TYPE_CHECKING:
    from asyncmachine.machine.machine import Machine


def schema_from(states: Any, names: Iterable[str] | None = None) -> Schema:
    """A schema from a class of states, a schema or a plain mapping; `names` fixes the order of its states.

    Raises `SchemaError` for anything else.
    """
    found = states.schema if isinstance(states, StatesMeta) else states
    if not isinstance(found, Mapping):
        got = f"an instance of {type(states).__name__}"
        raise SchemaError(f"states are a class of states, a schema or a mapping from names to states; got {got}")
    if not isinstance(found, Schema):
        found = Schema(found)
    if names is not None:
        if EXCEPTION not in found:
            found = found.merge({EXCEPTION: State(multi=True)})
        found = found.ordered(names)
    return found


def grown(machine: Machine[Any], schema: Schema) -> Rules:
    """The compiled new schema. Raises `SchemaError` if it is no larger than the old one, or lacks one of its states."""
    rules = rules_of(schema, machine._rules.resolver)
    gone = [name for name in machine.names if name not in rules.index]
    if gone:
        raise SchemaError(f"a running machine cannot lose states; the new schema lacks {', '.join(gone)}")
    if len(rules.names) <= len(machine.names):
        raise SchemaError(f"the new schema must have more than {len(machine.names)} states, it has {len(rules.names)}")
    return rules


def take_over(machine: Machine[Any], rules: Rules) -> None:
    """Puts the new schema in the place of the old one. Only while nothing is drained."""
    moved = {i: rules.index[name] for i, name in enumerate(machine._names)}
    active = [moved[i] for i in machine._config.active]
    ticks = [0] * len(rules.names)
    for old, new in moved.items():
        ticks[new] = machine._ticks[old]
    machine._rules = rules
    machine._schema, machine._names, machine._index = rules.schema, rules.names, dict(rules.index)
    machine._ticks = ticks
    machine._config = configuration(rules, active)
    machine._scopes = {moved[i]: scope for i, scope in machine._scopes.items()}
    for item in machine._queue:  # what an interrupt has left waiting
        if isinstance(item, Mutation):
            item.indexes = tuple(moved[i] for i in item.indexes)
    if machine._subs is not None:
        machine._subs.move(moved, rules.names)
    if machine._table is not None:
        machine._table = machine._table.moved(rules.names, moved)
