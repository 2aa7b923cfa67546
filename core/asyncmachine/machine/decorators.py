"""Decorators: the typed way to say what a function handles, and how its task lives.

A name such as `DownloadingState` says it by convention. A decorator says it by reference, so that an editor finds the
uses of a state, a rename keeps handlers, and a misspelt name is a type error::

    class Handlers:
        @on.enter(Download.Downloading)
        def may_begin(self, e: am.Event) -> bool: ...

        @on.state(Download.Downloading)
        async def fetch(self, e: am.Event) -> None: ...

        @on.state(Download.Clicked)
        @am.pool(3, overflow="wait")
        @am.scoped(Download.Start)
        async def handle_click(self, e: am.Event) -> None: ...

A decorated function is known by its decorators alone, whatever its name. `machine.on` binds a function at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from asyncmachine.machine.pool import Limit, Overflow

if TYPE_CHECKING:
    from asyncmachine.machine.view import View

F = TypeVar("F", bound=Callable[..., Any])
N = TypeVar("N", bound=str, contravariant=True)  # noqa: PLC0105 (as in `view`)

_ATTRIBUTE: Final = "__am_marks__"


class Handled(NamedTuple):
    """One thing that a function handles: a kind of handler (as in `handlers.Slot`) and the states it is about."""

    kind: str
    states: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Marks:
    """What decorators have said about a function. `bound` if `machine.on` has bound it already."""

    handles: tuple[Handled, ...] = ()
    scope: str = ""
    limit: Limit | None = None
    bound: bool = False


NO_MARKS: Final = Marks()


def marks_of(function: object) -> Marks:
    """What decorators have said about a function or a bound method."""
    found = getattr(function, _ATTRIBUTE, NO_MARKS)
    return found if isinstance(found, Marks) else NO_MARKS


class On(Generic[N]):
    """Decorators by kind of handler. Those that take states may be given several: the function handles each.

    `am.on` marks methods, to be bound with their object; `machine.on` also binds the function, under its name as id.
    """

    __slots__ = ("_machine",)

    def __init__(self, machine: View[N] | None = None) -> None:
        self._machine = machine

    def enter(self, *states: N) -> Callable[[F], F]:
        """Negotiation: one of the states is about to activate."""
        return self._each("Enter", states)

    def exit(self, *states: N) -> Callable[[F], F]:
        """Negotiation: one of the states is about to deactivate."""
        return self._each("Exit", states)

    def pair(self, before: N, after: N) -> Callable[[F], F]:
        """Negotiation: `before` is active, `after` is going to be. The same state twice: it stays active."""
        return self._mark((Handled("Pair", (before, after)),))

    def any_enter(self, function: F) -> F:
        """Negotiation: any transition, last."""
        return self._mark((Handled("AnyEnter"),))(function)

    def state(self, *states: N) -> Callable[[F], F]:
        """Final: one of the states has activated, or was called again."""
        return self._each("State", states)

    def end(self, *states: N) -> Callable[[F], F]:
        """Final: one of the states has deactivated."""
        return self._each("End", states)

    def any_state(self, function: F) -> F:
        """Final: any accepted transition, last."""
        return self._mark((Handled("AnyState"),))(function)

    def _each(self, kind: str, states: tuple[str, ...]) -> Callable[[F], F]:
        if not states:
            raise TypeError(f"on.{kind.lower()} needs the state that the function handles")
        return self._mark(tuple(Handled(kind, (name,)) for name in states))

    def _mark(self, handles: tuple[Handled, ...]) -> Callable[[F], F]:
        machine = self._machine

        def mark(function: F) -> F:
            marks = marks_of(function)
            if machine is None:
                return _marked(function, replace(marks, handles=(*marks.handles, *handles)))
            machine.bind(_marked(function, replace(marks, handles=handles)), id=function.__name__)
            return _marked(function, replace(marks, handles=(), bound=True))

        return mark


on: Final = On[str]()


def pool(size: int, *, overflow: Overflow = "drop") -> Callable[[F], F]:
    """At most `size` tasks of this coroutine handler run at once; further calls are dropped, or wait their turn.

    The same decorator object on several handlers limits them together.
    """
    limit = Limit(size, overflow)
    return lambda function: _marked(function, replace(_unbound(function), limit=limit))


def scoped(state: str) -> Callable[[F], F]:
    """The task of this coroutine handler lives as long as `state` is active, and is not started if it is not.

    Without it the task of `FooState` lives as long as Foo, any other one (and those of Multi states) as long as the
    machine.
    """
    return lambda function: _marked(function, replace(_unbound(function), scope=state))


def _unbound(function: Callable[..., Any]) -> Marks:
    marks = marks_of(function)
    if marks.bound:
        raise TypeError(f"{function.__name__} is bound already: put this decorator below that of the machine")
    return marks


def _marked(function: F, marks: Marks) -> F:
    setattr(function, _ATTRIBUTE, marks)
    return function
