"""Frames: the golden ones, and what a later version may do to them."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from asyncmachine.rpc import messages as m
from asyncmachine.rpc.codec import decode, encode
from tests.rpc.golden import GOLDEN


@pytest.mark.parametrize(("message", "frame"), [found[:2] for found in GOLDEN], ids=lambda value: str(value)[:40])
def test_golden(message: m.Message, frame: str) -> None:
    assert encode(message).hex() == frame
    assert decode(bytes.fromhex(frame)) == message


def test_every_message_has_a_golden_frame() -> None:
    assert {type(message) for message, *_ in GOLDEN} == set(get_args(m.AnyMessage))


@pytest.mark.parametrize("kind", get_args(m.AnyMessage), ids=lambda kind: kind.__name__)
def test_fields_of_a_later_version_are_skipped(kind: type[m.Message]) -> None:
    message = next(found for found, *_ in GOLDEN if type(found) is kind)
    fields: list[Any] = msgspec.msgpack.decode(msgspec.msgpack.encode(message))
    longer = msgspec.msgpack.encode([*fields, "new", {"field": 1}])
    assert decode(longer) == message


def test_optional_fields_at_the_end_are_left_out_and_only_those() -> None:
    assert len(encode(m.Result(1, 0, 0, 0, 0, (), 5))) > len(encode(m.Result(1)))
    assert decode(encode(m.Result(1, 0, 0, 0, 0, (), 5))) == m.Result(1, hash=5)
    assert encode(m.Payload(b"t", "n", data=False)) != encode(m.Payload(b"t", "n"))
    assert encode(m.Payload(b"t", "n", data=0)) != encode(m.Payload(b"t", "n", data=0.0))
