"""What waits for the source: how much of it each client of a server may have.

A mirror can be a source itself. Its client has room for so many calls and waits, and all who call through it share that
room. One client may take as much of it as is free: alone it gets half, and there is always some left for the next. A
machine answers at once, unless another thread is at work with it: then each client has a room of its own.
"""

from __future__ import annotations

from typing import Any, Final
from weakref import WeakKeyDictionary

from asyncmachine.rpc.caller import Caller
from asyncmachine.rpc.calls import MAX_BYTES, MAX_CALLS
from asyncmachine.rpc.errors import CallRefused, Code
from asyncmachine.rpc.netmach import NetworkMachine


class Way:
    """What is under way to one source; to that of a mirror by its `caller`."""

    __slots__ = ("__weakref__", "_caller", "bytes", "calls", "waits", "waits_bytes")

    def __init__(self, caller: Caller | None = None) -> None:
        self._caller = caller
        self.calls = self.bytes = 0
        self.waits = self.waits_bytes = 0

    @property
    def room(self) -> int:
        """How many calls may be under way. One client alone gets half."""
        return 2 * MAX_CALLS if self._caller is None else self._caller.room

    @property
    def bytes_room(self) -> int:
        """The same of their bytes."""
        return 2 * MAX_BYTES if self._caller is None else MAX_BYTES

    @property
    def is_full(self) -> bool:
        """Whether as much waits to be sent to the source of a mirror as may."""
        return self._caller is not None and self._caller.is_full


_WAYS: Final[WeakKeyDictionary[NetworkMachine[Any], Way]] = WeakKeyDictionary()


def way_of(source: object) -> Way | None:
    """That of a mirror, which all its servers share; None for a machine, which is the end of the way."""
    if not isinstance(source, NetworkMachine):
        return None
    return _WAYS.get(source) or _WAYS.setdefault(source, Way(source._caller))


class Share:
    """What one client has under way: calls by their numbers, questions by theirs, which are negative here."""

    __slots__ = ("_bytes", "_calls", "_way")

    def __init__(self, way: Way) -> None:
        self._way = way
        self._calls: dict[int, int] = {}
        self._bytes = 0

    def take(self, number: int, size: int) -> None:
        """A call of so many bytes goes on. Raises `CallRefused` if the client has more under way than there is room."""
        way = self._way
        if len(self._calls) >= way.room - way.calls or self._bytes + size > way.bytes_room - way.bytes:
            text = f"{len(self._calls)} calls with {self._bytes} bytes wait for the source: await some of them first"
            raise CallRefused(Code.RATE, text, retryable=True)
        self.note(number, size)

    def note(self, number: int, size: int) -> None:
        """A call has gone on already. It may be known, and larger than it seemed."""
        way, before = self._way, self._calls.get(number)
        self._calls[number] = size
        self._bytes += size - (before or 0)
        way.bytes += size - (before or 0)
        way.calls += before is None

    def give_back(self, number: int) -> None:
        """There is an answer."""
        size = self._calls.pop(number, None)
        if size is not None:
            self._bytes -= size
            self._way.calls -= 1
            self._way.bytes -= size
