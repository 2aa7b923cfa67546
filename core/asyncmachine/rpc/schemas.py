"""Schemas as a client gets them: from its program, or from the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asyncmachine.machine.errors import SchemaError
from asyncmachine.machine.relations import RECORDED
from asyncmachine.machine.rules import rules_of
from asyncmachine.machine.schema import Schema, State, StatesMeta
from asyncmachine.rpc.errors import HandshakeFailed
from asyncmachine.rpc.messages import Welcome

Given = type[Any] | Mapping[str, State] | None
"""A class of states, a schema, or nothing."""


def schema_given(given: Given) -> Schema:
    """The schema as machines have it: cleaned, and so with the same hash as the source's."""
    if isinstance(given, StatesMeta):
        schema = given.schema
    else:
        schema = given if isinstance(given, Schema) else Schema(dict(given or {}))  # type: ignore[arg-type]
    return rules_of(schema, RECORDED).schema


def groups_given(given: Given) -> Mapping[str, tuple[str, ...]]:
    """The groups of a class of states."""
    return given.groups if isinstance(given, StatesMeta) else {}


def schema_of(welcome: Welcome) -> Schema:
    """The schema that a server tells. Raises `HandshakeFailed` for one that cannot be read."""
    try:
        return Schema(welcome.schema or {})
    except SchemaError as error:
        raise HandshakeFailed(f"the schema of {welcome.source} cannot be read: {error}") from error
