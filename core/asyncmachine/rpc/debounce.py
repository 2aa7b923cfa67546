"""When to push: the first change at once, later ones together. Pure: time is an argument."""

from __future__ import annotations


class Debounce:
    """Lets one push through in each `interval` of seconds. Nothing is due when nothing has changed."""

    __slots__ = ("_dirty", "_next", "interval")

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._next = float("-inf")
        self._dirty = False

    def changed(self, now: float) -> bool:
        """Notes a change. True: push now. False: call `due` at `deadline`."""
        self._dirty = True
        return self.due(now)

    def due(self, now: float) -> bool:
        """True if a noted change should be pushed now."""
        return self._dirty and now >= self._next

    def pushed(self, now: float) -> None:
        """Notes a push of everything known. The next one comes an interval later at the earliest."""
        self._dirty = False
        self._next = now + self.interval

    def told(self) -> None:
        """Notes that everything known has been sent with an answer: nothing is due, and the interval does not count."""
        self._dirty = False

    @property
    def deadline(self) -> float | None:
        """When the held back change is due; None without one."""
        return self._next if self._dirty else None
