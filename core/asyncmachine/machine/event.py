"""The event: what a handler receives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from asyncmachine.machine.args import Args, ArgsLike, typed
from asyncmachine.machine.errors import InvalidArgs
from asyncmachine.machine.mutation import Mutation, MutationSource
from asyncmachine.machine.result import Result
from asyncmachine.machine.scope import ENDED, Scope

if TYPE_CHECKING:
    from asyncmachine.machine.transition import Transition

A = TypeVar("A", bound=Args)


class Event:
    """One call of one handler. `name` is the full handler name, `state` the state that the handler is about."""

    __slots__ = ("name", "state", "tx")

    def __init__(self, name: str, state: str, tx: Transition) -> None:
        self.name = name
        self.state = state
        self.tx = tx

    def __repr__(self) -> str:
        return f"<Event {self.name} of {self.machine.id}, {self.tx.mutation!r}>"

    @property
    def machine(self) -> Any:
        """The machine that the handler is bound to."""
        return self.tx.machine

    @property
    def mutation(self) -> Mutation:
        """The mutation that is carried out."""
        return self.tx.mutation

    @property
    def is_check(self) -> bool:
        """True in a dry run: nothing will change, so a negotiation handler must not act on it."""
        return self.tx.is_check

    @property
    def raw_args(self) -> dict[str, Any]:
        """All arguments. The dict is shared by the handlers of one transition."""
        return self.tx.args

    def args(self, kind: type[A]) -> A:
        """The typed record of this class. Raises `InvalidArgs` if the mutation came without it."""
        found = typed(self.tx.args, kind)
        if found is None:
            raise InvalidArgs(f"{self.name} needs {kind.__qualname__} arguments (key {kind.key!r}), none were given")
        return found

    def args_or_none(self, kind: type[A]) -> A | None:
        """The typed record of this class, None if the mutation came without it."""
        return typed(self.tx.args, kind)

    @property
    def source(self) -> MutationSource:
        """The origin that further mutations are traced to."""
        return MutationSource(self.machine.id, self.tx.id, sum(self.tx.before))

    @property
    def scope(self) -> Scope:
        """The scope of the handler's state: in `FooState` it lives as long as this activation of Foo.

        Asked for later it is still that one, ended if Foo has changed since. A global handler gets the machine's life.
        """
        machine, state = self.machine, self.state
        is_global = self.name == state
        if not is_global and self.tx.completed and machine.tick(state) != self.tx.after[machine.index(state)]:
            return ENDED
        scope: Scope = machine._root_scope() if is_global else machine.scope(state)
        return scope

    def is_valid(self) -> bool:
        """True while the transition is neither over nor canceled."""
        return self.tx.accepted and not self.tx.completed

    def add(self, states: str | Iterable[str], args: ArgsLike = None, /, **kw: Any) -> Result:
        """`machine.add`, traced to this event."""
        result: Result = self.machine.add(states, args, e=self, **kw)
        return result

    def remove(self, states: str | Iterable[str], args: ArgsLike = None, /, **kw: Any) -> Result:
        """`machine.remove`, traced to this event."""
        result: Result = self.machine.remove(states, args, e=self, **kw)
        return result
