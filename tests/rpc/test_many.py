"""Many connections inside of one: none stops another, none takes more than its share, and each ends for itself."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from itertools import chain, cycle, islice, repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.transport import TransportClosed
from asyncmachine.rpc.transport.many import Many, ManyConnection, ManyLimits
from asyncmachine.rpc.transport.many_frames import (
    CHUNK,
    COST,
    DATA,
    FINISH,
    GOAWAY,
    HEAD,
    INITIAL,
    OPEN,
    PART,
    RESET,
    WINDOW,
)
from asyncmachine.rpc.transport.memory import MemoryTransport, pair

MIB = 1 << 20


@asynccontextmanager
async def both(limits: ManyLimits | None = None) -> AsyncIterator[tuple[Many, Many]]:
    """The two sides; the first one dialled."""
    near, far = pair()
    async with Many(near, dialled=True, limits=limits) as one, Many(far, dialled=False, limits=limits) as two:
        yield one, two


@asynccontextmanager
async def stranger(limits: ManyLimits | None = None) -> AsyncIterator[tuple[MemoryTransport, Many]]:
    """A carrier on which the test writes frames itself, and the side that receives them."""
    near, far = pair()
    async with Many(far, dialled=False, limits=limits) as many:
        yield near, many


def frame(kind: int, number: int, payload: bytes = b"") -> bytes:
    return HEAD.pack(kind, number) + payload


async def end_of(connection: ManyConnection) -> tuple[int, str]:
    while True:
        try:
            await connection.recv()
        except TransportClosed as ended:
            return ended.code, ended.reason


async def ending(carrier: MemoryTransport) -> tuple[int, str]:
    while True:
        try:
            await carrier.recv()
        except TransportClosed as ended:
            return ended.code, ended.reason


async def test_connections_of_both_sides_carry_messages_whole_and_in_order() -> None:
    async with both() as (one, two):
        out, back = one.open(), two.open()
        sizes = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, MIB]
        messages = [os.urandom(size) for size in sizes]

        async def send() -> None:
            for message in messages:
                await out.send(message)

        sending = asyncio.create_task(send())
        await back.send(b"hello")
        arrived = await two.accept()
        assert [await arrived.recv() for _ in sizes] == messages
        assert await (await one.accept()).recv() == b"hello"
        await sending


async def test_numbers_tell_the_sides_apart() -> None:
    async with both() as (one, two):
        assert [one.open()._number for _ in range(3)] == [1, 3, 5]
        assert [two.open()._number for _ in range(3)] == [2, 4, 6]


async def test_one_that_is_not_read_does_not_stop_another() -> None:
    async with both() as (one, two):
        stuck, free = one.open(), one.open()

        async def flood() -> None:
            while True:
                await stuck.send(bytes(1000))

        flooding = asyncio.create_task(flood())
        unread, read = await two.accept(), await two.accept()
        for number in range(100):
            await free.send(bytes([number]) * 5000)
            assert await read.recv() == bytes([number]) * 5000
        waiting = two.statistics.waiting
        assert waiting <= two.limits.window + CHUNK
        for _ in range(100):
            await free.send(b"x")
            await read.recv()
        assert two.statistics.waiting == waiting  # it stands still
        assert await unread.recv() == bytes(1000)
        flooding.cancel()


async def test_empty_messages_are_not_free() -> None:
    async with both() as (one, two):
        out = one.open()
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                await out.send(b"")
                sent += 1

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await flood()
        assert sent <= (two.limits.window + CHUNK) // COST + 1


async def test_half_of_a_connection_can_end() -> None:
    async with both() as (one, two):
        near = one.open()
        await near.send(b"question")
        near.finish()
        assert near.closed
        with pytest.raises(TransportClosed):
            await near.send(b"more")
        far = await two.accept()
        assert await far.recv() == b"question"
        assert await end_of(far) == (1000, "")
        assert not far.closed
        await far.send(b"answer")
        far.finish()
        assert await near.recv() == b"answer"
        assert await end_of(near) == (1000, "")
        assert (one.statistics.open, two.statistics.open) == (0, 0)


async def test_a_close_tells_why_and_what_was_sent_before_is_read() -> None:
    async with both() as (one, two):
        near = one.open()
        await near.send(b"last")
        await near.close(4403, "FORBIDDEN: " + "x" * 300)
        far = await two.accept()
        assert await far.recv() == b"last"
        code, reason = await end_of(far)
        assert (code, len(reason)) == (4403, 123)
        assert far.closed
        with pytest.raises(TransportClosed):
            await far.send(b"x")
        await near.close()
        assert (one.statistics.open, two.statistics.open) == (0, 0)


async def test_a_reason_that_is_no_unicode_is_told_as_far_as_it_is() -> None:
    async with both() as (one, two):
        near = one.open()
        await near.close(4403, "no file \udcff")
        assert await end_of(await two.accept()) == (4403, "no file ?")


async def test_closing_one_wakes_its_writer_and_leaves_the_others_alone() -> None:
    async with both() as (one, two):
        stuck, other = one.open(), one.open()
        sending = asyncio.create_task(flood_until_closed(stuck))
        far, far_other = await two.accept(), await two.accept()
        await far.close(1011, "broken")
        assert (await sending).code == 1011
        await other.send(b"x")
        assert await far_other.recv() == b"x"


async def flood_until_closed(connection: ManyConnection) -> TransportClosed:
    try:
        while True:
            await connection.send(bytes(10_000))
    except TransportClosed as ended:
        return ended


async def test_the_end_of_the_carrier_is_the_end_of_all() -> None:
    near, far = pair()
    async with Many(near, dialled=True) as one, Many(far, dialled=False) as two:
        connections = [one.open(), one.open()]
        for each in connections:
            await each.send(b"x")
        arrived = [await two.accept(), await two.accept()]
        near.cut()
        assert [await end_of(each) for each in (*connections, *arrived)] == [(1006, "connection lost")] * 4
        assert one.closed
        for waiting in (two.accept(), two.going_away()):
            with pytest.raises(TransportClosed):
                await waiting
        with pytest.raises(TransportClosed):
            one.open()


async def test_there_are_only_so_many() -> None:
    async with both(ManyLimits(connections=2)) as (one, two):
        first, second = one.open(), one.open()
        with pytest.raises(TransportClosed, match="2 connections are open"):
            one.open()
        await first.close()
        for each in (second, one.open()):
            await each.send(b"x")
        assert await end_of(await two.accept()) == (1000, "")
        assert [await (await two.accept()).recv() for _ in range(2)] == [b"x", b"x"]


async def test_one_too_many_is_refused_and_the_others_stay() -> None:
    async with stranger(ManyLimits(connections=1)) as (carrier, many):
        for number in (1, 3):
            await carrier.send(frame(OPEN, number))
        await carrier.send(frame(DATA, 3, b"early"))
        await carrier.send(frame(DATA, 1, b"fine"))
        assert await (await many.accept()).recv() == b"fine"
        told = [await carrier.recv(), await carrier.recv()]
        assert told[0] == frame(WINDOW, 1, (many.limits.window - INITIAL).to_bytes(4, "big"))
        assert told[1] == frame(RESET, 3, (4429).to_bytes(2, "big") + b"LIMIT: close another connection first")


async def test_goaway_says_how_long() -> None:
    async with both() as (one, two):
        two.go_away(8)
        assert await one.going_away() == 8


BAD = [
    b"",
    b"\x01\x00\x00",
    frame(0, 1),
    frame(9, 1),
    frame(OPEN, 0),
    frame(OPEN, 2),  # the receiver's own kind of number
    frame(OPEN, 1, b"x"),
    frame(OPEN, 3) + b"",
    frame(DATA, 5, b"x"),
    frame(WINDOW, 7, bytes(4)),
    frame(DATA, 2, b"x"),
    frame(GOAWAY, 1, bytes(4)),
    frame(GOAWAY, 0, b""),
    frame(WINDOW, 3, b"x"),
    frame(FINISH, 3, b"x"),
    frame(RESET, 3, b"x"),
    frame(DATA, 3, bytes(CHUNK + 1)),
]


@pytest.mark.parametrize("bad", [each for each in BAD if each != frame(OPEN, 3)])
async def test_what_is_not_allowed_ends_the_carrier(bad: bytes) -> None:
    async with stranger() as (carrier, many):
        await carrier.send(frame(OPEN, 3))
        await carrier.send(bad)
        code, reason = await ending(carrier)
        assert (code, reason.partition(":")[0]) == (4400, "BAD_FRAME")
        assert many.closed


async def test_a_number_is_used_once() -> None:
    async with stranger() as (carrier, _):
        for each in (frame(OPEN, 3), frame(RESET, 3, b"\x03\xe8"), frame(DATA, 3, b"crossed"), frame(OPEN, 1)):
            await carrier.send(each)
        assert (await ending(carrier))[0] == 4400


async def pour(carrier: MemoryTransport, frames: Iterable[bytes]) -> int:
    """Sends until the other side has had enough; returns how many bytes of payload that were."""
    sent = 0
    try:
        for each in frames:
            await carrier.send(each)
            sent += len(each) - HEAD.size
            await asyncio.sleep(0)
    except TransportClosed:
        return sent
    raise AssertionError("the other side takes everything")


@pytest.mark.parametrize("last", [0, 1, CHUNK])
async def test_large_messages_that_nobody_reads_are_bounded_however_they_are_cut(last: int) -> None:
    async with stranger() as (carrier, many):
        parts = [frame(PART, 1, bytes(CHUNK))] * (MIB // CHUNK - 1)
        message = [*parts, frame(DATA, 1, bytes(last))]
        await carrier.send(frame(OPEN, 1))
        connection = await many.accept()
        await pour(carrier, cycle(message))
        assert connection._inbox.size <= MIB + many.limits.window + 2 * CHUNK


async def test_large_messages_that_are_read_pass_one_after_the_other() -> None:
    async with both() as (one, two):
        out = one.open()

        async def send() -> None:
            for number in range(5):
                await out.send(bytes([number]) * MIB)

        sending = asyncio.create_task(send())
        arrived = await two.accept()
        for number in range(5):
            assert await arrived.recv() == bytes([number]) * MIB
            await asyncio.sleep(0)
        await sending


async def test_more_than_the_window_ends_the_carrier() -> None:
    async with stranger() as (carrier, many):
        sent = await pour(carrier, chain([frame(OPEN, 1)], repeat(frame(DATA, 1, bytes(CHUNK)), 1000)))
        assert sent <= many.limits.window + 5 * CHUNK


async def test_a_message_that_is_never_finished_is_bounded() -> None:
    async with stranger() as (carrier, many):
        sent = await pour(carrier, chain([frame(OPEN, 1)], repeat(frame(PART, 1, bytes(CHUNK)), 1000)))
        assert sent <= many.limits.message + 5 * CHUNK
        assert many._assembling == 0


async def test_many_that_are_never_finished_are_bounded_together() -> None:
    async with stranger(ManyLimits(assembling=2 * MIB)) as (carrier, many):
        opens = [frame(OPEN, number) for number in range(1, 16, 2)]
        parts = cycle([frame(PART, number, bytes(CHUNK)) for number in range(1, 16, 2)])
        assert await pour(carrier, islice(chain(opens, parts), 1000)) <= 2 * MIB + 5 * CHUNK
        assert many._assembling == 0


async def test_empty_parts_end_too() -> None:
    async with stranger() as (carrier, _):
        await pour(carrier, chain([frame(OPEN, 1)], repeat(frame(PART, 1), 100_000)))


class Full:
    """A carrier whose other side takes nothing until `takes` is set."""

    def __init__(self, inner: MemoryTransport) -> None:
        self.peer, self.recv, self.close = inner.peer, inner.recv, inner.close
        self.closed = False
        self.takes = asyncio.Event()
        self._inner = inner

    async def send(self, data: bytes) -> None:
        await self.takes.wait()
        await self._inner.send(data)


async def test_who_makes_the_other_talk_has_to_listen() -> None:
    """A flood of OPENs, each of which is refused, while nobody reads the refusals."""
    near, far = pair()
    async with Many(Full(far), dialled=False, limits=ManyLimits(connections=1)) as many:
        await pour(near, [frame(OPEN, number) for number in range(1, 10_000, 2)])
        assert len(many._control) < 1000


async def test_what_is_given_back_is_told_once_while_the_other_side_takes_nothing() -> None:
    near, far = pair()
    full, limits = Full(far), ManyLimits(window=INITIAL)
    async with Many(full, dialled=False, limits=limits) as many:
        await near.send(frame(OPEN, 1))
        connection = await many.accept()
        many.go_away(1)  # what is being told: the rest waits behind it
        for _ in range(3):
            await near.send(frame(DATA, 1, bytes(INITIAL // 4)))
            await connection.recv()
        assert len(many._control) <= 2
        full.takes.set()
        assert await near.recv() == frame(GOAWAY, 0, (1000).to_bytes(4, "big"))
        assert await near.recv() == frame(WINDOW, 1, (3 * (INITIAL // 4 + COST)).to_bytes(4, "big"))
        for _ in range(2):
            await near.send(frame(DATA, 1, bytes(INITIAL // 4)))
            await connection.recv()
            assert await near.recv() == frame(WINDOW, 1, (INITIAL // 4 + COST).to_bytes(4, "big"))


async def test_what_was_not_told_may_not_be_used() -> None:
    """A flood of data that is read at once, by a peer that does not read what it is told."""
    near, far = pair()
    async with Many(Full(far), dialled=False) as many:
        await near.send(frame(OPEN, 1))
        connection = await many.accept()
        ended = asyncio.create_task(end_of(connection))
        sent = await pour(near, repeat(frame(DATA, 1, bytes(CHUNK)), 1000))
        assert sent <= 2 * many.limits.window + 5 * CHUNK
        assert await ended == (4400, "BAD_FRAME: more data than its window")
        assert len(many._control) < 5


async def test_no_more_are_opened_to_one_that_takes_nothing() -> None:
    _, far = pair()
    async with Many(Full(far), dialled=True, limits=ManyLimits(connections=1)) as many:
        for _ in range(40):
            if not many._is_not_heard:
                await many.open().close()
        with pytest.raises(TransportClosed, match="takes nothing"):
            many.open()


async def test_a_message_that_is_cancelled_in_the_middle_ends_its_connection() -> None:
    near, far = pair()
    async with Many(near, dialled=True) as one:
        connection = one.open()
        sending = asyncio.create_task(connection.send(bytes(MIB)))
        frames = [await far.recv() for _ in range(4)]
        assert [HEAD.unpack_from(each)[0] for each in frames] == [OPEN, WINDOW, PART, PART]
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert HEAD.unpack_from(await far.recv()) == (RESET, 1)
        with pytest.raises(TransportClosed):
            await connection.send(b"x")


async def test_machines_over_connections_of_one_carrier() -> None:
    class Counter(rpc.StateSource):
        Clicked = am.state(multi=True)

    async with both() as (one, two):
        sources = [am.Machine(Counter, id=f"source{number}") for number in range(3)]
        servers = [rpc.Server(source, source.id, push_interval=0) for source in sources]
        clients = [rpc.Client.over(one.open(), Counter, id=f"client{number}") for number in range(3)]
        for client in clients:
            client.start()
        serving = [asyncio.create_task(server.serve(await two.accept())) for server in servers]
        for number, client in enumerate(clients):
            await client.when_ready()
            for _ in range(number + 1):
                await client.netmach.add(Counter.Clicked)
        assert sorted(source.tick(Counter.Clicked) for source in sources) == [1, 3, 5]
        for client in clients:
            await client.stop()
        for each in serving:
            await each
        for server in servers:
            await server.stop()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.builds(
                frame,
                st.integers(0, 9),
                st.integers(0, 6),
                st.one_of(st.binary(max_size=8), st.just(bytes(4)), st.just(b"\x03\xe8")),
            ),
        ),
        max_size=40,
    )
)
async def test_whatever_comes_it_goes_on_or_ends_with_a_reason(frames: list[bytes]) -> None:
    async with stranger(ManyLimits(connections=2)) as (carrier, many):
        with suppress(TransportClosed):
            for each in frames:
                await carrier.send(each)
                await asyncio.sleep(0)
        assert len(many._open) <= 2
        assert many._ended is None or many._ended.code == 4400


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3 * CHUNK)), max_size=30))
async def test_each_connection_has_its_own_order(plan: list[tuple[int, int]]) -> None:
    async with both() as (one, two):
        outs = [one.open() for _ in range(4)]
        ins = [await two.accept() for _ in range(4)]

        async def send(which: int) -> None:
            for number, (target, size) in enumerate(plan):
                if target == which:
                    await outs[which].send(number.to_bytes(2, "big") + bytes(size))
            outs[which].finish()

        async def receive(which: int) -> list[tuple[int, int]]:
            found = []
            with suppress(TransportClosed):
                while True:
                    message = await ins[which].recv()
                    found.append((int.from_bytes(message[:2], "big"), len(message) - 2))
            return found

        sending = [asyncio.create_task(send(which)) for which in range(4)]
        for which in range(4):
            expected = [(number, size) for number, (target, size) in enumerate(plan) if target == which]
            assert await receive(which) == expected
        for each in sending:
            await each
