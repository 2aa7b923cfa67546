"""Signatures: how a mutation can be called, told to tools that let people (or models) call it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

ARGS_REQUIRED: Final = "ArgsReq"
"""Tag of states that cannot be added without arguments. Tools read it; the machine does not."""


@dataclass(frozen=True, slots=True)
class CallSignature:
    """One callable mutation.

    `states` are added, or removed if `is_remove`. `name` and `description` are for people. `needed` and `optional` are
    names of arguments, `values` what an argument may be, where that is a choice, `schemas` its JSON schema.
    """

    states: tuple[str, ...]
    is_remove: bool = False
    name: str = ""
    description: str = ""
    needed: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    schemas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def args(self) -> tuple[str, ...]:
        """All arguments, the needed ones first."""
        return (*self.needed, *self.optional)

    def __str__(self) -> str:
        """``Add: A B [needed arguments]``, or its name in place of the mutation."""
        kind = "Remove" if self.is_remove else "Add"
        text = self.name or f"{kind}: {' '.join(self.states)}"
        return f"{text} [{' '.join(self.needed)}]" if self.needed else text
