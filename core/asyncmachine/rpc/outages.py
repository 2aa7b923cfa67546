"""What cannot be reached, told to the log: once until it is reached again, not at each attempt.

A page shows it by itself, and the browser's console has each failed attempt: there the log tells it at INFO.
"""

from __future__ import annotations

import logging
import sys
from typing import Final

from asyncmachine.rpc.transport import in_words

logger = logging.getLogger("asyncmachine.rpc")

LEVEL: Final = logging.INFO if sys.platform == "emscripten" else logging.WARNING


class Outage:
    """Attempts that fail, from the first of them on. `what` says who cannot do what, and where."""

    __slots__ = ("_what",)

    def __init__(self, what: str, error: BaseException) -> None:
        self._what = what
        logger.log(LEVEL, "%s: %s", what, why(error))

    def over(self) -> None:
        """One has succeeded."""
        logger.info("%s: no longer", self._what)


def why(error: BaseException) -> str:
    """The cause in words, without what was made around it."""
    if error.__cause__ is not None:
        return in_words(error.__cause__)
    return getattr(error, "reason", "") or in_words(error)


def where(word: str, address: object) -> str:
    """The place, after " at" or " to"; a function does not tell it."""
    return f" {word} {address}" if isinstance(address, str) else ""
