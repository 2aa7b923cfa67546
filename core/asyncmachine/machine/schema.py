"""States, schemas, and classes that define them.

A schema is a mapping from state names to `State` records. It is usually written as a class, so that an editor completes
the names and a type checker knows them::

    class Download(StatesDef):
        Start = state()
        Downloading = state(require=Start, remove="Downloaded")
        Downloaded = state(remove=Downloading)
        Flow = group(Downloading, Downloaded)

At run time `Download.Start` is the plain text ``"Start"``. For a type checker it is a `Download`, as the members of an
enum are, and `Machine[Download]` takes nothing else.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from asyncmachine.machine.errors import SchemaError

EXCEPTION = "Exception"
"""The state that every machine has and every error activates."""

RELATIONS = ("require", "add", "remove", "after")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class State:
    """One state of a schema.

    `require`: all of these must be in the target, else this state is dropped. `add`: states implied when this one
    activates. `remove`: states that this one deactivates or blocks. `after`: handlers of this state run after theirs.
    A relation that was never given is None; an empty one was given on purpose (it overrides in `replace`).
    """

    auto: bool = False
    multi: bool = False
    require: tuple[str, ...] | None = None
    add: tuple[str, ...] | None = None
    remove: tuple[str, ...] | None = None
    after: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None

    @classmethod
    def parse(cls, value: State | Mapping[str, Any], name: str = "?") -> State:
        """A record from a mapping with the field names as keys. Raises `SchemaError` for anything else."""
        if isinstance(value, State):
            return value
        if not isinstance(value, Mapping):
            raise SchemaError(f"state {name!r}: expected a State or a mapping, got {type(value).__name__}")
        unknown = set(value) - {"auto", "multi", *RELATIONS, "tags"}
        if unknown:
            raise SchemaError(
                f"state {name!r}: unknown keys {sorted(map(str, unknown))}; "
                "known are auto, multi, require, add, remove, after, tags"
            )
        lists = {key: _texts(value[key], name, key) for key in (*RELATIONS, "tags") if value.get(key) is not None}
        return cls(auto=bool(value.get("auto")), multi=bool(value.get("multi")), **lists)

    def extend(self, overlay: State) -> State:
        """Union: flags are only turned on, relation lists grow (own names first). Tags stay."""
        lists = {
            key: _unique((*(getattr(self, key) or ()), *getattr(overlay, key)))
            for key in RELATIONS
            if getattr(overlay, key) is not None
        }
        return replace(self, auto=self.auto or overlay.auto, multi=self.multi or overlay.multi, **lists)

    def override(self, overlay: State, *, auto: bool | None = None, multi: bool | None = None) -> State:
        """Relations given by `overlay` replace the own ones (an empty list clears). Tags stay."""
        lists = {key: getattr(overlay, key) for key in RELATIONS if getattr(overlay, key) is not None}
        return replace(
            self, auto=self.auto if auto is None else auto, multi=self.multi if multi is None else multi, **lists
        )

    def related(self) -> tuple[str, ...]:
        """All names in Add, After, Require and Remove, in this order."""
        return (*(self.add or ()), *(self.after or ()), *(self.require or ()), *(self.remove or ()))

    def to_dict(self) -> dict[str, Any]:
        """The fields that are set, as plain lists and bools."""
        found: dict[str, Any] = {key: True for key in ("auto", "multi") if getattr(self, key)}
        found.update({key: list(getattr(self, key)) for key in (*RELATIONS, "tags") if getattr(self, key)})
        return found


class Schema(Mapping[str, State]):
    """An immutable, ordered mapping from state names to states."""

    def __init__(self, states: Mapping[str, State | Mapping[str, Any]] = {}) -> None:
        self._states = {_name(name): State.parse(value, name) for name, value in states.items()}

    def __getitem__(self, name: str) -> State:
        return self._states[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._states)

    def __len__(self) -> int:
        return len(self._states)

    def __repr__(self) -> str:
        return f"Schema({', '.join(self._states)})"

    @cached_property
    def names(self) -> tuple[str, ...]:
        """State names in their declared order; the position is the state's index everywhere."""
        return tuple(self._states)

    @cached_property
    def index(self) -> Mapping[str, int]:
        """The index of each state. Shared: not to be changed."""
        return {name: i for i, name in enumerate(self.names)}

    @cached_property
    def hash(self) -> str:
        """First 16 hex digits of SHA-256 over the canonical form: equal on both ends means the same names and rules."""
        return sha256(self.canonical.encode()).hexdigest()[:16]

    @property
    def canonical(self) -> str:
        """What is hashed: names and definitions in their order, as JSON. For other languages: docs/protocol.md."""
        return json.dumps([[name, self[name].to_dict()] for name in self], separators=(",", ":"), sort_keys=True)

    def merge(self, *others: Mapping[str, State]) -> Schema:
        """Right-most definition of a name wins as a whole; relations are never merged."""
        merged = dict(self._states)
        for other in others:
            merged.update(other)
        return Schema(merged)

    def prefixed(self, prefix: str, names: Iterable[str] | None = None, *, once: bool = False) -> Schema:
        """A copy with `prefix` put before each state name and each relation target.

        With `names` only these states are kept. With `once` a name that already has the prefix stays as it is. Targets
        outside of the copied set are left alone, so a state may refer to states of the machine it is merged into.
        """
        kept = set(self if names is None else names)

        def rename(name: str) -> str:
            return name if name not in kept or (once and name.startswith(prefix)) else prefix + name

        def renamed(found: State) -> State:
            lists: dict[str, Any] = {
                key: tuple(map(rename, names)) for key in RELATIONS if (names := getattr(found, key)) is not None
            }
            return replace(found, **lists)

        return Schema({rename(name): renamed(found) for name, found in self.items() if name in kept})

    def ordered(self, names: Iterable[str]) -> Schema:
        """The same states in another order. Raises `SchemaError` if the names are not exactly these states."""
        names = tuple(names)
        missing, extra = [n for n in self if n not in set(names)], [n for n in names if n not in self]
        if missing or extra or len(set(names)) != len(names):
            raise SchemaError(f"the order must name each state once; missing: {missing}, not in the schema: {extra}")
        return Schema({name: self[name] for name in names})

    def relations_of(self, name: str) -> tuple[str, ...]:
        """Kinds of relations that a state has, in the order add, require, remove, after. KeyError if unknown."""
        found = self[name]
        return tuple(key for key in ("add", "require", "remove", "after") if getattr(found, key) is not None)

    def relations_between(self, name: str, other: str) -> tuple[str, ...]:
        """Kinds of relations from one state to another. KeyError if either is unknown."""
        found, _ = self[name], self[other]
        return tuple(key for key in self.relations_of(name) if other in getattr(found, key))

    def inbound_relations_of(self, name: str) -> tuple[str, ...]:
        """States with a relation to this one, each once. KeyError if it is unknown."""
        self[name]
        return tuple(other for other in self if other != name and name in self[other].related())

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Plain data for JSON and the wire, in order."""
        return {name: found.to_dict() for name, found in self.items()}


class state:  # noqa: N801 (reads as a keyword in class bodies)
    """Declares one state in the body of a `StatesDef`. Relations take members, names, groups or iterables of them."""

    def __init__(
        self,
        *,
        auto: bool = False,
        multi: bool = False,
        require: Names = None,
        add: Names = None,
        remove: Names = None,
        after: Names = None,
        tags: Iterable[str] | None = None,
    ) -> None:
        self.name = ""
        self.auto, self.multi = auto, multi
        self.relations: dict[str, Names] = {"require": require, "add": add, "remove": remove, "after": after}
        self.tags = None if tags is None else tuple(tags)

    @classmethod
    def extending(
        cls,
        found: State,
        *,
        auto: bool = False,
        multi: bool = False,
        require: Names = None,
        add: Names = None,
        remove: Names = None,
        after: Names = None,
    ) -> state:
        """Declares a state of a base class again, with more. Flags are only turned on, relations only grow.

        ``Ready = am.state.extending(Basic.schema["Ready"], require=Online)``
        """
        more = {"require": require, "add": add, "remove": remove, "after": after}
        lists: dict[str, Any] = {
            key: (getattr(found, key) or (), names) if names is not None else getattr(found, key)
            for key, names in more.items()
        }
        return cls(auto=found.auto or auto, multi=found.multi or multi, tags=found.tags, **lists)

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = self.name or sys.intern(name)

    if TYPE_CHECKING:

        @overload
        def __get__(self, obj: None, owner: type[T]) -> T: ...
        @overload
        def __get__(self, obj: object, owner: type[T]) -> T: ...
        def __get__(self, obj: Any, owner: type[T]) -> T: ...


class group:  # noqa: N801
    """Declares a named list of states; `machine.switch(Download.Flow)` tells which one is active."""

    def __init__(self, *members: Names) -> None:
        self.members = members

    if TYPE_CHECKING:

        @overload
        def __get__(self, obj: None, owner: type[T]) -> tuple[T, ...]: ...
        @overload
        def __get__(self, obj: object, owner: type[T]) -> tuple[T, ...]: ...
        def __get__(self, obj: Any, owner: type[T]) -> tuple[T, ...]: ...


Names = str | state | group | Iterable["str | state | group"] | None
"""What a relation accepts."""


class StatesMeta(type):
    """Turns the declarations of a class body into names, a schema and groups."""

    _states: dict[str, State]
    _order: tuple[str, ...]
    _groups: dict[str, tuple[str, ...]]
    _all_groups: Mapping[str, tuple[str, ...]]

    def __new__(mcs, cls_name: str, bases: tuple[type, ...], body: dict[str, Any]) -> StatesMeta:
        for name, found in body.items():
            if found is state or found is group:
                raise SchemaError(f"{cls_name}.{name} = {found.__name__}: write {found.__name__}(), with parentheses")
        cls = super().__new__(mcs, cls_name, bases, body)
        declared = {name: found for name, found in body.items() if isinstance(found, state)}
        own = {name: _declared(found) for name, found in declared.items()}
        parents = [base for base in cls.__mro__[1:] if isinstance(base, StatesMeta)]
        order = [EXCEPTION]
        for base in cls.__bases__:
            order += getattr(base, "_order", ())
        cls._order = _unique((*order, *own))
        # Python's own rule decides which definition of a name counts: the first one along the method resolution order.
        cls._states = {}
        for source in (own, *(parent.__dict__["_own"] for parent in parents)):
            for name, found in source.items():
                cls._states.setdefault(name, found)
        cls._own = own  # type: ignore[attr-defined]
        cls._groups = {name: members for parent in reversed(parents) for name, members in parent._groups.items()}
        for name, found in body.items():
            if isinstance(found, group):
                cls._groups[name] = _flat(found.members) or ()
                setattr(cls, name, cls._groups[name])
        for name in own:
            setattr(cls, name, sys.intern(name))
        return cls

    @property
    def names(cls) -> tuple[str, ...]:
        """All names: `Exception`, then each base's in turn, then the own ones in their declared order."""
        return cls._order

    @property
    def schema(cls) -> Schema:
        """The schema, made once for a class."""
        found = cls.__dict__.get("_schema")
        if found is None:
            found = Schema({name: cls._states[name] for name in cls._order})
            cls._schema = found
        return found

    @property
    def groups(cls) -> Mapping[str, tuple[str, ...]]:
        """Groups by name, inherited ones included; `self` holds the states declared by the class itself."""
        found = cls.__dict__.get("_all_groups")
        if found is None:
            found = MappingProxyType({"self": tuple(cls.__dict__["_own"]), **cls._groups})
            cls._all_groups = found
        return found


