"""What a peer may do with a source: one record, asked on every request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from inspect import iscoroutine
from typing import Protocol

from asyncmachine.machine.errors import InvalidArgs
from asyncmachine.machine.names import several
from asyncmachine.rpc.limits import check_value
from asyncmachine.rpc.transport import Peer


@dataclass(frozen=True, slots=True)
class Grants:
    """Patterns (`*` and `?`, case counts) of states that may be mutated and read, and of payloads that are sent.

    Raises `InvalidArgs` where a text stands for patterns: ``mutate=("Order*")`` lacks its comma,
    `Unsendable` for a pattern that the client could not be told.
    """

    mutate: tuple[str, ...] = ("*",)
    read: tuple[str, ...] = ("*",)
    payload: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        for name in ("mutate", "read", "payload"):
            object.__setattr__(self, name, several(getattr(self, name), name))
        for pattern in (*self.mutate, *self.read, *self.payload):
            check_value(f"the pattern {pattern!r}", pattern)

    def mutates(self, states: Iterable[str]) -> bool:
        """Whether all of these states may be called in a mutation."""
        return all(_matches(self.mutate, name) for name in states)

    def reads(self, state: str) -> bool:
        """Whether the state is shown."""
        return _matches(self.read, state)

    def receives(self, payload: str) -> bool:
        """Whether payloads of this name are sent."""
        return _matches(self.payload, payload)

    def readable(self, names: Iterable[str]) -> tuple[str, ...]:
        """The states that are shown, in their order."""
        return tuple(filter(self.reads, names))


EVERYTHING = Grants()
"""No restriction."""


class Allow(Protocol):
    """Decides about a new client. None refuses it. `token` is what the client sent, empty without one."""

    def __call__(self, id: str, token: str, peer: Peer) -> Grants | None: ...


def fits(pattern: str, name: str) -> bool:
    """Whether the name is what the pattern says: `*` is any characters, `?` is one, the others are themselves."""
    return pattern in ("*", name) or fnmatchcase(name, pattern.replace("[", "[[]"))


def decide(allow: Callable[[str, str, Peer], Grants | None] | None, id: str, token: str, peer: Peer) -> Grants | None:
    """The grants of a client: what `allow` says, else what came with the connection, else everything.

    Raises `InvalidArgs` if `allow` says something else: yes and no could mean anything.
    """
    if allow is not None:
        found: object = allow(id, token, peer)
        if found is None or isinstance(found, Grants):
            return found
        if iscoroutine(found):
            found.close()
        kind = type(found).__name__  # and not what it is: that may be the token
        raise InvalidArgs(f"allow returns rpc.Grants, or None to refuse, and is not awaited: got {kind}")
    return peer.grants if isinstance(peer.grants, Grants) else EVERYTHING


@lru_cache(maxsize=4096)
def _matches(patterns: tuple[str, ...], name: str) -> bool:
    return any(fits(pattern, name) for pattern in patterns)
