"""Tracers: the observers of a machine. Recording, mirroring and debugging are built on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from asyncmachine.machine.args import ErrorArgs

if TYPE_CHECKING:
    from asyncmachine.machine.mutation import Mutation
    from asyncmachine.machine.plan import Plan
    from asyncmachine.machine.schema import Schema
    from asyncmachine.machine.transition import Transition
    from asyncmachine.machine.view import View


class Tracer:
    """Does nothing; override what is of interest.

    Hooks run on the draining thread, in the order the tracers were bound, and must not block. A hook that raises is
    reported as an error of the machine; the transition goes on. What a tracer overrides is looked at when it is bound.
    """

    id: str = ""

    def machine_init(self, machine: View[Any]) -> None:
        """The machine is complete. Only for tracers given to its constructor."""

    def new_submachine(self, parent: View[Any], machine: View[Any]) -> None:
        """A machine was made with `parent`; called on the parent's tracers."""

    def schema_change(self, machine: View[Any], old: Schema) -> None:
        """The schema was replaced."""

    def mutation_queued(self, machine: View[Any], mutation: Mutation) -> None:
        """A mutation was accepted into the queue (auto ones and dry runs too)."""

    def transition_init(self, tx: Transition) -> None:
        """Relations are resolved; `tx.accepted` tells whether they let it through."""

    def transition_start(self, tx: Transition) -> None:
        """Before negotiation."""

    def transition_finals(self, tx: Transition) -> None:
        """Ticks have changed, final handlers come next. Not for dry runs and canceled ones."""

    def transition_end(self, tx: Transition) -> None:
        """The transition is over, canceled or not; waits are resolved after this."""

    def transition_plain(self, machine: View[Any], plan: Plan, auto: Plan | None, queue_tick: int) -> None:
        """A transition is over in which relations alone had a part: no handler, argument or source.

        `plan` tells all of it, and `auto` all of the auto transition that came of it, None if none did.

        Comes in the place of all other hooks of that transition, which is then never made an object, and costs a
        fraction; but only while every tracer of the machine overrides this, and the log is off.
        """

    def handler_start(self, tx: Transition, binding: str, name: str) -> None:
        """A handler is about to run."""

    def handler_end(self, tx: Transition, binding: str, name: str) -> None:
        """A handler has returned, or raised."""

    def queue_end(self, machine: View[Any]) -> None:
        """The queue is empty, the drain is over."""

    def machine_restore(self, machine: View[Any]) -> None:
        """The machine's time was replaced by an exported one."""

    def machine_dispose(self, machine_id: str) -> None:
        """The machine is being disposed."""


class ChangeTracer(Tracer):
    """Calls a function with the ticks before and after each transition that is no dry run."""

    def __init__(self, callback: Callable[[View[Any], tuple[int, ...], tuple[int, ...]], object]) -> None:
        self._callback = callback

    def transition_end(self, tx: Transition) -> None:
        if not tx.is_check:
            self._callback(tx.machine, tx.before, tx.after)


class ErrorTracer(Tracer):
    """Calls a function with each error that activates `Exception`."""

    def __init__(self, callback: Callable[[View[Any], BaseException], object]) -> None:
        self._callback = callback

    def transition_end(self, tx: Transition) -> None:
        found = tx.args.get(ErrorArgs.key)
        if tx.accepted and not tx.is_check and isinstance(found, ErrorArgs):
            self._callback(tx.machine, found.err)


Hook = Callable[..., object]


@dataclass(frozen=True, slots=True)
class Hooks:
    """What several tracers do for each transition, one tuple a hook; hooks that do nothing are left out."""

    mutation_queued: tuple[Hook, ...] = ()
    transition_init: tuple[Hook, ...] = ()
    transition_start: tuple[Hook, ...] = ()
    transition_finals: tuple[Hook, ...] = ()
    transition_end: tuple[Hook, ...] = ()
    handler_start: tuple[Hook, ...] = ()
    handler_end: tuple[Hook, ...] = ()
    queue_end: tuple[Hook, ...] = ()
    transition_plain: tuple[Hook, ...] = ()


NO_HOOKS = Hooks()
NAMES = tuple(field.name for field in fields(Hooks))


def hooks_of(tracers: Iterable[Tracer]) -> Hooks:
    """What these tracers override, in their order."""
    bound = tuple(tracers)
    if not bound:
        return NO_HOOKS
    found = Hooks(*(tuple(hook for tracer in bound if (hook := _overridden(tracer, name))) for name in NAMES))
    # One that needs a Transition to see makes one for all.
    return found if len(found.transition_plain) == len(bound) else replace(found, transition_plain=())


def hooks_with(hooks: Hooks, tracer: Tracer, others: int) -> Hooks:
    """The hooks of one tracer more, behind those of `others`. A thousand mirrors of one machine trace it."""
    added = hooks_of((tracer,))
    plain = hooks.transition_plain + added.transition_plain
    joined = (getattr(hooks, name) + getattr(added, name) for name in NAMES)
    return replace(Hooks(*joined), transition_plain=plain if len(plain) == others + 1 else ())


def hooks_without(hooks: Hooks, tracer: Tracer, left: Sequence[Tracer]) -> Hooks:
    """The hooks of the tracers that are `left` when this one goes."""
    own = hooks_of((tracer,))
    is_plain = len(hooks.transition_plain) == len(left) + 1  # else it may have been the one that is not
    if not is_plain or any(_owner(hook) is not tracer for name in NAMES for hook in getattr(own, name)):
        return hooks_of(left)
    return Hooks(*(tuple([hook for hook in getattr(hooks, name) if _owner(hook) is not tracer]) for name in NAMES))


def _owner(hook: Hook) -> object:
    return getattr(hook, "__self__", None)


def _overridden(tracer: Tracer, name: str) -> Hook | None:
    found: Hook = getattr(tracer, name)
    return None if getattr(found, "__func__", None) is getattr(Tracer, name) else found
