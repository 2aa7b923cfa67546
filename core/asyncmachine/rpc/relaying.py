"""Calls that a server passes on to the source of its source: how much of the way each of its clients may take.

A mirror can be a source itself. Its client has room for so many calls that wait for their answers (`calls`), and all
who call through it share that room. One client may take as much of it as is free: alone it gets half, and there is
always some left for the next.
"""

from __future__ import annotations

from typing import Any, Final
from weakref import WeakKeyDictionary

from asyncmachine.rpc.calls import MAX_BYTES, MAX_CALLS
from asyncmachine.rpc.errors import CallRefused, Code
from asyncmachine.rpc.mirror import Mirror


class Way:
    """What is under way to the source of one mirror."""

    __slots__ = ("__weakref__", "bytes", "calls")

    def __init__(self) -> None:
        self.calls = 0
        self.bytes = 0


_WAYS: Final[WeakKeyDictionary[Mirror[Any], Way]] = WeakKeyDictionary()


def way_of(source: object) -> Way | None:
    """That of a mirror, which all its servers share; None for a machine, which is the end of the way."""
    return _WAYS.setdefault(source, Way()) if isinstance(source, Mirror) else None


class Share:
    """What one client has under way."""

    __slots__ = ("_bytes", "_calls", "_way")

    def __init__(self, way: Way) -> None:
        self._way = way
        self._calls: dict[int, int] = {}
        self._bytes = 0

    def take(self, number: int, size: int) -> None:
        """A call of so many bytes goes on. Raises `CallRefused` if the client has more under way than there is room."""
        way = self._way
        if len(self._calls) >= MAX_CALLS - way.calls or self._bytes + size > MAX_BYTES - way.bytes:
            text = f"{len(self._calls)} calls with {self._bytes} bytes wait for the source: await some of them first"
            raise CallRefused(Code.RATE, text, retryable=True)
        self._calls[number] = size
        self._bytes += size
        way.calls += 1
        way.bytes += size

    def give_back(self, number: int) -> None:
        """There is an answer."""
        size = self._calls.pop(number, None)
        if size is not None:
            self._bytes -= size
            self._way.calls -= 1
            self._way.bytes -= size
