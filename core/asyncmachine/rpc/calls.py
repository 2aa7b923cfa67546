"""Calls that wait for their answers, each with its deadline. Pure: the caller knows the time."""

from __future__ import annotations

from typing import Final

from asyncmachine.rpc.errors import Overloaded

MAX_CALLS: Final = 4096
"""Calls of one client that may wait for their answers."""


class Calls:
    """Numbers calls, and knows which are open. All get the same time, so the oldest is always the next to expire."""

    __slots__ = ("_open", "last")

    def __init__(self) -> None:
        self._open: dict[int, float] = {}
        self.last = 0

    def __len__(self) -> int:
        return len(self._open)

    def next(self) -> int:
        """The number of the next call. Raises `Overloaded` if there are too many already."""
        if len(self._open) >= MAX_CALLS:
            raise Overloaded(f"{MAX_CALLS} calls wait for their answers: await some of them first")
        return self.last + 1

    def made(self, number: int, deadline: float | None = None) -> None:
        """Notes that the call was sent. Without a deadline it only takes its number."""
        self.last = number
        if deadline is not None:
            self._open[number] = deadline

    def was_made(self, number: int) -> bool:
        """Whether a call of this number was ever made."""
        return 0 < number <= self.last

    def answered(self, number: int) -> bool:
        """Notes the answer. False if nobody waits for it any more."""
        return self._open.pop(number, None) is not None

    @property
    def deadline(self) -> float | None:
        """When the oldest open call expires."""
        return next(iter(self._open.values()), None)

    def expired(self, now: float) -> list[int]:
        """Takes out the calls whose time is over."""
        late = [number for number, due in self._open.items() if due <= now]
        for number in late:
            del self._open[number]
        return late

    def abandon(self) -> list[int]:
        """Takes out all open calls."""
        left, self._open = list(self._open), {}
        return left
