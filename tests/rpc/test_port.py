"""What a MessagePort needs beyond other transports: beats, credit, and its own way to say goodbye."""

from __future__ import annotations

import asyncio

import pytest

from asyncmachine.rpc.transport import HIGH_WATER, TransportClosed
from asyncmachine.rpc.transport.port import BEAT_INTERVAL, CREDIT_STEP, SILENT_BEATS, PortTransport
from tests.rpc.ports import FakePort, wires
from tests.rpc.time_loop import run

BEAT = b"\xc1\x00"


def test_an_idle_port_beats_and_lives() -> None:
    async def body() -> None:
        a, b = wires()
        near, far = PortTransport(a), PortTransport(b)
        await asyncio.sleep(BEAT_INTERVAL * 50)
        assert set(a.posted) == {BEAT}
        assert len(a.posted) in (49, 50)
        assert not near.closed
        await near.close()
        with pytest.raises(TransportClosed):
            await far.recv()

    run(body())


def test_a_port_that_says_something_does_not_beat() -> None:
    async def body() -> None:
        a, b = wires()
        near, far = PortTransport(a), PortTransport(b)
        for _ in range(20):
            await near.send(b"x")
            await asyncio.sleep(BEAT_INTERVAL / 2)
        assert BEAT not in a.posted
        await near.close()
        await far.close()

    run(body())


def test_a_port_whose_other_side_was_terminated_ends_after_ten_silent_beats() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        a, b = wires()
        near, far = PortTransport(a), PortTransport(b)
        b.silenced = True
        with pytest.raises(TransportClosed) as caught:
            await near.recv()
        assert caught.value.code == 1006
        assert loop.time() == BEAT_INTERVAL * (SILENT_BEATS + 1)
        assert not a.open
        await far.close()

    run(body())


async def test_who_terminates_the_other_side_says_so_itself() -> None:
    a, _ = wires()
    near = PortTransport(a)
    near.lost("worker browser3 was terminated")
    with pytest.raises(TransportClosed, match="browser3"):
        await near.recv()
    assert a.posted == []


async def test_a_goodbye_is_a_message_of_its_own() -> None:
    a, b = wires()
    near, far = PortTransport(a), PortTransport(b)
    await near.close(4409, "DUPLICATE: grüße")
    assert a.posted == [b"\xc1\x01" + (4409).to_bytes(2, "big") + "DUPLICATE: grüße".encode()]
    with pytest.raises(TransportClosed) as caught:
        await far.recv()
    assert (caught.value.code, caught.value.reason) == (4409, "DUPLICATE: grüße")
    assert not a.open
    assert not b.open


async def test_credit_is_given_for_what_was_read() -> None:
    a, b = wires()
    near, far = PortTransport(a), PortTransport(b)
    message = bytes(CREDIT_STEP)
    for _ in range(HIGH_WATER // CREDIT_STEP):
        await near.send(message)
    blocked = asyncio.create_task(near.send(message))
    await asyncio.sleep(0)
    assert not blocked.done()
    assert await far.recv() == message
    assert b.posted == [b"\xc1\x02" + CREDIT_STEP.to_bytes(4, "big")]
    await blocked
    await near.close()
    await far.close()


async def test_credit_is_given_for_what_was_handed_over_and_not_for_what_has_to_wait() -> None:
    a, b = wires()
    near, far = PortTransport(a), PortTransport(b)
    message, room, taken = bytes(CREDIT_STEP), False, 0

    def take(messages: list[bytes]) -> int:
        nonlocal taken
        taken += len(messages) if room else 0
        return len(messages) if room else 0

    far.deliver(take)
    assert near.send_now([message] * 2)
    for _ in range(5):
        await asyncio.sleep(0)
    assert b.posted == []
    room = True
    while taken < 2:
        await asyncio.sleep(0)
    assert b.posted == [b"\xc1\x02" + (2 * CREDIT_STEP).to_bytes(4, "big")]
    assert near.send_now([message])
    while taken < 3:
        await asyncio.sleep(0)
    assert b.posted[1:] == [b"\xc1\x02" + CREDIT_STEP.to_bytes(4, "big")]
    await near.close()
    await far.close()


async def test_nothing_is_posted_at_once_without_credit_or_after_the_end() -> None:
    a, b = wires()
    near, far = PortTransport(a), PortTransport(b)
    assert near.send_now([bytes(HIGH_WATER)])
    assert not near.send_now([b"more"])
    await far.recv()
    while not near.send_now([b"more"]):
        await asyncio.sleep(0)
    await near.close()
    assert not near.send_now([b"late"])
    assert [message for message in a.posted if message[:1] != b"\xc1"] == [bytes(HIGH_WATER), b"more"]
    assert await far.recv() == b"more"
    await far.close()


@pytest.mark.parametrize(
    ("posted", "code"),
    [
        (None, 1003),
        (b"\xc1", 1003),
        (b"\xc1\x09", 1003),
        (b"\xc1\x01", 1003),
        (b"\xc1\x02\x00", 1003),
        (bytes(1 << 21), 1009),
    ],
    ids=["no byte array", "half a control message", "unknown", "a close without code", "half a credit", "too large"],
)
async def test_anything_else_is_refused(posted: bytes | None, code: int) -> None:
    a, b = wires()
    near, far = PortTransport(a), PortTransport(b)
    FakePort.post(a, posted)
    for end in (far, near):
        with pytest.raises(TransportClosed) as caught:
            await end.recv()
        assert caught.value.code == code


async def test_a_message_cannot_look_like_a_control_message() -> None:
    a, _ = wires()
    near = PortTransport(a)
    with pytest.raises(ValueError, match="C1"):
        await near.send(b"\xc1\x00")
    await near.close()
