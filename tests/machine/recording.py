"""Handlers and a tracer that write down what a machine calls, shared by the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import asyncmachine as am

Handler = Callable[[am.Event], Any]
RawSchema = Mapping[str, Mapping[str, Any]]


def handler_names(states: Iterable[str]) -> list[str]:
    """Every legal handler name of a schema with these states."""
    states = list(states)
    suffixed = [state + suffix for state in states for suffix in ("Exit", "Enter", "End", "State")]
    return [*suffixed, *(a + b for a in states for b in states), "AnyEnter", "AnyState"]


def logging_handlers(
    states: Iterable[str],
    calls: list[str],
    *,
    vetoes: Iterable[str] = (),
    raises: Iterable[str] = (),
) -> dict[str, Handler]:
    """A handler for every name, which notes its call in `calls`; some veto, some raise `boom <name>`."""
    vetoes, raises = set(vetoes), set(raises)

    def handler(name: str) -> Handler:
        def call(e: am.Event) -> bool | None:
            calls.append(name)
            if name in raises:
                raise RuntimeError(f"boom {name}")
            return False if name in vetoes else None

        return call

    return {name: handler(name) for name in handler_names(states)}


class Recorder(am.Tracer):
    """Keeps ended transitions, and every hook as a short text."""

    def __init__(self, id: str = "") -> None:
        self.id = id
        self.hooks: list[str] = []
        self.ended: list[am.Transition] = []

    def machine_init(self, machine: am.View[Any]) -> None:
        self.hooks.append(f"machine_init {machine.id}")

    def new_submachine(self, parent: am.View[Any], machine: am.View[Any]) -> None:
        self.hooks.append(f"new_submachine {machine.id} of {parent.id}")

    def mutation_queued(self, machine: am.View[Any], mutation: am.Mutation) -> None:
        self.hooks.append(f"queued {text(mutation)}")

    def transition_init(self, tx: am.Transition) -> None:
        self.hooks.append(f"init {text(tx.mutation)}")

    def transition_start(self, tx: am.Transition) -> None:
        self.hooks.append("start")

    def transition_finals(self, tx: am.Transition) -> None:
        self.hooks.append("finals")

    def transition_end(self, tx: am.Transition) -> None:
        self.hooks.append("end")
        self.ended.append(tx)

    def handler_start(self, tx: am.Transition, binding: str, name: str) -> None:
        self.hooks.append(f"{name}(")

    def handler_end(self, tx: am.Transition, binding: str, name: str) -> None:
        self.hooks.append(f"{name})")

    def queue_end(self, machine: am.View[Any]) -> None:
        self.hooks.append("queue_end")

    def machine_dispose(self, machine_id: str) -> None:
        self.hooks.append(f"machine_dispose {machine_id}")


def text(mutation: am.Mutation) -> str:
    """`add A B`, with a mark for auto mutations and dry runs."""
    mark = "auto " if mutation.is_auto else "check " if mutation.is_check else ""
    return f"{mark}{mutation.kind} {' '.join(mutation.called)}"
