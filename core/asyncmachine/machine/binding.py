"""Binding: finds the handlers of an object or a dict, and verifies them.

Looking at signatures takes long and its result is the same for all objects of a class. So layouts are remembered for as
long as some machine uses them, under all that they depend on: the states, and the functions themselves.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterator, Mapping
from types import MethodType
from typing import Any, Final
from weakref import WeakValueDictionary

from asyncmachine.machine.decorators import NO_MARKS, Handled, marks_of
from asyncmachine.machine.errors import SchemaError, nearest
from asyncmachine.machine.handlers import (
    ANY_ENTER,
    ANY_STATE,
    FINAL,
    NEGOTIATION,
    Binding,
    Handler,
    Layout,
    Member,
    Slot,
    slot_of,
    slots_of,
)
from asyncmachine.machine.lookalikes import warn_of_lookalikes
from asyncmachine.machine.pool import Limit, Pool

Candidate = tuple[str, Handler, tuple[Handled, ...]]
"""A name, a function, and what its decorators say that it handles."""

_layouts: Final[WeakValueDictionary[Any, Layout]] = WeakValueDictionary()
_NO_POOLS: Final[Mapping[Limit, Pool]] = {}


def bound(
    index: Mapping[str, int], handlers: object, *, id: str, prefix: str = "", kinds: Collection[str] | None = None
) -> Binding:
    """Finds and verifies the handlers of an object or a dict.

    With a `prefix` the method `FooState` handles the state `<prefix>Foo`. `kinds` restricts what may be bound (a
    network machine has final handlers only). Raises `SchemaError` for a method that looks like a handler and is none,
    and logs a warning for one that is spelt in another way (`lookalikes`).
    """
    found = list(_candidates(handlers, index, prefix))
    methods = [f for _, f, _ in found if isinstance(f, MethodType) and f.__self__ is handlers]
    shared = len(methods) == len(found) > 0
    if shared:
        key = (
            type(handlers),
            tuple(index),
            prefix,
            kinds and tuple(kinds),
            tuple([_key(*candidate) for candidate in found]),
        )
        layout = _layouts.get(key)
        if layout is None:
            layout = _layouts[key] = _layout(found, index, prefix, kinds, shared=True)
            _look_around(handlers, found, index, prefix)
    else:
        layout = _layout(found, index, prefix, kinds, shared=False)
        _look_around(handlers, found, index, prefix)
    pools = {limit: Pool(limit) for limit in layout.limits} if layout.limits else _NO_POOLS
    return Binding(id, layout, pools, handlers if shared else None, prefix)


def _look_around(handlers: object, found: list[Candidate], index: Mapping[str, int], prefix: str) -> None:
    """Of what is no handler, reports what looks like one."""
    if not isinstance(handlers, Mapping) and not inspect.isroutine(handlers):
        own = [state.removeprefix(prefix) for state in index if state.startswith(prefix)]
        warn_of_lookalikes(type(handlers), own, {name for name, _, _ in found})


def clean_id(id: str) -> str:
    """A binding id without characters outside of ``[A-Za-z0-9-_.]``."""
    return re.sub(r"[^A-Za-z0-9_.-]", "", id)


def _key(name: str, function: Handler, handled: tuple[Handled, ...]) -> tuple[Any, ...]:
    """What the place of a method in a layout depends on."""
    plain, marks = _plain(function), marks_of(function)
    return (name, plain) if marks is NO_MARKS else (name, plain, marks, handled)


def _plain(method: Any) -> Handler:
    """The function of a method."""
    function: Handler = method.__func__
    return function


def _layout(
    found: list[Candidate], index: Mapping[str, int], prefix: str, kinds: Collection[str] | None, *, shared: bool
) -> Layout:
    """Arranges functions by slot; of methods that are `shared` without their object."""
    slots: dict[Slot, Member] = {}
    names: dict[Slot, str] = {}
    for name, function, handled in found:
        for slot in _slots(index, name, handled, prefix):
            if kinds is not None and slot.kind not in kinds:
                raise SchemaError(f"{name} cannot be bound here: only {', '.join(sorted(kinds))} handlers are called")
            if slot in slots:
                raise SchemaError(
                    f"{names[slot]} and {name} handle the same; call one from the other, or bind them as two objects"
                )
            member = _member(name, function, slot, _own_scope(index, name, function, prefix))
            slots[slot] = member._replace(function=_plain(function)) if shared else member
            names[slot] = name
    return Layout(slots, tuple({member.limit: None for member in slots.values() if member.limit}))


def _candidates(handlers: object, index: Mapping[str, int], prefix: str) -> Iterator[Candidate]:
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


def _member(name: str, function: Handler, slot: Slot, scope: str) -> Member:
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
    return Member(function, is_async, scope, limit)
