"""Frames of the debug stream: what is a message, what is not, and what either costs."""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmachine.telemetry.dbg import messages as m
from asyncmachine.telemetry.dbg.codec import MAX_FRAME, MAX_MESSAGE, decode, encode
from asyncmachine.telemetry.dbg.errors import FRAME_TOO_LARGE, StreamFault, Unsendable
from tests.rounds import Rounds
from tests.telemetry.messages import a_batch, a_machine, messages


@given(messages)
def test_every_message_comes_back_equal(message: m.AnyMessage) -> None:
    assert decode(encode(message)) == message


def test_the_frames_of_version_1() -> None:
    """Nothing may move: recorded files hold these bytes."""
    assert encode(m.Hello("amdbg", 1, "s")).hex(" ") == "94 01 a5 61 6d 64 62 67 01 a1 73"
    machine = a_machine(3, rules=(m.Rule(2), m.Rule(0, ("S0",))))
    assert encode(machine).hex(" ") == "98 02 03 a1 6d 92 a2 53 30 a2 53 31 92 91 02 92 00 91 a2 53 30 92 00 00 01 05"
    batch = a_batch(3, count=2, details={1: m.Detail("id", 4)})
    assert encode(batch).hex(" ") == (
        "9a 03 03 01 0a 02 91 93 08 91 01 92 01 01 92 00 00 92 00 07 92 00 01 "
        "81 01 9c a2 69 64 04 00 c0 80 c0 90 90 90 00 00 a0"
    )
    assert encode(m.Gap(3, 9, 5, (1, 2), 6)).hex(" ") == "96 05 03 09 05 92 01 02 06"
    assert encode(m.Log(3, 7, (m.Line(3, "x"),))).hex(" ") == "94 04 03 07 91 93 03 a1 78 c0"
    assert decode(bytes.fromhex("94 04 03 07 91 92 03 a1 78")) == m.Log(3, 7, (m.Line(3, "x"),)), (
        "before entries had a sem"
    )
    said = m.Sem("ctx", "new", ("A",), (2,), ("n",))
    assert encode(m.Log(3, 7, (m.Line(3, "x", said),))).hex(" ") == (
        "94 04 03 07 91 93 03 a1 78 95 a3 63 74 78 a3 6e 65 77 91 a1 41 91 02 91 a1 6e"
    )
    assert encode(m.Pipes(3, 7, (m.Pipe(3, "A", "n"),))).hex(" ") == "94 06 03 07 91 93 03 a1 41 a1 6e"
    assert encode(m.Gone(3, 7)).hex(" ") == "93 07 03 07"
    assert encode(m.Bye()).hex(" ") == "91 08"
    assert encode(m.Forwarded("c", 7, b"x")).hex(" ") == "94 09 a1 63 07 c4 01 78"


def test_what_a_later_version_appends_is_skipped() -> None:
    fields = msgspec.msgpack.decode(encode(m.Gone(3, 7)))
    assert decode(msgspec.msgpack.encode([*fields, "more", {"of": "it"}])) == m.Gone(3, 7)


BAD = {
    "nothing": b"",
    "no array": b"\xa1x",
    "an unknown kind": b"\x91\x63",
    "a kind alone": b"\x91\x03",
    "rest after the end": b"\x91\x08\x00",
    "cut": encode(a_batch())[:-1],
    "another magic": encode(m.Hello("amdbg", 1, "s")).replace(b"amdbg", b"amrpc"),
    "a negative number": b"\x93\x07\xff\x07",
    "a text in place of a number": b"\x93\x07\xa1x\x07",
    "a number of a machine too many": msgspec.msgpack.encode([7, m.MOST_MACHINES, 1]),
    "an empty id": b"\x94\x01\xa5amdbg\x01\xa0",
    "an id too long": msgspec.msgpack.encode([1, "amdbg", 1, "x" * 256]),
    "a level that there is not": msgspec.msgpack.encode([4, 0, 1, [[6, "x"]]]),
    "too many lines": msgspec.msgpack.encode([4, 0, 1, [[0]] * 1001]),
    "unknown flags": msgspec.msgpack.encode([3, 0, 1, 0, 0, [[128]], [0], [0], [0]]),
    "no shape": msgspec.msgpack.encode([3, 0, 1, 0, 0, [], [0], [0], [0]]),
    "claimed columns of 2**32": b"\x99\x03\x00\x01\x00\x00\x91\x91\x08\xdd\xff\xff\xff\xff",
    "claimed details of 2**32": b"\x9a\x03\x00\x01\x00\x00\x91\x91\x08\x90\x90\x90\xdf\xff\xff\xff\xff",
    "claimed bytes of 2**32": b"\x94\x09\xa1c\x00\xc6\xff\xff\xff\xff",
    "not UTF-8": b"\x94\x01\xa5amdbg\x01\xa2\xc3\x28",
    "nested without end": b"\x94\x04\x00\x00" + b"\x91" * 100_000,
    "an extension": b"\x93\x07\xd4\x07\x00\x07",
    "a float": msgspec.msgpack.encode([7, 0, 1.5]),
}


