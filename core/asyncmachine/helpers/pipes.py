"""Pipes: a state of one machine follows a state of another.

A pipe is a pair of final handlers on the source that mutate the target. As they run in the source's transitions and
the target's queue keeps the order of calls, an activation and the deactivation right after it arrive in this order.
The target may refuse. Arguments are passed along, and mutations are traced to the source's event. A pipe ends when it
is closed or either machine is disposed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from asyncmachine.machine.args import ErrorArgs
from asyncmachine.machine.errors import SchemaError, StateMissing
from asyncmachine.machine.event import Event
from asyncmachine.machine.machine import Machine
from asyncmachine.machine.schema import EXCEPTION
from asyncmachine.machine.view import View

READY, START = "Ready", "Start"


class Pipe:
    """Bound handlers on the source. `close` takes them away; the states that were piped stay as they are."""

    def __init__(
        self, source: View[Any], target: View[Any], handlers: Mapping[str, Callable[[Event], object]], id: str
    ):
        self.source = source
        self.target = target
        self.id = source.bind(dict(handlers), id=id)
        self._open = True
        target.on_dispose(lambda _: self.close())

    def close(self) -> None:
        """Ends the pipe. Calling it again does nothing."""
        if self._open and not self.source.is_disposed:
            self.source.detach(self.id)
        self._open = False


def bind(
    source: View[Any], state: str, target: View[Any], active: str = "", inactive: str = "", *, flat: bool = False
) -> Pipe:
    """`state` of the source activates `active` of the target and deactivates `inactive`; both default to `state`.

    A `flat` pipe skips mutations that would change nothing, and passes no arguments.
    """
    active = active or state
    inactive = inactive or active
    handlers = {f"{state}State": adder(target, active, flat=flat), f"{state}End": remover(target, inactive, flat=flat)}
    return Pipe(source, target, handlers, f"Bind-{state}-{target.id}")


def bind_many(
    source: View[Any], target: View[Any], states: Mapping[str, str] | Iterable[str], *, flat: bool = False
) -> Pipe:
    """Several states at once: a mapping from source to target names, or names that are the same on both."""
    pairs = dict(states) if isinstance(states, Mapping) else {name: name for name in states}
    handlers: dict[str, Callable[[Event], object]] = {}
    for state, piped in pairs.items():
        handlers[f"{state}State"] = adder(target, piped, flat=flat)
        handlers[f"{state}End"] = remover(target, piped, flat=flat)
    return Pipe(source, target, handlers, f"BindMany-{len(pairs)}-{target.id}")


def bind_ready(source: View[Any], target: View[Any], active: str = "", inactive: str = "") -> Pipe:
    """Pipes the source's `Ready`."""
    return bind(source, READY, target, active, inactive)


def bind_start(source: View[Any], target: View[Any], active: str = "", inactive: str = "") -> Pipe:
    """Pipes the source's `Start`."""
    return bind(source, START, target, active, inactive)


def bind_err(source: View[Any], target: View[Any], state: str = EXCEPTION) -> Pipe:
    """The source's errors become errors of the target, under `state`. They are not taken back."""
    return Pipe(source, target, {f"{EXCEPTION}State": adder(target, state)}, f"BindErr-{target.id}")


def bind_any(source: View[Any], target: View[Any]) -> Pipe:
    """After each transition of the source the target's same-named states are set to the source's.

    Raises `StateMissing` if the target lacks one of them.
    """
    shared = source.names
    _need(target, shared)

    def any_state(e: Event) -> None:
        active = source.active_states()
        mine = set(shared)
        others = [name for name in target.active_states() if name not in mine]
        if set(active) != set(target.active_states()) & mine:
            target.set([*active, *others], dict(e.raw_args), e=e)  # type: ignore[attr-defined]

    return Pipe(source, target, {"AnyState": any_state}, f"BindAny-{target.id}")


def sync(source: View[Any], target: View[Any], states: Mapping[str, str] | Iterable[str]) -> int:
    """Copies the activity of states once, without a pipe. Returns how many differed."""
    pairs = dict(states) if isinstance(states, Mapping) else {name: name for name in states}
    _need(source, pairs)
    _need(target, pairs.values())
    on = [piped for state, piped in pairs.items() if state in source and piped not in target]
    off = [piped for state, piped in pairs.items() if state not in source and piped in target]
    if on:
        target.add(on)  # type: ignore[attr-defined]
    if off:
        target.remove(off)  # type: ignore[attr-defined]
    return len(on) + len(off)


def adder(target: View[Any], state: str, *, flat: bool = False) -> Callable[[Event], object]:
    """A final handler that activates `state` of the target; an `Err…` state together with `Exception`."""
    _need(target, [state])
    names = [state, EXCEPTION] if state.startswith("Err") else [state]

    def piped(e: Event) -> None:
        if flat and target.is_(*names):
            return
        args = {} if flat else dict(e.raw_args)
        error = args.get(ErrorArgs.key)
        if isinstance(target, Machine) and isinstance(error, ErrorArgs):
            target._err = error.err
        target.add(names, args, e=e)  # type: ignore[attr-defined]

    return piped


def remover(target: View[Any], state: str, *, flat: bool = False) -> Callable[[Event], object]:
    """A final handler that deactivates `state` of the target."""
    _need(target, [state])

    def piped(e: Event) -> None:
        if not (flat and state not in target):
            target.remove(state, {} if flat else dict(e.raw_args), e=e)  # type: ignore[attr-defined]

    return piped


def _need(machine: View[Any], names: Iterable[str]) -> None:
    missing = [name for name in names if not machine.has(name)]
    if missing:
        if machine.is_disposed:
            raise SchemaError(f"machine {machine.id!r} has been disposed and cannot be piped")
        raise StateMissing(missing, machine.id, machine.names)
