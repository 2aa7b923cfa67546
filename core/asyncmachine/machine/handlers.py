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
letter; of the others just those are handlers that name a state exactly (``fooState`` of a state ``foo``), and those
that read like one (``on_foo`` of a state ``Foo``) are told in the log. `decorators` says the same by reference.
`binding` does the looking up.

What was found for one object holds for all objects of its class: they share a `Layout`, and a machine has of its own
just those functions that its transitions have asked for so far.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from sys import intern
from types import MethodType
from typing import Any, NamedTuple

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


class Member(NamedTuple):
    """A function of a layout, with what its decorators say about its task."""

    function: Handler
    is_async: bool
    scope: str = ""
    limit: Limit | None = None


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Layout:
    """What handles what, verified. `limits` are those of the tasks, each of which gets a pool in each binding."""

    slots: Mapping[Slot, Member]
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True, slots=True)
class Binding:
    """Handlers bound together. `number` counts the bindings of a machine from 1, also those that are gone.

    Functions of a shared layout are methods of the `owner`.
    """

    id: str
    layout: Layout
    pools: Mapping[Limit, Pool]
    owner: object = None
    prefix: str = ""
    number: int = 0

    def call(self, slot: Slot) -> Call:
        """What is called for one of the layout's slots."""
        function, is_async, scope, limit = self.layout.slots[slot]
        method = function if self.owner is None else MethodType(function, self.owner)
        return Call(self.id, method, is_async, scope, None if limit is None else self.pools[limit])


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
        return intern(names[slot.first] + names[slot.second])
    return intern(names[slot.first] + slot.kind) if slot.first >= 0 else slot.kind


class HandlerTable:
    """The bindings of one machine, arranged by slot."""

    __slots__ = ("_bindings", "_handled", "_last", "_names", "_turns", "known")

    _turns: dict[Slot, Turn] | None

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._last = 0
        self._arrange(())

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids in the order of binding."""
        return tuple([binding.id for binding in self._bindings])

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """The bindings in their order."""
        return self._bindings

    def number(self, id: str) -> int:
        """The number of the first binding with this id, 0 if there is none."""
        return next((binding.number for binding in self._bindings if binding.id == id), 0)

    def add(self, binding: Binding) -> None:
        """Binds after all others."""
        self._last += 1
        self._arrange((*self._bindings, replace(binding, number=self._last)))

    def remove(self, id: str) -> None:
        """Takes the first binding with this id away. Raises `SchemaError` if there is none."""
        found = next((binding for binding in self._bindings if binding.id == id), None)
        if found is None:
            raise SchemaError(f"handlers {id!r} are not bound; bound are {', '.join(self.ids) or 'none'}")
        self._arrange(tuple([binding for binding in self._bindings if binding is not found]))

    def moved(self, names: tuple[str, ...], places: Mapping[int, int]) -> HandlerTable:
        """The same bindings for a schema in which the states have other places."""
        table = HandlerTable(names)
        table._last = self._last
        table._arrange(tuple([replace(binding, layout=moved(binding.layout, places)) for binding in self._bindings]))
        return table

    def renamed(self, names: tuple[str, ...]) -> None:
        """Takes further names; those that there are stay in their places."""
        self._names = names

    def calls(self, plan: Plan) -> Calls:
        """The handlers that a plan calls."""
        # Another thread that binds meanwhile puts a new dict in the place of this one.
        known = self.known
        found = known.get(plan)
        if found is None:
            if len(known) >= CALLS_LIMIT:
                known.clear()
            found = Calls(tuple(self._negotiation(plan)), tuple(self._final(plan)))
            known[plan] = found = found if found.negotiation or found.final else NO_CALLS
        return found

    def turn(self, slot: Slot) -> Turn | None:
        """The handlers of one slot, None if there are none. For callers without plans: it is remembered."""
        # The dict first: as above.
        turns = self._turns
        if turns is None:
            turns = self._turns = {}
        found = turns.get(slot)
        if found is None and slot in self._handled:
            found = turns[slot] = self._made(slot)
        return found

    def _negotiation(self, plan: Plan) -> Iterator[Turn]:
        pairs = any(slot.kind == "Pair" for slot in self._handled)
        return self._asked(negotiation_slots(plan, pairs=pairs))

    def _final(self, plan: Plan) -> Iterator[Turn]:
        return self._asked(final_slots(plan))

    def _asked(self, slots: Iterator[Slot]) -> Iterator[Turn]:
        return (self._made(slot) for slot in slots if slot in self._handled)

    def _made(self, slot: Slot) -> Turn:
        calls = tuple([binding.call(slot) for binding in self._bindings if slot in binding.layout.slots])
        kind = "Self" if slot.first == slot.second >= 0 else slot.kind
        state = slot.second if slot.kind == "Pair" else slot.first
        about = self._names[state] if state >= 0 else slot.kind
        return Turn(slot_name(slot, self._names), kind, state, about, calls)

    def _arrange(self, bindings: tuple[Binding, ...]) -> None:
        self._bindings = bindings
        layouts = [binding.layout.slots for binding in bindings]
        self._handled: Collection[Slot] = layouts[0] if len(layouts) == 1 else frozenset().union(*layouts)
        self._turns = None
        self.known: dict[Plan, Calls] = {}


def moved(layout: Layout, places: Mapping[int, int]) -> Layout:
    """A layout for a schema in which the states have other places."""
    slots = {
        Slot(slot.kind, places.get(slot.first, -1), places.get(slot.second, -1)): member
        for slot, member in layout.slots.items()
    }
    return replace(layout, slots=slots)
