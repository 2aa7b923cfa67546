"""Steps: what a transition looked at and did, one record each, in order.

They answer *why*: which relation pulled a state in, what it required, who blocked it, which handlers were called. They
are recorded while `machine.log.steps` is on (for dry runs `machine.log.can` too).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from asyncmachine.machine.transition import Transition

ANY = "Any"
"""Stands for the state of the global handlers, `AnyEnter` and `AnyState`."""


class StepType(IntEnum):
    """Kinds of steps. One bit each, so that a set of them is a sum."""

    RELATION = 1
    """A relation was consulted."""
    HANDLER = 2
    """A handler was called."""
    ACTIVATE = 4
    """A state is called, or implied by Add, and was not active."""
    DEACTIVATE = 8
    """A state is called for removal, left out by a set, or blocked while active."""
    DEACTIVATE_PASSIVE = 16
    """A state that is not active is blocked, or one misses a requirement."""
    CALLED = 32
    """The mutation names the state."""
    CANCEL = 64
    """A called state is rejected, or this is what it misses."""

    def __str__(self) -> str:
        return "rel" if self is StepType.RELATION else self.name.lower().replace("_", "-")


class Relation(IntEnum):
    """Kinds of relations between two states."""

    AFTER = 0
    ADD = 1
    REQUIRE = 2
    REMOVE = 3

    def __str__(self) -> str:
        return self.name.lower()


class Step(NamedTuple):
    """One step. A step about one state has it in `to_state`; only `Exit` handlers have it in `from_state`.

    `relation` tells which one was consulted; an `after` step goes from the state that comes first. The flags describe a
    handler: *final and enter* is `FooState`, *final* `FooEnd`, *enter* `FooEnter`, none `FooExit`; *self* is `FooFoo`.
    A pair `FooBar` has both states and no flag, the global handlers have `Any` as both.
    """

    type: StepType
    from_state: str = ""
    to_state: str = ""
    relation: Relation | None = None
    is_final: bool = False
    is_self: bool = False
    is_enter: bool = False

    def __str__(self) -> str:
        """``**A** add **B**``, ``called **A**``, ``handler **A**Enter``."""
        if self.relation is not None:
            return f"**{self.from_state}** {self.relation} **{self.to_state}**"
        return f"{self.type} {self._subject()}"

    def _subject(self) -> str:
        state = self.to_state or self.from_state or ANY
        if self.type is not StepType.HANDLER:
            return f"**{state}**"
        if self.is_self:
            return f"**{state}** **{state}**"
        if self.from_state and self.to_state and self.to_state != ANY:
            return f"**{self.from_state}** **{self.to_state}**"
        if self.is_final:
            return f"**{state}**{'State' if self.is_enter else 'End'}"
        return f"**{state}**{'Enter' if self.is_enter else 'Exit'}"


def handler_step(kind: str, state: str, first: str) -> Step:
    """The step of a called handler, from the kind of its slot and its states (`first` of a pair only)."""
    handler = StepType.HANDLER
    match kind:
        case "Exit":
            return Step(handler, from_state=state)
        case "Enter":
            return Step(handler, to_state=state, is_enter=True)
        case "Self":
            return Step(handler, to_state=state, is_self=True)
        case "Pair":
            return Step(handler, first, state)
        case "End" | "State":
            return Step(handler, to_state=state, is_final=True, is_enter=kind == "State")
        case _:
            return Step(handler, ANY, ANY, is_final=kind == "AnyState", is_enter=True)


def touched_states(steps: Iterable[Step]) -> tuple[str, ...]:
    """The states that these steps name, each once, in order."""
    named = (name for step in steps for name in (step.from_state, step.to_state))
    return tuple(dict.fromkeys(name for name in named if name and name != ANY))


def transition_text(tx: Transition) -> str:
    """A transition with its steps, for people: id, mutation, source, and a line each."""
    lines = [f"tx#{tx.id}", repr(tx.mutation)]
    if tx.source is not None:
        source = tx.source
        lines.append(f"source: [{source.tx_id}]({source.machine_id}/{source.tx_id}/t{source.machine_time})")
    return "\n".join([*lines, *(f"- {step}" for step in tx.steps)])
