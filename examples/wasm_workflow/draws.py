"""Bad luck, made to order: whether an attempt succeeds depends on the seed and on which attempt it is.

A draw is a number from 0 to SUCCESS_RATE - 1: 0 corrupts the result, 1 lets the node fail, all others are good. With a
rate of 5 an attempt is good with 60 %, corrupt with 20 %, and fails with 20 %.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import sha256

from examples.wasm_workflow.run import Attempt


class Draw(StrEnum):
    """What becomes of one attempt."""

    GOOD = "good"
    CORRUPT = "corrupt"
    FAILED = "failed"


LOWEST_RATE = 3
"""With a rate of 1 every result is corrupt, with 2 every attempt is corrupt or fails: no run could ever end well."""


def draw(seed: int, success_rate: int, node: str, attempt: Attempt) -> Draw:
    """The fate of a node's attempt. The same on every platform, whatever the timing."""
    text = f"{seed}/{node}/{attempt.round}/{attempt.number}".encode()
    match int.from_bytes(sha256(text).digest()[:8], "big") % success_rate:
        case 0:
            return Draw.CORRUPT
        case 1:
            return Draw.FAILED
        case _:
            return Draw.GOOD
