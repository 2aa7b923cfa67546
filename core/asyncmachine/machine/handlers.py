"""Handlers: which functions are called, and in what order.

A handler is a method whose name says when it runs (`Foo`, `Bar` are states):

=============  ===========  =====================================================
name           phase        when
=============  ===========  =====================================================
``FooExit``    negotiation  Foo is about to deactivate
``FooEnter``   negotiation  Foo is about to activate, or a Multi state is called again
``FooFoo``     negotiation  Foo is active before and after (not on removals)
``FooBar``     negotiation  Foo is active before, Bar will be after
``AnyEnter``   negotiation  every transition, last
``FooEnd``     final        Foo has deactivated
``FooState``   final        Foo has activated, or was called again
``AnyState``   final        every accepted transition, last
=============  ===========  =====================================================

A negotiation handler vetoes by returning False. Names are looked up and verified when handlers are bound, so a misspelt
one is an error there and not a handler that is never called. That goes for methods whose names begin with a capital
letter; of the others just those are handlers that name a state exactly (``fooState`` of a state ``foo``). `decorators`
says the same by reference.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from asyncmachine.machine.decorators import Handled, marks_of
from asyncmachine.machine.errors import SchemaError, nearest
from asyncmachine.machine.plan import Plan
from asyncmachine.machine.pool import Limit, Pool
from asyncmachine.machine.relations import REMOVE

Handler = Callable[..., Any]
HandlerMap = Mapping[str, Handler]

ANY_ENTER, ANY_STATE = "AnyEnter", "AnyState"
NEGOTIATION, FINAL = ("Exit", "Enter"), ("End", "State")
CALLS_LIMIT = 20_000
"""Call lists remembered for one machine."""


class Slot(NamedTuple):
    """Where a handler name points: a kind (suffix, `Pair`, or the global name) and the indexes of one or two states."""

    kind: str
    first: int = -1
    second: int = -1


@dataclass(frozen=True, slots=True)
class Call:
    """One bound function.

    Of a coroutine function, `scope` is the state whose activation its task lives in (empty: by the rule of its kind),
    `pool` what limits the number of its tasks.
    """

    binding: str
    function: Handler
    is_async: bool
    scope: str = ""
    pool: Pool | None = None


class Turn(NamedTuple):
    """All functions bound to one handler name, called one after another.

    `kind` is that of the slot, or `Self` for a pair of one state; `state` the index that a veto or a failure is about,
    `about` its name (of a global handler: the handler's own).
    """

    name: str
    kind: str
    state: int
    about: str
    calls: tuple[Call, ...]


class Calls(NamedTuple):
    """The handlers of one plan, in order."""

    negotiation: tuple[Turn, ...]
    final: tuple[Turn, ...]


NO_CALLS = Calls((), ())


@dataclass(frozen=True, slots=True)
class Binding:
    """Handlers bound together. `number` counts the bindings of a machine from 1, also those that are gone."""

    id: str
    slots: dict[Slot, Call]
    prefix: str = ""
    number: int = 0


def slots_of(index: Mapping[str, int], name: str) -> list[Slot]:
    """All meanings of a handler name in a schema: none if it is not one, several if state names make it ambiguous."""
    if name in (ANY_ENTER, ANY_STATE):
        return [Slot(name)]
    found = [
        Slot(suffix, index[name[: -len(suffix)]])
        for suffix in (*NEGOTIATION, *FINAL)
        if name.endswith(suffix) and name[: -len(suffix)] in index
    ]
    found += [
        Slot("Pair", index[name[:at]], index[name[at:]])
        for at in range(1, len(name))
        if name[:at] in index and name[at:] in index
    ]
    return found


def slot_of(index: Mapping[str, int], name: str) -> Slot:
    """The meaning of a handler name. Raises `SchemaError` if there is none, or more than one."""
    found = slots_of(index, name)
    if len(found) == 1:
        return found[0]
    if found:
        names = list(index)
        meanings = " and ".join(f"{s.kind} of {'/'.join(names[i] for i in s[1:] if i >= 0)}" for s in found)
        raise SchemaError(f"handler {name} is ambiguous: it can be {meanings}; rename one of the states")
    legal = [state + suffix for state in index for suffix in (*NEGOTIATION, *FINAL)] + [ANY_ENTER, ANY_STATE]
    hint = nearest(name, legal)
    cure = f"did you mean {hint}?" if hint else "begin its name with a lower-case letter if it is not a handler"
    raise SchemaError(f"{name} looks like a handler, but the schema has no state for it; {cure}")


def negotiation_slots(plan: Plan, *, pairs: bool = True) -> Iterator[Slot]:
    """Where a plan looks for negotiation handlers, in order; `pairs` of two states are many."""
    for kind, states in (("Exit", plan.exits), ("Enter", plan.enters)):
        for i in states:
            yield Slot(kind, i)
    before = plan.start
    if plan.kind != REMOVE:
        for i in plan.target:
            if before.mask >> i & 1:
                yield Slot("Pair", i, i)
    if pairs:
        for i in before.active:
            for j in plan.target:
                if i != j:
                    yield Slot("Pair", i, j)
    yield Slot(ANY_ENTER)


def final_slots(plan: Plan) -> Iterator[Slot]:
    """Where a plan looks for final handlers, in order."""
    for kind, states in (("End", plan.exits), ("State", plan.enters)):
        for i in states:
            yield Slot(kind, i)
    yield Slot(ANY_STATE)


def slot_name(slot: Slot, names: tuple[str, ...]) -> str:
    """The name of the handlers in a slot."""
    if slot.kind == "Pair":
        return names[slot.first] + names[slot.second]
    return names[slot.first] + slot.kind if slot.first >= 0 else slot.kind


def bound(
    index: Mapping[str, int], handlers: object, *, id: str, prefix: str = "", kinds: Collection[str] | None = None
) -> Binding:
    """Finds and verifies the handlers of an object or a dict.

    With a `prefix` the method `FooState` handles the state `<prefix>Foo`. `kinds` restricts what may be bound (a
    network machine has final handlers only). Raises `SchemaError` for a method that looks like a handler and is none.
    """
    slots: dict[Slot, Call] = {}
    names: dict[Slot, str] = {}
    pools: dict[Limit, Pool] = {}
    for name, function, handled in _candidates(handlers, index, prefix):
        for slot in _slots(index, name, handled, prefix):
            if kinds is not None and slot.kind not in kinds:
                raise SchemaError(f"{name} cannot be bound here: only {', '.join(sorted(kinds))} handlers are called")
            if slot in slots:
                raise SchemaError(
                    f"{names[slot]} and {name} handle the same; call one from the other, or bind them as two objects"
                )
            slots[slot] = _call(name, function, slot, id, _own_scope(index, name, function, prefix), pools)
            names[slot] = name
    return Binding(id, slots, prefix)


def clean_id(id: str) -> str:
    """A binding id without characters outside of ``[A-Za-z0-9-_.]``."""
    return re.sub(r"[^A-Za-z0-9_.-]", "", id)


class HandlerTable:
    """The bindings of one machine, arranged by slot."""

    __slots__ = ("_bindings", "_index", "_last", "_names", "_slots", "known")

    def __init__(self, names: tuple[str, ...], index: Mapping[str, int]) -> None:
        self._names = names
        self._index = index
        self._bindings: list[Binding] = []
        self._last = 0
        self._slots: dict[Slot, tuple[Call, ...]] = {}
        self.known: dict[Plan, Calls] = {}

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids in the order of binding."""
        return tuple(binding.id for binding in self._bindings)

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """The bindings in their order."""
        return tuple(self._bindings)

    def number(self, id: str) -> int:
        """The number of the first binding with this id, 0 if there is none."""
        return next((binding.number for binding in self._bindings if binding.id == id), 0)

    def add(self, binding: Binding) -> None:
        """Binds after all others."""
        self._last += 1
        self._bindings.append(replace(binding, number=self._last))
        self._rebuild()

    def remove(self, id: str) -> None:
        """Takes the first binding with this id away. Raises `SchemaError` if there is none."""
        found = next((binding for binding in self._bindings if binding.id == id), None)
        if found is None:
            raise SchemaError(f"handlers {id!r} are not bound; bound are {', '.join(self.ids) or 'none'}")
        self._bindings.remove(found)
        self._rebuild()

    def moved(self, names: tuple[str, ...], index: Mapping[str, int], places: Mapping[int, int]) -> HandlerTable:
        """The same bindings for a schema in which the states have other places."""
        table = HandlerTable(names, index)
        for binding in self._bindings:
            slots = {
                Slot(slot.kind, places.get(slot.first, -1), places.get(slot.second, -1)): call
                for slot, call in binding.slots.items()
            }
            table._bindings.append(replace(binding, slots=slots))
        table._last = self._last
        table._rebuild()
        return table

    def calls(self, plan: Plan) -> Calls:
        """The handlers that a plan calls."""
        # Another thread that binds meanwhile puts a new dict in the place of this one.
        known = self.known
        found = known.get(plan)
        if found is None:
            if len(known) >= CALLS_LIMIT:
                known.clear()
            found = known[plan] = Calls(tuple(self._negotiation(plan)), tuple(self._final(plan)))
        return found

    def _negotiation(self, plan: Plan) -> Iterator[Turn]:
        pairs = any(slot.kind == "Pair" for slot in self._slots)
        for slot in negotiation_slots(plan, pairs=pairs):
            yield from self._turn(slot)

    def _final(self, plan: Plan) -> Iterator[Turn]:
        for slot in final_slots(plan):
            yield from self._turn(slot)

    def _turn(self, slot: Slot) -> Iterator[Turn]:
        calls = self._slots.get(slot)
        if calls:
            kind = "Self" if slot.first == slot.second >= 0 else slot.kind
            state = slot.second if slot.kind == "Pair" else slot.first
            yield Turn(
                slot_name(slot, self._names), kind, state, self._names[state] if state >= 0 else slot.kind, calls
            )

    def _rebuild(self) -> None:
        slots: dict[Slot, tuple[Call, ...]] = {}
        for binding in self._bindings:
            for slot, call in binding.slots.items():
                slots[slot] = (*slots.get(slot, ()), call)
        self._slots = slots
        self.known = {}


def _candidates(
    handlers: object, index: Mapping[str, int], prefix: str
) -> Iterator[tuple[str, Handler, tuple[Handled, ...]]]:
    """Decorated functions with what they handle, and public callables that are named like handlers."""
    if isinstance(handlers, Mapping):
        for name, function in handlers.items():
            yield name, function, ()
        return
    if isinstance(handlers, type):
        raise SchemaError(f"bind an instance of {handlers.__qualname__}, not the class")
    if marks_of(handlers).handles and callable(handlers):
        yield getattr(handlers, "__name__", repr(handlers)), handlers, marks_of(handlers).handles
        return
    if handlers is None or inspect.isroutine(handlers):
        name = getattr(handlers, "__name__", "None")
        raise SchemaError(
            f"{name} is no object with handlers: bind one function with `machine.on` or as `{{'FooState': function}}`"
        )
    for name in dir(handlers):
        # Asked of the class, so that properties are not computed.
        handled = marks_of(getattr(type(handlers), name, None)).handles
        if handled or name[0].isupper() or _names_state(index, prefix + name):
            found = getattr(handlers, name)
            if callable(found) and not isinstance(found, type):
                yield name, found, handled


def _names_state(index: Mapping[str, int], name: str) -> bool:
    """True for a state's name with the suffix of a handler. Pairs are left out: `reset` may mean something else."""
    return any(name.endswith(suffix) and name[: -len(suffix)] in index for suffix in (*NEGOTIATION, *FINAL))


def _slots(index: Mapping[str, int], name: str, handled: tuple[Handled, ...], prefix: str) -> list[Slot]:
    """What a function handles: by its decorators if it has some, else by its name. A prefix leaves global ones out."""
    if not handled:
        is_global = name in (ANY_ENTER, ANY_STATE)
        return [] if prefix and is_global else [slot_of(index, _prefixed(prefix, name, index))]
    return [
        Slot(kind, *(_state(index, name, prefix + state) for state in states))
        for kind, states in handled
        if states or not prefix
    ]


def _state(index: Mapping[str, int], name: str, state: str) -> int:
    """The index of a state that the decorator of a handler names."""
    if state not in index:
        hint = nearest(state, index)
        cure = f"did you mean {hint!r}?" if hint else "the schema has no such state"
        raise SchemaError(f"handler {name} is declared for unknown state {state!r}; {cure}")
    return index[state]


def _own_scope(index: Mapping[str, int], name: str, function: Handler, prefix: str) -> str:
    """The state that a task is scoped to, prefixed like those that are handled if there is such a state."""
    scope = marks_of(function).scope
    if not scope:
        return ""
    if prefix + scope in index:
        return prefix + scope
    _state(index, name, scope)
    return scope


def _prefixed(prefix: str, name: str, index: Mapping[str, int]) -> str:
    """`FooState` under a prefix is the state's `<prefix>FooState`; a pair gets the prefix on both names."""
    if not prefix:
        return name
    own = {state.removeprefix(prefix): i for state, i in index.items() if state.startswith(prefix)}
    pair = next((s for s in slots_of(own, name) if s.kind == "Pair"), None)
    if pair is None:
        return prefix + name
    names = list(index)
    return names[pair.first] + names[pair.second]


def _call(name: str, function: Handler, slot: Slot, binding: str, scope: str, pools: dict[Limit, Pool]) -> Call:
    if not callable(function):
        raise SchemaError(f"handler {name} is not callable")
    try:
        inspect.signature(function).bind(object())
    except TypeError as error:
        raise SchemaError(f"handler {name} must take one argument, the event: {error}") from None
    except ValueError:
        pass  # a builtin without a signature
    is_async = inspect.iscoroutinefunction(function)
    if is_async and slot.kind not in (*FINAL, ANY_STATE):
        raise SchemaError(f"{name} decides about a transition and must be a plain `def`, not `async def`")
    limit = marks_of(function).limit
    if (scope or limit) and not is_async:
        raise SchemaError(f"{name} is a plain `def`: pools and scopes are for the tasks of `async def` handlers")
    return Call(binding, function, is_async, scope, pools.setdefault(limit, Pool(limit)) if limit else None)
