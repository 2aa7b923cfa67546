"""Schemas compared, counted and copied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from asyncmachine.machine.errors import SchemaError
from asyncmachine.machine.machine import Machine
from asyncmachine.machine.names import short_hash
from asyncmachine.machine.schema import State, StatesMeta
from asyncmachine.machine.steps import touched_states
from asyncmachine.machine.transition import Transition

Stated = Iterable[str] | StatesMeta
"""What has state names: a class of states, a schema, or just names."""


def missing_states(checked: Stated, needed: Stated) -> tuple[str, ...]:
    """The needed states that `checked` does not have."""
    there = set(_names(checked))
    return tuple(name for name in _names(needed) if name not in there)


def implements(checked: Stated, needed: Stated) -> None:
    """Raises `SchemaError` if `checked` lacks a needed state: ``implements(Download, states.Connected)``."""
    missing = missing_states(checked, needed)
    if missing:
        raise SchemaError(f"missing state{'s' * (len(missing) > 1)}: {', '.join(missing)}")


def is_multi(schema: Mapping[str, State], state: str) -> bool:
    """Whether a state may be called again while it is active. False for an unknown one."""
    found = schema.get(state)
    return found is not None and found.multi


def count_relations(state: State) -> int:
    """How many states the relations of this one name, each as often as it is named."""
    return len(state.related())


def copy_schema(source: Mapping[str, State], target: Machine[Any], states: Iterable[str] | None = None) -> None:
    """Extends a running machine by states of another schema (all of them unless given) that it does not have.

    What the machine has stays as it is. Raises `SchemaError` if the source lacks a state, or if a relation leads to one
    that is not copied.
    """
    wanted = tuple(source if states is None else states)
    implements(source, wanted)
    added = {name: source[name] for name in wanted if name not in target.schema}
    if added:
        target.set_schema(target.schema.merge(added))


def schema_hash(schema: Mapping[str, State]) -> str:
    """Six hex digits that stay the same when states or relations are reordered: a label, for logs and file names.

    `Schema.hash` is the one that tells whether two ends agree.
    """
    return short_hash("".join(_label(name, schema[name]) for name in sorted(schema)))


def _label(name: str, state: State) -> str:
    flags = "a," * state.auto + "m," * state.multi
    lists = (state.after, state.remove, state.add, state.require)
    return f"{name}:{flags}" + "".join("".join(f"{other}," for other in sorted(names or ())) + ";" for names in lists)


class Touched(NamedTuple):
    """States that a transition activated (or called again), deactivated, and looked at."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    touched: tuple[str, ...]


def transition_states(tx: Transition) -> Touched:
    """What a transition has done to which states, in the machine's order.

    What it looked at is known only if it has recorded its steps (`machine.log.steps`).
    """
    names = tx.machine.names
    changed = [(name, after) for name, before, after in zip(names, tx.before, tx.after, strict=True) if before != after]
    seen = set(touched_states(tx.steps))
    return Touched(
        tuple(name for name, tick in changed if tick & 1),
        tuple(name for name, tick in changed if not tick & 1),
        tuple(name for name in names if name in seen),
    )


def _names(stated: Stated) -> Iterable[str]:
    return stated.names if isinstance(stated, StatesMeta) else stated
