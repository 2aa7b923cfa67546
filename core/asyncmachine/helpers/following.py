"""What `pipes.bind_any` does: a target follows all states of a source, each change once.

A mirror shows several transitions of its source as one, so ticks tell what has changed: a Multi state that was active
and is, with another tick, is called again, once. No other state is called that the target has active already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asyncmachine.machine.api import Api
from asyncmachine.machine.event import Event
from asyncmachine.machine.handlers import ANY_STATE
from asyncmachine.machine.result import Result
from asyncmachine.machine.schema import Schema
from asyncmachine.machine.tracer import Tracer
from asyncmachine.machine.transition import Transition
from asyncmachine.machine.view import View


class Follower:
    """Sets the target's states to those of the source whenever it is asked to."""

    def __init__(self, source: Api[Any], target: Api[Any]) -> None:
        self._source = source
        self._target = target
        self._seen = source.clock()
        self._theirs = target.time()
        self._schema = Schema()
        self._multi: set[str] = set()
        # Those of the source's states that the target has once the last mutation has run; None if it has.
        self._due: set[str] | None = None

    def follow(self, e: Event) -> None:
        """Mutates the target as far as it is not as the source, or as the source has changed since the last time."""
        source = self._source
        seen, self._seen = self._seen, source.clock()
        self._look_up()
        known = self._schema.index
        wanted = [name for name in source.active_states() if name in known]
        there = self._there()
        again = {name for name in self._multi if seen.get(name, 0) & 1 and self._seen.get(name) != seen[name]}
        called = [name for name in wanted if name not in there or (name in again and not self._is_echo(name, e))]
        gone = there.difference(wanted)
        left = [name for name in self._seen if name in gone]
        if called or left:
            due = set(wanted)
            result = self._mutate(wanted, called, left, e)
            self._due = due
            # The result is not kept: if it fails, that is told once nobody holds it.
            result.then(lambda: self._ran(due))
        self._note()

    def _there(self) -> set[str]:
        """What is active at the target, or will be of the source's states when what waits in its queue has run."""
        return set(self._target.active_states()) if self._due is None else self._due

    def _look_up(self) -> None:
        """The target's schema, which may have grown, and its Multi states."""
        schema = self._target.schema
        if schema is not self._schema:
            self._schema, self._multi = schema, {name for name, state in schema.items() if state.multi}

    def _is_echo(self, name: str, e: Event) -> bool:
        """True for a call that has come from the target, where the state was called as well."""
        target, origin = self._target, e.tx.source
        i = target.index(name)
        return origin is not None and origin.machine_id == target.id and target.time()[i] != self._theirs[i]

    def _mutate(self, wanted: list[str], called: list[str], left: list[str], e: Event) -> Result:
        """One Set, unless it would call active Multi states, or end what is about to begin: then only what differs."""
        target, args = self._target, dict(e.raw_args)
        theirs = target.active_states()
        if not self._is_busy() and self._multi.isdisjoint(set(theirs).difference(called, left)):
            return target.set([*wanted, *(name for name in theirs if name not in self._seen)], args, e=e)
        if not called:
            return target.remove(left, args, e=e)
        if left:
            target.remove(left, dict(args), e=e)
        return target.add(called, args, e=e)

    def _is_busy(self) -> bool:
        return self._due is not None or (isinstance(self._target, View) and self._target._is_draining())

    def _ran(self, due: set[str]) -> None:
        if self._due is due:
            self._due = None
            self._note()

    def _note(self) -> None:
        self._theirs = self._target.time()


class AgainTracer(Tracer):
    """Calls a handler for what a mirror has no `AnyState` for: no state has begun or ended, but some have ticked."""

    def __init__(self, handler: Callable[[Event], None]) -> None:
        self._handler = handler

    def transition_end(self, tx: Transition) -> None:
        if tx.before != tx.after and not tx.enters and not tx.exits:
            self._handler(Event(ANY_STATE, ANY_STATE, tx))
