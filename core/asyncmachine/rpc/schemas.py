"""Schemas as a client gets them: from its program, or from the server."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from asyncmachine.machine.errors import InvalidArgs, SchemaError
from asyncmachine.machine.relations import RECORDED
from asyncmachine.machine.rules import rules_of
from asyncmachine.machine.schema import RELATIONS, Schema, State, StatesMeta
from asyncmachine.rpc.errors import HandshakeFailed
from asyncmachine.rpc.grants import Grants
from asyncmachine.rpc.messages import GrantList, Sync

Given = type[Any] | Mapping[str, State] | None
"""A class of states, a schema, or nothing."""


def schema_given(given: Given) -> Schema:
    """The schema as machines have it: cleaned, and so with the same hash as the source's.

    Raises `InvalidArgs` for what is none.
    """
    if given is not None and not isinstance(given, StatesMeta | Mapping):
        raise InvalidArgs(f"schema is a class of states, or a mapping of states, got {given!r}")
    if isinstance(given, StatesMeta):
        schema = given.schema
    else:
        schema = given if isinstance(given, Schema) else Schema(given or {})  # type: ignore[arg-type]
    return rules_of(schema, RECORDED).schema


def groups_given(given: Given) -> Mapping[str, tuple[str, ...]]:
    """The groups of a class of states."""
    return given.groups if isinstance(given, StatesMeta) else {}


def schema_told(source: str, told: Mapping[str, Mapping[str, Any]] | None) -> Schema:
    """What a server tells of the schema of its source. Raises `HandshakeFailed` if it cannot be read."""
    try:
        return Schema(told or {})
    except SchemaError as error:
        raise HandshakeFailed(f"the schema of {source} cannot be read: {error}") from error


def missing(given: Schema, names: Collection[str], wanted: Sync, grants: GrantList | None) -> list[str]:
    """States of the schema that a client was given, and may see, which the source does not have."""
    read, there = tuple(grants.read) if grants is not None else ("*",), set(names)
    lacking = Grants(read=read).readable(name for name in given.names if name not in there)
    allowed = lacking if wanted.allowed is None else wanted.allowed
    return [name for name in lacking if name in allowed and name not in wanted.skipped]


def difference(given: Schema, told: Schema) -> str:
    """The first thing that a client's own schema says otherwise than its source; empty if there is none.

    A state of which it says nothing is none, and neither are relations to states that the client may not see.
    """
    for name, ours in given.items():
        theirs = told.get(name)
        if theirs is None or replace(ours, tags=None) == State():
            continue
        for key in ("auto", "multi", *RELATIONS):
            here, there = (_said(state, key, told) for state in (ours, theirs))
            if here != there:
                return f"{key} of {name} is {_shown(here)} for the client and {_shown(there)} for the source"
    return ""


def _said(state: State, key: str, told: Schema) -> bool | list[str]:
    found = getattr(state, key)
    return found if isinstance(found, bool) else sorted(name for name in found or () if name in told)


def _shown(said: bool | list[str]) -> str:
    return str(said).lower() if isinstance(said, bool) else " ".join(said) or "nothing"
