"""Clients that are turned away, told to the log: few lines, since whoever dials could write as many as he likes."""

from __future__ import annotations

import logging
from traceback import format_tb
from typing import Final

from asyncmachine.machine.errors import AmError
from asyncmachine.rpc.errors import Code, Rejected

logger = logging.getLogger("asyncmachine.rpc")

LINES: Final = 10
"""Lines in a period; then those are counted that are not told."""

PERIOD: Final = 60.0
"""Seconds."""

KINDS: Final = 16
"""Errors of `allow` that are told with their tracebacks, each by its first."""

_PASSING: Final = frozenset({Code.BUSY, Code.SHUTDOWN})
"""Such a client comes back later, and nothing is wrong."""


class Refusals:
    """What the log is told of one server, or of all of a mux: never a token, nor what an error of `allow` says."""

    __slots__ = ("_kinds", "_left", "_since", "_untold")

    def __init__(self) -> None:
        self._left, self._since, self._untold = LINES, float("-inf"), 0
        self._kinds: set[tuple[type[BaseException], int]] = set()

    def tell(self, who: str, id: str, address: str, no: Rejected, now: float) -> None:
        """Tells that `who` has not let in the client with this id, unless too much was told in this period."""
        if no.code in _PASSING and no.__cause__ is None:
            return
        if now - self._since >= PERIOD:
            self._left, self._since = LINES, now
        if not self._left:
            self._untold += 1
            return
        self._left -= 1
        untold, self._untold = self._untold, 0
        more = f" ({untold} more were not told)" if untold else ""
        what = f"{who}: client {id!r} is not let in, from {address or '?'}{more}"
        if no.__cause__ is not None:
            self._failed(f"{what}: {no.message}", no.__cause__)
        elif no.code == Code.FORBIDDEN:
            logger.warning("%s: allow returned None for its id, token and peer", what)
        else:
            logger.warning("%s: %s", what, no.message)

    def _failed(self, what: str, error: BaseException) -> None:
        """Our own errors have their words; of others, whose text may have the token, the way to the first."""
        if isinstance(error, AmError):
            logger.error("%s (%s)", what if str(error) in what else f"{what}: {error}", type(error).__name__)
            return
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        kind = (type(error), 0 if place is None else place.tb_lineno)
        is_new = kind not in self._kinds and len(self._kinds) < KINDS
        if is_new:
            self._kinds.add(kind)
        logger.error("%s (%s)%s", what, type(error).__name__, f"\n{_way_to(error)}" if is_new else "")


def _way_to(error: BaseException) -> str:
    """A traceback without what the errors say."""
    return "".join(["Traceback (most recent call last):\n", *format_tb(error.__traceback__), type(error).__name__])
