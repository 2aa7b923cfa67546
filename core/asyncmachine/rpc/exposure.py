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
from asyncmachine.rpc.messages import GrantList

_EVERYTHING = GrantList(["*"], ["*"], ["*"])


_epochs: WeakKeyDictionary[View[Any], int] = WeakKeyDictionary()


def epoch_of(source: View[Any]) -> int:
    """A number that every server of this machine gives, and that no other machine has: not one made anew either."""
    return _epochs.setdefault(source, 1 << 31 | randbits(31))  # always of the same size on the wire


class Exposure:
    """One client's view of a source. Both directions count states by their position in `names`."""

    __slots__ = ("_places", "grants", "names", "schema")

    def __init__(self, source: View[Any], grants: Grants) -> None:
        self.grants = grants
        self.names = grants.readable(source.names)
        whole = self.names == source.names
        self.schema = source.schema if whole else narrowed(source.schema, self.names)
        self._places = None if whole else tuple(source.names.index(name) for name in self.names)

    def clock(self, ticks: tuple[int, ...], queue_tick: int, machine_tick: int) -> Clock:
        """The clock of the source as this client sees it."""
        if self._places is not None:
            ticks = tuple([ticks[i] for i in self._places])
        return Clock(ticks, queue_tick, machine_tick)

    def equals(self, other: Exposure) -> bool:
        """Whether both count the same states, of the same schema, with the same rights."""
        return (self.names, self.grants, self.digest) == (other.names, other.grants, other.digest)

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
