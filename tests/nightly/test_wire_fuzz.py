"""Frames of real messages, damaged: each one is a message or a fault of the peer, and nothing else."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest

from asyncmachine.rpc import codec, messages
from asyncmachine.rpc.errors import PeerFault
from tests.rounds import Rounds

TAGS = [kind.__struct_config__.tag for kind in messages.Message.__subclasses__()]


def random_value(draw: Random, depth: int = 0) -> Any:
    """Any value that msgpack knows."""
    plain = (None, True, -1, 0, 2**63, 1.5, "", "Foo", b"", b"\xff" * 9, draw.getrandbits(draw.choice((7, 31, 64))))
    if depth == 3 or draw.random() < 0.6:
        return draw.choice(plain)
    items = [random_value(draw, depth + 1) for _ in range(draw.randrange(4))]
    return items if draw.random() < 0.6 else {str(number): item for number, item in enumerate(items)}


def damaged(draw: Random, frame: bytes) -> bytes:
    """Flip, cut out or put in a few bytes."""
    data = bytearray(frame)
    for _ in range(draw.randrange(4)):
        at = draw.randrange(len(data) + 1)
        match draw.randrange(3):
            case 0:
                data[at : at + 1] = draw.randbytes(1)
            case 1:
                del data[at : at + draw.randint(1, 4)]
            case _:
                data[at:at] = draw.randbytes(draw.randint(1, 4))
    return bytes(data)


@pytest.mark.nightly
def test_a_damaged_frame_is_a_message_or_a_fault_of_the_peer(rounds: Rounds) -> None:
    outcomes = {"message": 0, "fault": 0}
    for seed in rounds:
        draw = Random(seed)
        for _ in range(200):
            fields = [draw.choice(TAGS), *(random_value(draw) for _ in range(draw.randrange(8)))]
            frame = damaged(draw, msgspec.msgpack.encode(fields))
            try:
                message = codec.decode(frame)
            except PeerFault:
                outcomes["fault"] += 1
            else:
                outcomes["message"] += 1
                assert codec.decode(codec.encode(message)) == message, (seed, frame)
    assert all(outcomes.values()), outcomes