def _declared(found: state) -> State:
    return State(
        auto=found.auto,
        multi=found.multi,
        tags=found.tags,
        **{key: None if names is None else _flat(names) for key, names in found.relations.items()},
    )


def _flat(names: Names | tuple[Names, ...]) -> tuple[str, ...]:
    if names is None:
        return ()
    if isinstance(names, str):
        return (sys.intern(names),)
    if isinstance(names, state):
        return (names.name,)
    if isinstance(names, group):
        return _flat(names.members)
    return _unique(found for part in names for found in _flat(part))


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise SchemaError(f"state names are non-empty texts, got {name!r}")
    return sys.intern(str(name))


def _texts(value: object, name: str, key: str) -> tuple[str, ...]:
    if isinstance(value, str):
        return (sys.intern(value),)
    names = list(value) if isinstance(value, Iterable) else []
    if not isinstance(value, Iterable) or not all(isinstance(item, str) for item in names):
        raise SchemaError(f"state {name!r}: {key} must be a list of names, got {value!r}")
    return tuple([sys.intern(item) for item in names])


if TYPE_CHECKING:
    # Seen by a type checker, a member is an instance of its class and a text, as in a `StrEnum`.
    class _Text(str):
        __slots__ = ()
else:
    _Text = object


class StatesDef(_Text, metaclass=StatesMeta):
    """Base of classes that define states. Inherit from several to mix them; redeclare a state to override it whole."""

    Exception = state(multi=True)
