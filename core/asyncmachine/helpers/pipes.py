"""Pipes: a state of one machine follows a state of another.

A pipe is a pair of final handlers on the source that mutate the target. As they run in the source's transitions and
the target's queue keeps the order of calls, an activation and the deactivation right after it arrive in this order.
The target may refuse. Arguments are passed along, and mutations are traced to the source's event. What a transition of
the source has piped before one of its handlers raised is taken back. A pipe ends when it is closed or either machine is
disposed. Both machines' logs know it (`machine.log.pipes`).

A `flat` pipe follows activity alone: it skips mutations that would change nothing, and passes no arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from asyncmachine.helpers.following import AgainTracer, Follower
from asyncmachine.machine.api import Api
from asyncmachine.machine.args import ErrorArgs
from asyncmachine.machine.errors import SchemaError, StateMissing
from asyncmachine.machine.event import Event
from asyncmachine.machine.log_pipes import LoggedPipe
from asyncmachine.machine.machine import Machine
from asyncmachine.machine.names import ANY
from asyncmachine.machine.schema import EXCEPTION
from asyncmachine.machine.tracer import Tracer

START, READY = "Start", "Ready"

States = Mapping[str, str] | Iterable[str]
"""State names of the source with those of the target, or names that are the same on both."""

PipeHandler = Callable[[Event], None]


class Piped(NamedTuple):
    """One state of the source, what its activation adds to the target, and what its end removes (empty: nothing)."""

    state: str
    active: str
    inactive: str = ""


class Pipe:
    """Bound handlers on the source. `close` takes them away; the states that were piped stay as they are.

    `piped` is what the logs of both machines tell about it. A `tracer` comes and goes with the handlers.
    """

    def __init__(
        self,
        source: Api[Any],
        target: Api[Any],
        handlers: Mapping[str, PipeHandler],
        id: str,
        piped: Iterable[Piped] = (),
        tracer: Tracer | None = None,
    ) -> None:
        if target.is_disposed:
            raise SchemaError(f"machine {target.id!r} has been disposed and cannot be piped")
        self.source = source
        self.target = target
        self.id = source.bind(dict(handlers), id=id)
        self._tracer = source.trace(tracer) if tracer else ""
        self._open = True
        self._logged_out, self._logged_in = _logged(source, target, piped)
        self._gone = [machine.when_disposed() for machine in (source, target)]
        for gone in self._gone:
            gone.then(self.close)

    def close(self) -> None:
        """Ends the pipe. Calling it again does nothing."""
        if not self._open:
            return
        self._open = False
        for gone in self._gone:
            gone.cancel()
        if not self.source.is_disposed:
            self.source.detach(self.id)
            if self._tracer:
                self.source.untrace(self._tracer)
        self.source.log.pipes.discard(*self._logged_out)
        self.target.log.pipes.discard(*self._logged_in)


def bind(
    source: Api[Any], state: str, target: Api[Any], active: str = "", inactive: str = "", *, flat: bool = False
) -> Pipe:
    """`state` of the source activates `active` of the target and deactivates `inactive`.

    `active` defaults to `state`, `inactive` to `active`. Raises `StateMissing`, as all of these do.
    """
    return _bound(source, target, [_piped(state, active, inactive)], f"Bind-{state}-{target.id}", flat=flat)


def bind_many(source: Api[Any], target: Api[Any], states: States, *, flat: bool = False) -> Pipe:
    """Several states at once."""
    pairs = _pairs(states)
    piped = [Piped(state, other, other) for state, other in pairs.items()]
    return _bound(source, target, piped, f"BindMany-{len(pairs)}-{target.id}", flat=flat)


def bind_start(source: Api[Any], target: Api[Any], active: str = "", inactive: str = "", *, flat: bool = False) -> Pipe:
    """Pipes the source's `Start`."""
    return _bound(source, target, [_piped(START, active, inactive)], f"BindStart-{target.id}", flat=flat)


def bind_ready(source: Api[Any], target: Api[Any], active: str = "", inactive: str = "", *, flat: bool = False) -> Pipe:
    """Pipes the source's `Ready`."""
    return _bound(source, target, [_piped(READY, active, inactive)], f"BindReady-{target.id}", flat=flat)


def bind_connected(
    source: Api[Any],
    target: Api[Any],
    *,
    disconnected: str = "",
    connecting: str = "",
    connected: str = "",
    disconnecting: str = "",
    flat: bool = False,
) -> Pipe:
    """Pipes the phases of `states.Connected` to states of the target; a phase that is given none is left out."""
    phases = {
        "Disconnected": disconnected,
        "Connecting": connecting,
        "Connected": connected,
        "Disconnecting": disconnecting,
    }
    piped = [Piped(state, other, other) for state, other in phases.items() if other]
    return _bound(source, target, piped, f"BindConnected-{target.id}", flat=flat)


