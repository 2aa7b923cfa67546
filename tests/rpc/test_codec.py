"""Frames that are none: each is refused with a typed error, whatever it claims, and costs no memory."""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmachine.rpc import messages as m
from asyncmachine.rpc.codec import decode, encode
from asyncmachine.rpc.errors import Code, PeerFault, TickRange, TooLarge, Unsendable
from asyncmachine.rpc.transport import MAX_FRAME

BAD = {
    "empty": b"",
    "no array": b"\x05",
    "no kind": b"\x90",
    "unknown kind": b"\x92\x63\x01",
    "kind of a compressed frame": b"\x92\x90\xc4\x00",
    "a text as kind": b"\x92\xa3Add\x01",
    "too few fields": b"\x92\x10\x01",
    "a negative number": b"\x93\x10\xff\x90",
    "a text in place of a number": b"\x93\x10\xa11\x90",
    "rest after the end": b"\x92\x05\x01\x00",
    "cut": b"\x93\x10\x01",
    "wrong magic": encode(m.Hello("amrpc", (1, 1), "x")).replace(b"amrpc", b"amrpx"),
    "an id too long": b"\x94\x01\xa5amrpc\x92\x01\x01\xda\x01\x00" + b"x" * 256,
    "an empty id": b"\x94\x01\xa5amrpc\x92\x01\x01\xa0",
    "a claimed array of 2**32": b"\x93\x10\x01\xdd\xff\xff\xff\xff",
    "a claimed map of 2**32": b"\x94\x10\x01\x90\xdf\xff\xff\xff\xff",
    "claimed bytes of 2**32": b"\x92\x04\xc6\xff\xff\xff\xff",
    "not UTF-8": b"\x92\x03\xa2\xc3\x28",
    "nested without end": b"\x94\x10\x01\x90\x81\xa1a" + b"\x91" * 100_000,
    "an unknown extension": b"\x94\x10\x01\x90\x81\xa1a\xd4\x07\x00",
    "a time of 4 bytes": b"\x94\x10\x01\x90\x81\xa1a\xd6\x01\x00\x00\x00\x00",
    "an error that is none": b"\x94\x10\x01\x90\x81\xa1a\xd4\x02\xc0",
    "a record that is none": b"\x94\x10\x01\x90\x81\x00\xd4\x03\xc0",
}


@pytest.mark.parametrize("frame", BAD.values(), ids=BAD.keys())
def test_a_bad_frame_is_a_fault_of_the_peer(frame: bytes) -> None:
    with pytest.raises(PeerFault) as caught:
        decode(frame)
    assert caught.value.code == Code.BAD_FRAME
    assert caught.value.close == 4400


@pytest.mark.parametrize("name", ["a claimed array of 2**32", "a claimed map of 2**32", "claimed bytes of 2**32"])
def test_claimed_lengths_cost_nothing(name: str) -> None:
    tracemalloc.start()
    with pytest.raises(PeerFault):
        decode(BAD[name])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000


def test_a_frame_has_a_largest_size_both_ways() -> None:
    room = MAX_FRAME - len(encode(m.Payload(b"t", "n", data=b"x" * 100_000))) + 100_000
    assert len(encode(m.Payload(b"t", "n", data=b"x" * room))) == MAX_FRAME
    with pytest.raises(TooLarge, match="1048577 bytes"):
        encode(m.Payload(b"t", "n", data=b"x" * (room + 1)))
    with pytest.raises(PeerFault) as caught:
        decode(b"\xc4" * (MAX_FRAME + 1))
    assert (caught.value.code, caught.value.close) == (Code.TOO_LARGE, 1009)


def test_ticks_go_up_to_the_largest_number_of_the_wire() -> None:
    top = 2**64 - 1
    full = m.Full(1, 0, (2**53 + 1, top), top, 0, 0)
    assert decode(encode(full)) == full
    for beyond in (m.Full(1, 0, (top + 1,), 1, 0, 0), m.ClockPush(1, 0, 0, (0, top + 1), 0)):
        with pytest.raises(TickRange, match=r"2\*\*64-1"):
            encode(beyond)


def test_texts_that_are_not_unicode_are_not_sent() -> None:
    with pytest.raises(Unsendable):
        encode(m.Bye("\ud800"))


@given(st.binary(max_size=200))
def test_bytes_at_random_are_a_message_or_a_fault(frame: bytes) -> None:
    try:
        decode(frame)
    except PeerFault:
        pass


_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(_plain, max_size=9), st.integers(0, 255))
def test_arrays_at_random_are_a_message_or_a_fault(fields: list[object], kind: int) -> None:
    try:
        frame = msgspec.msgpack.encode([kind, *fields])
    except UnicodeEncodeError:
        return
    try:
        message = decode(frame)
    except PeerFault:
        return
    assert decode(encode(message)) == message or "nan" in repr(message)
