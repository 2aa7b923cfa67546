"""Framings, schema hashes and seals are those of the golden bytes, in both directions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

import asyncmachine as am
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.clock import Clock, checksum, key, seal
from asyncmachine.rpc.codec import encode
from asyncmachine.rpc.schemas import schema_given
from asyncmachine.rpc.transport import Transport, TransportClosed, channel, tcp
from asyncmachine.rpc.transport.many import Many, ManyLimits
from asyncmachine.rpc.transport.many_frames import INITIAL
from asyncmachine.rpc.transport.memory import pair
from asyncmachine.rpc.transport.port import CREDIT_STEP, PortTransport
from tests.rpc.golden_bytes import CHANNEL, CLOCKS, KEYS, MANY, PORT, SCHEMAS, SOCKET, GoldenClock, GoldenSchema
from tests.rpc.ports import wires
from tests.rpc.test_channel import Air, Ear
from tests.rpc.time_loop import run

BYE = encode(m.Bye())


def golden(found: tuple[str, str]) -> bytes:
    return bytes.fromhex(found[0])


async def end_of(transport: Transport) -> tuple[int, str]:
    with pytest.raises(TransportClosed) as caught:
        await transport.recv()
    return caught.value.code, caught.value.reason


# Sockets


@asynccontextmanager
async def socket() -> AsyncIterator[tuple[Transport, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A transport, and the plain socket at its other end."""
    listener = await tcp.listen()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(listener.address.rpartition(":")[2]))
    yield await listener.accept(), reader, writer
    writer.close()
    await listener.close()


@pytest.mark.parametrize(
    ("goodbye", "code", "reason"), [(SOCKET["goodbye"], 4409, "BUSY: later"), (SOCKET["bare"], 1000, "")]
)
async def test_a_socket_carries_frames_and_a_goodbye(goodbye: tuple[str, str], code: int, reason: str) -> None:
    async with socket() as (near, reader, writer):
        writer.write(golden(SOCKET["frame"]) + golden(goodbye))
        assert await near.recv() == BYE
        assert await end_of(near) == (code, reason)
        assert await reader.read() == b""  # a goodbye is not answered
    async with socket() as (near, reader, writer):
        await near.send(BYE)
        closing = asyncio.create_task(near.close(code, reason))
        assert await reader.read() == golden(SOCKET["frame"]) + golden(goodbye)
        writer.close()
        await closing


async def test_a_length_of_0_ends_a_socket() -> None:
    async with socket() as (near, reader, writer):
        writer.write(golden(SOCKET["empty"]))
        assert await reader.read() == golden(SOCKET["refused"])
        assert await end_of(near) == (1009, "a message of 0 bytes")


# Ports


async def test_a_port_carries_frames_credit_and_a_goodbye() -> None:
    a, b = wires()
    near, far = PortTransport(a), PortTransport(b)
    await near.send(BYE)
    assert await far.recv() == BYE
    await near.send(bytes(CREDIT_STEP - len(BYE)))
    await far.recv()
    await near.close(4409, "BUSY: later")
    assert await end_of(far) == (4409, "BUSY: later")
    assert (a.posted[0], a.posted[2]) == (golden(PORT["frame"]), golden(PORT["goodbye"]))
    assert b.posted == [golden(PORT["credit"])]


def test_a_port_beats() -> None:
    async def body() -> None:
        a, b = wires()
        near, far = PortTransport(a), PortTransport(b)
        await asyncio.sleep(11)
        assert a.posted == b.posted == [golden(PORT["beat"])]
        await near.close()
        await end_of(far)

    run(body())


# Pages of one origin


class Heard(Ear):
    """A page's end of a BroadcastChannel, and what it has posted."""

    def __init__(self, air: Air) -> None:
        super().__init__(air)
        air.ears.append(self)
        self.posted: list[bytes] = []

    def post(self, message: bytes) -> None:
        self.posted.append(message)
        super().post(message)


def test_pages_talk_over_a_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [bytes(8), bytes(8), golden(CHANNEL["leads"])[1:], golden(CHANNEL["call"])[1:]]
    monkeypatch.setattr(channel, "token_bytes", lambda _: names.pop(0))

    async def body() -> None:
        air, taken = Air(), list[Transport]()
        first, second = Heard(air), Heard(air)
        leader, page = channel.Channel(first), channel.Channel(second)
        leader.lead(taken.append)
        await asyncio.sleep(0)  # a page that had called already would call again
        pipe = await page.dial()
        await pipe.send(BYE)
        await asyncio.sleep(11)
        page.close()
        leader.resign()
        assert first.posted == [golden(CHANNEL[name]) for name in ("leads", "taken", "down", "resigns")]
        assert second.posted == [golden(CHANNEL[name]) for name in ("call", "up", "left")]
        leader.close()

    run(body())


# Many connections in one


async def test_a_carrier_carries_frames_of_its_connections() -> None:
    near, plain = pair()
    async with Many(near, dialled=True, limits=ManyLimits(window=2 * INITIAL)) as many:
        connection = many.open()
        assert [await plain.recv() for _ in range(2)] == [golden(MANY["open"]), golden(MANY["window"])]
        await connection.send(BYE)
        assert await plain.recv() == golden(MANY["data"])
        connection.finish()
        assert await plain.recv() == golden(MANY["finish"])
        await connection.close(4429, "LIMIT")
        assert await plain.recv() == golden(MANY["reset"])
        many.go_away(8)
        assert await plain.recv() == golden(MANY["goaway"])


@pytest.mark.parametrize(("end", "code", "reason"), [("finish", 1000, ""), ("reset", 4429, "LIMIT")])
async def test_a_carrier_takes_frames_of_its_connections(end: str, code: int, reason: str) -> None:
    plain, far = pair()
    async with Many(far, dialled=False, limits=ManyLimits(window=INITIAL)) as many:
        for name in ("open", "window", "part", "data", end, "goaway"):
            await plain.send(golden(MANY[name]))
        connection = await many.accept()
        assert await connection.recv() == b"\x93" + BYE
        assert await end_of(connection) == (code, reason)
        assert await many.going_away() == 8


# Hashes


@pytest.mark.parametrize("found", SCHEMAS, ids=lambda found: found.hash)
@pytest.mark.parametrize(
    "schema",
    [schema_given, lambda given: am.Machine(given).schema],
    ids=["of a client", "of a source"],
)
def test_a_schema_has_its_text_and_its_hash(schema: Callable[..., am.Schema], found: GoldenSchema) -> None:
    made = schema(found.given)
    assert made.canonical == found.canonical
    assert made.hash == found.hash


@pytest.mark.parametrize("found", CLOCKS, ids=lambda found: str(found.seq))
def test_a_clock_has_its_sum_and_its_seal(found: GoldenClock) -> None:
    assert tuple(map(key, range(len(KEYS)))) == KEYS
    total = checksum(Clock(found.ticks, found.queue_tick, found.machine_tick))
    assert (total, seal(total, found.seq)) == (found.sum, found.seal)
