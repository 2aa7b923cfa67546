"""Frames that a fuzzer makes, which sees what code each of them reaches: `python -m tests.nightly.frames_fuzz [FLAGS]`.

Needs atheris (the group `fuzz` of pyproject.toml); `make nightly` runs it. An input is a byte that says who listens and
how far the handshake is, and then frames with their lengths. Whatever they are, the session refuses them with a fault
of the peer, and is then what it was before, or takes them. It ends with a traceback and the input if that is not so.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import atheris

with atheris.instrument_imports(include=["asyncmachine.rpc"]):
    from asyncmachine.rpc.codec import encode
    from asyncmachine.rpc.legality import Phase
    from tests.rpc.duo import Duo
    from tests.rpc.golden import GOLDEN
    from tests.rpc.test_session_fuzz import check

PHASES: Final = (Phase.NEW, Phase.GREETED, Phase.WELCOMED, Phase.READY)
LENGTH: Final = 2


def frames(data: bytes) -> Iterator[bytes]:
    """The frames of an input; the last one may be shorter than it says."""
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + LENGTH], "big")
        yield data[at + LENGTH : at + LENGTH + size]
        at += LENGTH + size


def packed(first: int, found: list[bytes]) -> bytes:
    """An input of these frames."""
    return bytes([first]) + b"".join(len(frame).to_bytes(LENGTH, "big") + frame for frame in found)


def one(data: bytes) -> None:
    """Gives one input to a session. Raises if it does anything else than refuse it or take it."""
    if not data:
        return
    duo = Duo().advance_to(PHASES[data[0] // 2 % len(PHASES)])
    session = duo.client if data[0] % 2 else duo.server
    if data[0] % 2 and session.phase is Phase.READY:
        duo.client.call("add", (0,), None, None, 0.0)
    session.outgoing()
    for now, frame in enumerate(frames(data[1:])):
        check(session, frame, now)
        session.tick(now)
        waiting = sum(map(len, session.outgoing()))
        assert waiting <= 1000 + 10 * len(frame), f"{waiting} bytes are said to {len(frame)}"
    session.end()


def seeds(folder: Path) -> None:
    """Inputs to begin with: each message by itself at each point, and some together."""
    known = [encode(found) for found, *_ in GOLDEN if len(encode(found)) < 1 << 12]
    draw = random.Random(1)
    for first in range(2 * len(PHASES)):
        for number, frame in enumerate(known):
            (folder / f"{first}-{number}").write_bytes(packed(first, [frame]))
        for number in range(20):
            (folder / f"{first}-many-{number}").write_bytes(packed(first, draw.sample(known, 5)))


def main() -> None:
    """Runs until a flag of libFuzzer says that it is enough, for instance -max_total_time=60."""
    with tempfile.TemporaryDirectory(prefix="frames-") as folder:
        seeds(Path(folder))
        atheris.Setup([*sys.argv, folder], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
