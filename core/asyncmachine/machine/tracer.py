"""Tracers: the observers of a machine. Recording, mirroring and debugging are built on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncmachine.machine.mutation import Mutation
    from asyncmachine.machine.schema import Schema
    from asyncmachine.machine.transition import Transition
    from asyncmachine.machine.view import View


class Tracer:
    """Does nothing; override what is of interest.

    Hooks run on the draining thread, in the order the tracers were bound, and must not block. A hook that raises is
    reported as an error of the machine; the transition goes on.
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

    def handler_start(self, tx: Transition, binding: str, name: str) -> None:
        """A handler is about to run."""

    def handler_end(self, tx: Transition, binding: str, name: str) -> None:
        """A handler has returned, or raised."""

    def queue_end(self, machine: View[Any]) -> None:
        """The queue is empty, the drain is over."""

    def machine_dispose(self, machine_id: str) -> None:
        """The machine is being disposed."""
