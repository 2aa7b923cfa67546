"""Golden frames: every message of v1 in hexadecimal. A change here is a change of the protocol."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from asyncmachine.rpc import messages as m
from asyncmachine.rpc.codec import decode, encode

GOLDEN: list[tuple[m.Message, str]] = [
    # [1, "amrpc", [1, 1], "rc-x"]: all that a client has to say
    (m.Hello("amrpc", (1, 1), "rc-x"), "9401a5616d727063920101a472632d78"),
    # … with token, schema hash, an earlier session, features and limits
    (
        m.Hello(
            "amrpc",
            (1, 2),
            "rc-x",
            "t",
            m.Sync(schema=True, hash=b"\x01\x02"),
            m.Resume(b"s1", 7, 300),
            ("zlib",),
            m.Limits(1048576, 16),
        ),
        "9901a5616d727063920102a472632d78a17492c3c402010293c402733107cd012c91a47a6c696292ce0010000010",
    ),
    # some of the states, by whether they are active
    (
        m.Hello("amrpc", (1, 1), "rc-x", "", m.Sync(False, b"", ("A",), ("B",), True)),
        "9601a5616d727063920101a472632d78a095c2c40091a14191a142c3",
    ),
    # the schema is known: no names, no schema
    (
        m.Welcome(1, b"s1", 7, 0, (), None, "src", None, None, b"\x01\x02", (0, 1, 4), 9, 0),
        "9e0201c4027331070090c0a3737263c0c0c4020102930001040900",
    ),
    (
        m.Welcome(
            1, b"s1", 7, 0, (), None, "src", ("A",), {"A": {}}, b"", (1,), 2, 0, m.GrantList(["A"], ["*"], []), True
        ),
        "dc00100201c4027331070090c0a373726391a14181a14180c400910102009391a14191a12a90c3",
    ),
    (m.Reject("BUSY", "later", 1.5), "9403a442555359a56c61746572cb3ff8000000000000"),
    (m.Reject("FORBIDDEN"), "9203a9464f5242494444454e"),
    (m.Ready(b"s1"), "9204c4027331"),
    (m.Ping(1), "920501"),
    (m.Ping(1, 0.0, 9), "940501cb000000000000000009"),
    (m.Pong(1, 2.0), "930601cb4000000000000000"),
    (m.Bye(), "9107"),
    (m.Bye("done", False), "9307a4646f6e65c2"),
    # [16, 1, [2]]: a mutation in six bytes
    (m.Add(1, (2,)), "9310019102"),
    (m.Add(1, (2, 300), {"a": 1}, m.Source("m", "t", 5)), "9510019202cd012c81a1610193a16da17405"),
    (m.Remove(2, (0,)), "9311029100"),
    (m.Set(3, ()), "93120390"),
    (m.AddUnanswered(4, (2,)), "9313049102"),
    # within a second, and with a trace
    (
        m.Add(1, (2,), None, None, 1000, bytes(25)),
        "9710019102c0c0cd03e8c419" + "00" * 25,
    ),
    (m.SyncRequest(4), "921404"),
    (m.WhenArgs(1, 2), "93160102"),
    (m.WhenArgs(1, 2, {"n": 1}), "9416010281a16e01"),
    (m.WhenCancel(1), "921701"),
    (m.WhenFired(1, 5), "93600105"),
    (m.WhenFired(1, 0, "NO_STATE"), "94600100a84e4f5f5354415445"),
    (m.Result(1), "923001"),
    (m.Result(1, 1), "93300101"),
    (m.Result(1, 0, 5, 1, 0, (2, 1), 0xDEADBEEF), "98300100050100920201cedeadbeef"),
    (m.Error(1, "NO_STATE"), "933101a84e4f5f5354415445"),
    (
        m.Error(0, "INTERNAL", "m", "ErrRpc", True, {"a": 1}),
        "973100a8494e5445524e414ca16da6457272527063c381a16101",
    ),
    (m.ClockPush(6, 1, 0, (0, 1, 4, 2), 0x01020304), "96400601009400010402ce01020304"),
    (m.Full(7, 4, (1, 2), 3, 0, 5), "97420704920102030005"),
    (m.Grown(8, 0, ("A", "B"), None, (1, 0), 3, 0, 5), "9943080092a141a142c0920100030005"),
    (
        m.Grown(8, 4, ("A", "B"), {"B": {"require": ["A"]}}, (1, 0), 3, 0, 5),
        "9943080492a141a14281a14281a77265717569726591a141920100030005",
    ),
    (m.Payload(b"tok", "name"), "9350c403746f6ba46e616d65"),
    (
        m.Payload(b"tok", "name", "src", "tx", "rc-x", {"r": 1}, b"\x00"),
        "9850c403746f6ba46e616d65a3737263a27478a472632d7881a17201c40100",
    ),
    (m.PayloadAck(b"tok"), "9252c403746f6b"),
    (m.PayloadNack(b"tok", "REFUSED", "no"), "9453c403746f6ba752454655534544a26e6f"),
]


@pytest.mark.parametrize(("message", "frame"), GOLDEN, ids=lambda value: str(value)[:40])
def test_golden(message: m.Message, frame: str) -> None:
    assert encode(message).hex() == frame
    assert decode(bytes.fromhex(frame)) == message


def test_every_message_has_a_golden_frame() -> None:
    assert {type(message) for message, _ in GOLDEN} == set(get_args(m.AnyMessage))


@pytest.mark.parametrize("kind", get_args(m.AnyMessage), ids=lambda kind: kind.__name__)
def test_fields_of_a_later_version_are_skipped(kind: type[m.Message]) -> None:
    message = next(found for found, _ in GOLDEN if type(found) is kind)
    fields: list[Any] = msgspec.msgpack.decode(msgspec.msgpack.encode(message))
    longer = msgspec.msgpack.encode([*fields, "new", {"field": 1}])
    assert decode(longer) == message


def test_optional_fields_at_the_end_are_left_out_and_only_those() -> None:
    assert len(encode(m.Result(1, 0, 0, 0, 0, (), 5))) > len(encode(m.Result(1)))
    assert decode(encode(m.Result(1, 0, 0, 0, 0, (), 5))) == m.Result(1, hash=5)
    assert encode(m.Payload(b"t", "n", data=False)) != encode(m.Payload(b"t", "n"))
    assert encode(m.Payload(b"t", "n", data=0)) != encode(m.Payload(b"t", "n", data=0.0))
