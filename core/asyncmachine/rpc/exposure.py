"""What of a source one client may see: the list of names of its session, and the clock in that order."""

from __future__ import annotations

from collections.abc import Iterable
from secrets import randbits
from typing import Any
from weakref import WeakKeyDictionary

from asyncmachine.machine.schema import RELATIONS, Schema
from asyncmachine.machine.view import View
from asyncmachine.rpc.clock import Clock
from asyncmachine.rpc.grants import Grants
from asyncmachine.rpc.limits import problem
from asyncmachine.rpc.messages import GrantList, Id, Sync

_ALL = Sync()
_EVERYTHING = GrantList(["*"], ["*"], ["*"])


_epochs: WeakKeyDictionary[View[Any], int] = WeakKeyDictionary()


def epoch_of(source: View[Any]) -> int:
    """A number that every server of this machine gives, and that no other machine has: not one made anew either."""
    return _epochs.setdefault(source, 1 << 31 | randbits(31))  # always of the same size on the wire


def begin_anew(mirror: View[Any]) -> None:
    """The source of this mirror is another one now, and so is the mirror to those who follow it."""
    _epochs.pop(mirror, None)


def check_source(source: object) -> str:
    """Why a machine cannot be exposed, empty if it can."""
    if not isinstance(source, View):
        return f"only a machine can be exposed, got {source!r}"
    if source.handlers() and not source.has("ErrOnClient"):
        return (
            f"machine {source.id!r} has handlers, so clients may report errors to it: "
            "let its states inherit from rpc.StateSource"
        )
    named = ((f"the id of machine {source.id!r}", source.id), *((f"state {name!r}", name) for name in source.names))
    return next(filter(None, (problem(what, name, Id) for what, name in named)), "")


class Exposure:
    """One client's view of a source. Both directions count states by their position in `names`.

    `schema` has all states that it may see; `names` are those of them that it wants to follow.
    """

    __slots__ = ("_flips", "_index", "_places", "_source", "_wanted", "count", "grants", "names", "schema")

    def __init__(self, source: Schema, grants: Grants, wanted: Sync = _ALL, after: Exposure | None = None) -> None:
        """Of a source with this schema. The names of an exposure `after` which this one comes keep their numbers."""
        self.grants = grants
        self.count = len(source)
        """How many ticks the clock of the source has to have."""
        self._source = source
        self._wanted = wanted
        readable = grants.readable(source.names)
        self.schema = source if readable == source.names else narrowed(source, readable)
        allowed, skipped = set(readable if wanted.allowed is None else wanted.allowed), set(wanted.skipped)
        seen = [name for name in readable if name in allowed and name not in skipped]
        names = tuple(seen if after is None else dict.fromkeys((*after.names, *seen)))
        whole = names == source.names
        self.names: tuple[str, ...] = source.names if whole else names
        self._places = None if whole else tuple([source.index[name] for name in self.names])
        self._index = {name: i for i, name in enumerate(self.names)} if wanted.steps else {}
        flips = [] if after is None or after._flips is None else after._flips
        self._flips: list[int] | None = flips + [0] * (len(self.names) - len(flips)) if wanted.shallow else None

    def clock(self, ticks: tuple[int, ...], queue_tick: int, machine_tick: int) -> Clock:
        """The clock of the source as this client sees it."""
        if self._places is not None:
            ticks = tuple([ticks[i] for i in self._places])
        if self._flips is not None:
            # A number that grows by one whenever the state changes sides, and so has the parity of the tick.
            self._flips = [flips + ((flips ^ tick) & 1) for flips, tick in zip(self._flips, ticks, strict=True)]
            ticks = tuple(self._flips)
        return Clock(ticks, queue_tick, machine_tick)

    @property
    def wishes(self) -> int:
        """How many names the client has sent, of states that it wants and does not want."""
        return len(self._wanted.allowed or ()) + len(self._wanted.skipped)

    @property
    def steps(self) -> bool:
        """Whether the client wants to see each transition."""
        return self._wanted.steps

    @property
    def sees_all(self) -> bool:
        """Whether the client may read every state, and so what is said of any."""
        return self.schema is self._source

    def calls(self, state: str) -> bool:
        """Whether it is a state that the client may see and call."""
        return state in self.schema and self.grants.mutates((state,))

    def has(self, state: str) -> bool:
        """Whether it is a state of the source, seen or not."""
        return state in self._source

    def numbers(self, names: Iterable[str]) -> tuple[int, ...]:
        """The numbers of those of these states that the client follows. For clients that see steps."""
        index = self._index
        return tuple([index[name] for name in names if name in index])

    @property
    def is_whole(self) -> bool:
        """Whether the client follows all that it may see."""
        return self.names == self.schema.names

    def after(self, before: Exposure) -> Exposure:
        """The same, with the numbers and counts of one that it continues."""
        return Exposure(self._source, self.grants, self._wanted, before)

    def grown(self, source: Schema) -> Exposure:
        """The same of a source that has more states."""
        return Exposure(source, self.grants, self._wanted, self)

    def news(self, before: Exposure) -> dict[str, dict[str, Any]] | None:
        """The states that are new or defined anew, for a client that wants to know; else None."""
        if not self._wanted.schema:
            return None
        return {name: state.to_dict() for name, state in self.schema.items() if before.schema.get(name) != state}

    def continues(self, before: Exposure) -> bool:
        """Whether it shows what that one showed, with the same rights; the source may have more states since."""
        if (self.grants, self._flips is None, self.steps) != (before.grants, before._flips is None, before.steps):
            return False
        if self.digest == before.digest:
            return set(self.names) == set(before.names)
        return self.count > before.count and set(before.names) <= set(self.names)

    @property
    def digest(self) -> bytes:
        """The schema's hash as it travels."""
        return bytes.fromhex(self.schema.hash)

    @property
    def grant_list(self) -> GrantList | None:
        """The grants as they travel; None for everything."""
        found = GrantList(list(self.grants.mutate), list(self.grants.read), list(self.grants.payload))
        return None if found == _EVERYTHING else found


def narrowed(schema: Schema, names: Iterable[str]) -> Schema:
    """Only these states, and only what their relations say of each other."""
    kept = dict.fromkeys(names)
    states: dict[str, dict[str, Any]] = {}
    for name in kept:
        found = schema[name].to_dict()
        for key in RELATIONS:
            if key in found:
                found[key] = [target for target in found[key] if target in kept]
        states[name] = found
    return Schema(states)
