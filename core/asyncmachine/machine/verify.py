"""What a schema must and must not say.

`verify` refuses what can only be a mistake, with the name that was probably meant. `cleaned` drops relations that
cannot mean anything, so that a whole group can be given where one of its members is declared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from asyncmachine.machine.errors import SchemaError, nearest
from asyncmachine.machine.schema import RELATIONS, Schema, State

UnknownNames = Literal["error", "keep"]


def verify(schema: Mapping[str, State], unknown_names: UnknownNames = "error") -> None:
    """Raises `SchemaError` for a Require that is also a Remove and, unless names are kept, for relations to nobody."""
    problems = [f"{found}; drop one of the two relations" for found in conflicts(schema)]
    if unknown_names == "error":
        problems += unknown_targets(schema)
    if problems:
        raise SchemaError("; ".join(problems))


def conflicts(schema: Mapping[str, State]) -> list[str]:
    """One text for each state that requires what it removes."""
    return [
        f"schema error: require-remove conflict for {name} to {required}"
        for name, found in schema.items()
        for required in found.require or ()
        if required in _effective_remove(name, found)
    ]


def unknown_targets(schema: Mapping[str, State], kinds: tuple[str, ...] = RELATIONS) -> list[str]:
    """One text for each relation (of these kinds) to a name that no state has, with the nearest name."""
    found = []
    for name, definition in schema.items():
        for key in kinds:
            for target in getattr(definition, key) or ():
                if target not in schema:
                    hint = nearest(target, schema)
                    cure = f"did you mean {hint!r}?" if hint else "define it, or drop it from the relation"
                    found.append(f"state {name!r}: {key} names unknown state {target!r}; {cure}")
    return found


def cleaned(schema: Mapping[str, State]) -> Schema:
    """The schema without self references in Remove and After, and without names that no state has.

    A name in Add leaves Remove: Add wins. An unknown name in Require stays; its state can then never activate.
    """
    return Schema({name: _cleaned_state(schema, name, found) for name, found in schema.items()})


def _cleaned_state(schema: Mapping[str, State], name: str, found: State) -> State:
    remove = None if found.remove is None else tuple(n for n in _effective_remove(name, found) if n in schema)
    add = None if found.add is None else tuple(n for n in found.add if n in schema or n in (found.remove or ()))
    after = None
    if found.after is not None:
        once = list(found.after)
        if name in once:
            once.remove(name)
        after = tuple(n for n in once if n in schema)
    return replace(found, add=add, remove=remove, after=after)


def _effective_remove(name: str, found: State) -> list[str]:
    """Remove without the state itself and without what it adds; of a name given twice one stays."""
    remove = list(found.remove or ())
    for dropped in (name, *(found.add or ())):
        if dropped in remove:
            remove.remove(dropped)
    return remove