@pytest.mark.parametrize("frame", BAD.values(), ids=BAD.keys())
def test_a_bad_frame_is_a_fault_of_the_sender(frame: bytes) -> None:
    with pytest.raises(StreamFault) as caught:
        decode(frame)
    assert caught.value.close == 4400


@pytest.mark.parametrize("name", [name for name in BAD if "claimed" in name])
def test_claimed_lengths_cost_nothing(name: str) -> None:
    tracemalloc.start()
    with pytest.raises(StreamFault):
        decode(BAD[name])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000


def test_a_small_frame_does_not_become_a_large_message() -> None:
    """The worst that one frame can be: many details of nothing. Limits of length keep it at a few megabytes."""
    many = {at: m.Detail() for at in range(m.MOST_RECORDS)}
    frame = encode(a_batch(count=m.MOST_RECORDS, details=many))
    tracemalloc.start()
    message = decode(frame)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(message, m.Transitions)
    assert kept < 8_000_000


def test_a_frame_has_a_largest_size_both_ways() -> None:
    with pytest.raises(StreamFault) as caught:
        decode(b"\x91" * (MAX_FRAME + 1))
    assert caught.value.close == FRAME_TOO_LARGE
    lines = (m.Line(1, "x" * m.TEXT_LENGTH),) * 63
    room = MAX_MESSAGE - len(encode(m.Log(0, 0, (*lines, m.Line(1, "x" * 300))))) + 300
    assert len(encode(m.Log(0, 0, (*lines, m.Line(1, "x" * room))))) == MAX_MESSAGE
    with pytest.raises(Unsendable, match="Log takes"):
        encode(m.Log(0, 0, (*lines, m.Line(1, "x" * (room + 1)))))


def test_a_forwarded_frame_has_room_for_its_envelope() -> None:
    assert len(encode(m.Forwarded("1" * 100, 2**63, b"x" * MAX_MESSAGE))) <= MAX_FRAME


@pytest.mark.parametrize("states", [1, 300, 4096])
@pytest.mark.parametrize("tick", [0, 2**40])
def test_a_machine_that_is_taken_can_always_be_told_on(states: int, tick: int) -> None:
    """Whatever its ticks grow to, its description never becomes too large."""

    def frame(tick: int, padding: int) -> bytes:
        rules = (m.Rule(0, ("x" * 255,) * (padding // 255), ("y" * (padding % 255),)), *(m.Rule(),) * (states - 1))
        return encode(a_machine(states=states, time=(tick,) * states, rules=rules))

    low, high = 0, 4095 * 255
    while low < high:
        middle = (low + high + 1) // 2
        try:
            frame(tick, middle)
            low = middle
        except Unsendable:
            high = middle - 1
    assert low < 4095 * 255
    for other in (0, 200, 2**32, 2**64 - 1):
        decode(frame(other, low))
        with pytest.raises(Unsendable):
            frame(other, low + 10)


def test_what_msgpack_lacks_is_not_sent() -> None:
    with pytest.raises(Unsendable, match="Gone"):
        encode(m.Gone(0, 2**64))
    with pytest.raises(Unsendable):
        encode(m.Log(0, 0, (m.Line(1, "\ud800"),)))


@given(st.binary(max_size=200))
def test_bytes_at_random_are_a_message_or_a_fault(frame: bytes) -> None:
    try:
        decode(frame)
    except StreamFault:
        pass


@given(messages, st.data())
def test_damaged_frames_are_messages_or_faults(message: m.AnyMessage, data: st.DataObject) -> None:
    frame = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(frame)))
        frame[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    try:
        found = decode(bytes(frame))
    except StreamFault:
        return
    assert decode(encode(found)) == found


@pytest.mark.nightly
def test_many_damaged_frames(rounds: Rounds) -> None:
    from random import Random

    outcomes = {"message": 0, "fault": 0}
    good = [encode(a_machine(states=4)), encode(a_batch(count=9, details={2: m.Detail("id", args={"a": "b"})}))]
    for seed in rounds:
        draw = Random(seed)
        for _ in range(500):
            frame = bytearray(draw.choice(good))
            for _ in range(draw.randint(1, 4)):
                at = draw.randrange(len(frame) + 1)
                frame[at : at + draw.randrange(3)] = draw.randbytes(draw.randrange(3))
            try:
                found = decode(bytes(frame))
            except StreamFault:
                outcomes["fault"] += 1
            else:
                outcomes["message"] += 1
                assert decode(encode(found)) == found, (seed, frame)
    assert all(outcomes.values()), outcomes