def bind_err(source: Api[Any], target: Api[Any], state: str = EXCEPTION) -> Pipe:
    """The source's errors become errors of the target, under `state`. They are not taken back.

    A state whose name does not begin with `Err` comes without `Exception`, unless it adds it.
    """
    return _bound(source, target, [Piped(EXCEPTION, state)], f"BindErr-{target.id}")


def bind_any(source: Api[Any], target: Api[Any]) -> Pipe:
    """After each transition of the source the target's same-named states are set to the source's, in one mutation.

    The target follows each change once: a Multi state is called again when the source's is, and not when another state
    changes. Where a Set would call one, there may be two mutations, a Remove and an Add. If what is shown of a mirror
    stands for several calls of a Multi state, it is called once. What the target has changed by itself is set back, and
    what it has refused is tried again, with the next transition.

    The target's further states stay. Raises `StateMissing` if the target lacks a state of the source; those that the
    source gets later are followed if the target has them.
    """
    _need(target, source.names)
    follow = Follower(source, target).follow
    tracer = None if source.is_local else AgainTracer(follow)
    return Pipe(source, target, {"AnyState": follow}, f"BindAny-{target.id}", [Piped(ANY, ANY)], tracer)


def sync(source: Api[Any], target: Api[Any], states: States) -> int:
    """Copies the activity of states once, without a pipe. Returns how many differed."""
    pairs = _pairs(states)
    _need(source, pairs)
    _need(target, pairs.values())
    on = [other for state, other in pairs.items() if state in source and other not in target]
    off = [other for state, other in pairs.items() if state not in source and other in target]
    if on:
        target.add(on)
    if off:
        target.remove(off)
    return len(on) + len(off)


def adder(target: Api[Any], state: str, undo: str = "", *, flat: bool = False) -> PipeHandler:
    """A final handler that activates `state` of the target; an `Err…` state together with `Exception`.

    `undo` is the state to deactivate if a later handler raises, so that the source's state is taken back: no `End`
    handler will tell of that.
    """
    _need(target, [state])
    names = [EXCEPTION, state] if state.startswith("Err") else [state]

    def piped(e: Event) -> None:
        if flat and target.is_(*names):
            return
        error = e.raw_args.get(ErrorArgs.key)
        if isinstance(target, Machine) and isinstance(error, ErrorArgs):
            target._err = error.err
        target.add(names, {} if flat else dict(e.raw_args), e=e)
        if undo and e.machine.is_local:
            e.scope.on_end(lambda: target.remove(undo, e=e) if e.tx.broken else None)

    return piped


def remover(target: Api[Any], state: str, *, flat: bool = False) -> PipeHandler:
    """A final handler that deactivates `state` of the target."""
    _need(target, [state])

    def piped(e: Event) -> None:
        if not (flat and state not in target):
            target.remove(state, {} if flat else dict(e.raw_args), e=e)

    return piped


def _bound(source: Api[Any], target: Api[Any], piped: Iterable[Piped], id: str, *, flat: bool = False) -> Pipe:
    handlers: dict[str, PipeHandler] = {}
    piped = tuple(piped)
    for state, active, inactive in piped:
        _need(source, [state])
        handlers[f"{state}State"] = adder(target, active, inactive, flat=flat)
        if inactive:
            handlers[f"{state}End"] = remover(target, inactive, flat=flat)
    return Pipe(source, target, handlers, id, piped)


def _logged(source: Api[Any], target: Api[Any], piped: Iterable[Piped]) -> tuple[list[LoggedPipe], list[LoggedPipe]]:
    outgoing, incoming = [], []
    for state, active, inactive in piped:
        outgoing.append(source.log.pipes.add_out(state, target.id, is_add=True))
        incoming.append(target.log.pipes.add_in(active, source.id, is_add=True))
        if inactive:
            outgoing.append(source.log.pipes.add_out(state, target.id, is_add=False))
            incoming.append(target.log.pipes.add_in(inactive, source.id, is_add=False))
    return outgoing, incoming


def _piped(state: str, active: str, inactive: str) -> Piped:
    active = active or state
    return Piped(state, active, inactive or active)


def _pairs(states: States) -> dict[str, str]:
    return dict(states) if isinstance(states, Mapping) else {name: name for name in states}


def _need(machine: Api[Any], names: Iterable[str]) -> None:
    missing = [name for name in names if not machine.has(name)]
    if missing:
        if machine.is_disposed:
            raise SchemaError(f"machine {machine.id!r} has been disposed and cannot be piped")
        raise StateMissing(missing, machine.id, machine.names)
