"""What goes over an open tunnel: which frames are taken, how much is held, how long one may be silent."""

from __future__ import annotations

import asyncio
import hashlib
import os
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncmachine.rpc.errors import TooLarge
from asyncmachine.rpc.transport import TransportClosed
from asyncmachine_relay import Limits, Match, RelayStates, Tunnel
from asyncmachine_relay.websocket import WebSocketTransport
from tests.relay.support import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    QUICK,
    TEXT,
    Held,
    RawSocket,
    Running,
    end_of,
    ending,
    http,
    opened,
    running,
)

MIB = 1 << 20


async def test_a_text_frame_ends_the_tunnel() -> None:
    held = Held()
    async with running(dial=[held.match]) as run, opened(run) as page:
        tunnel = await held.tunnels.get()
        await page.send("text")
        assert await ending(page) == (1003, "TEXT")
        assert (await end_of(tunnel)).code == 1003
        await run.relay.machine.when(RelayStates.Exception)
        assert "text frames are not taken" in str(run.relay.machine.err)


async def test_a_text_frame_that_is_no_text_is_just_a_text_frame(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as run, RawSocket.opened(run) as page:
        page.send(TEXT, b"\xff\xfe")
        assert await page.ending() == (1003, "TEXT")
    assert caplog.text == ""


async def test_the_largest_frame_passes_and_one_byte_more_does_not() -> None:
    async with running() as run:
        async with opened(run) as page:
            await page.send(bytes(MIB))
            assert await page.recv() == bytes(MIB)
        async with RawSocket.opened(run) as page:
            page.send(BINARY, bytes(MIB + 1))
            assert await page.ending() == (1009, "TOO_LARGE")
        await run.relay.machine.when(RelayStates.ErrLimit)


async def test_an_oversized_frame_is_refused_by_its_length_alone() -> None:
    async with running() as run, RawSocket.opened(run) as page:
        page.send(BINARY, b"x", length=1 << 62)
        assert await page.ending() == (1009, "TOO_LARGE")


async def test_the_reason_is_there_to_read_while_the_rest_still_comes() -> None:
    """Closing a socket with unread bytes resets it, and a reset overtakes the close frame."""
    async with running() as run, RawSocket.opened(run) as page:
        page.send(BINARY, bytes(16 * MIB))
        assert await page.ending() == (1009, "TOO_LARGE")


async def test_an_oversized_message_is_refused_when_its_parts_are_small() -> None:
    async with running() as run, RawSocket.opened(run) as page:
        page.send(BINARY, bytes(MIB // 2), first=0)
        page.send(0, bytes(MIB // 2), first=0)
        page.send(0, b"x")
        assert await page.ending() == (1009, "TOO_LARGE")


async def test_a_message_in_parts_is_one_message() -> None:
    async with running() as run, RawSocket.opened(run) as page:
        page.send(BINARY, b"he", first=0)
        page.send(PING, b"in between")
        page.send(0, b"llo")
        assert [await page.frame(), await page.frame()] == [(10, b"in between"), (BINARY, b"hello")]


@pytest.mark.parametrize(
    ("opcode", "first"),
    [(PING, 0x80), (PONG, 0x80), (0, 0x00)],
    ids=["pings", "pongs that nobody asked for", "parts of a message that never ends"],
)
async def test_a_flood_of_what_is_no_message_ends_the_tunnel(opcode: int, first: int) -> None:
    """Whoever sends nothing but these would pass every limit for messages."""
    async with running(limits=Limits(frames_per_second=200, leave=0.02)) as run, RawSocket.opened(run) as page:
        page.send(BINARY, b"x", first=0)
        for _ in range(150):
            page.send(opcode, first=first)
        await http(run, "/healthz")
        assert len(run.relay.tunnels) == 1
        for _ in range(500):
            page.send(opcode, first=first)
        assert await page.ending() == (4429, "LIMIT")
        await run.relay.machine.when(RelayStates.ErrLimit)


async def test_pings_of_a_peer_that_takes_no_pong_do_not_pile_up() -> None:
    limits = Limits(frames_per_second=1_000_000, leave=0.02)
    async with running(limits=limits) as run, RawSocket.opened(run, receive_buffer=4096) as page:
        page.send(BINARY, b"x")
        await page.frame()
        for _ in range(400):
            for _ in range(100):
                page.send(PING, bytes(125))
            await page.writer.drain()
            await asyncio.sleep(0)
        # Those of one look at the socket are answered together.
        assert unsent(run) <= limits.buffer_high + (256 << 10)


@pytest.mark.parametrize(
    ("opcode", "first"),
    [(BINARY, 0xC0), (3, 0x80), (11, 0x80), (PING, 0x00), (0, 0x80)],
    ids=["compressed without agreement", "unknown", "unknown control", "control in parts", "continues nothing"],
)
async def test_what_is_no_websocket_frame_ends_the_tunnel(opcode: int, first: int) -> None:
    async with running() as run, RawSocket.opened(run) as page:
        page.send(opcode, b"x", first=first)
        assert await page.ending() == (1002, "BAD_FRAME")


async def test_nothing_is_inflated() -> None:
    """A page offers compression by itself; a kilobyte could then become a megabyte."""
    async with running() as run, opened(run, compression="deflate") as page:
        assert page.response is not None
        assert "Sec-WebSocket-Extensions" not in page.response.headers


@settings(max_examples=15, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=6))
async def test_noise_after_the_upgrade_hurts_nobody(noise: list[bytes]) -> None:
    async with running() as run, opened(run, "browser2") as other:
        async with RawSocket.opened(run) as page:
            for data in noise:
                page.writer.write(data)
            page.send(CLOSE)
            await page.writer.drain()
            page.writer.write_eof()
            await page.reader.read()
        await other.send(b"x")
        assert await other.recv() == b"x"


async def test_our_own_oversized_message_is_our_mistake_and_changes_nothing() -> None:
    held = Held()
    async with running(dial=[held.match]) as run, opened(run) as page:
        tunnel = await held.tunnels.get()
        with pytest.raises(TooLarge, match="1048577 bytes: 1048576 at most"):
            await tunnel.transport.send(bytes(MIB + 1))
        await tunnel.transport.send(b"x")
        assert await page.recv() == b"x"


@pytest.mark.parametrize("code", [1005, 1006, 1015, 1004, 999, 1016, 2999, 5000])
async def test_a_code_that_cannot_be_sent_is_not(code: int) -> None:
    held = Held()
    async with running(dial=[held.match]) as run, opened(run) as page:
        await (await held.tunnels.get()).transport.close(code, "x" * 200)
        assert await ending(page) == (1011, "x" * 123)


# Backpressure


def unsent(run: Running) -> int:
    """Bytes that the server holds for its peers."""
    assert run.server._server is not None
    return sum(
        connection.transport.get_write_buffer_size() for connection in run.server._server.server_state.connections
    )


async def test_a_reader_that_stops_stops_the_writer_and_memory_stays_bounded() -> None:
    limits = Limits(congested=0.5, close=0.2, leave=0.02)
    most, sent, ended = 0, 0, asyncio.get_running_loop().create_future()

    async def pour(tunnel: Tunnel) -> None:
        nonlocal most, sent
        try:
            while True:
                await tunnel.transport.send(bytes(64 << 10))
                sent += 64 << 10
                most = max(most, unsent(run))
        except TransportClosed as closed:
            ended.set_result(closed)

    async with running(listen=[Match(".*", "orchestrator", pour)], limits=limits) as run:
        async with RawSocket.opened(run, op="listen", receive_buffer=4096):
            closed = await ended
            assert (closed.code, closed.reason) == (4408, "DEADLINE: you took nothing for 0.5 s")
            assert limits.buffer_low < most <= limits.buffer_high + (64 << 10)
            assert sent < 16 * MIB  # kernel buffers included
        await run.relay.machine.when(RelayStates.ErrLimit)


async def test_many_senders_together_stay_bounded_too() -> None:
    limits = Limits(congested=0.5, close=0.2, leave=0.02)
    ended = asyncio.Event()
    most = 0

    async def pour(tunnel: Tunnel) -> None:
        async def one() -> None:
            nonlocal most
            while True:
                await tunnel.transport.send(bytes(64 << 10))
                most = max(most, unsent(run))

        try:
            await asyncio.gather(*(one() for _ in range(50)), return_exceptions=True)
        finally:
            ended.set()

    matches = [Match(".*", "orchestrator", pour)]
    async with running(listen=matches, limits=limits) as run, RawSocket.opened(run, op="listen", receive_buffer=4096):
        await ended.wait()
    assert 0 < most <= limits.buffer_high + (64 << 10)


async def test_a_sender_that_never_pauses_learns_of_the_end_and_lets_others_work() -> None:
    ends: asyncio.Queue[TransportClosed] = asyncio.Queue()

    async def pour(tunnel: Tunnel) -> None:
        try:
            while True:
                await tunnel.transport.send(bytes(100))
        except TransportClosed as closed:
            ends.put_nowait(closed)

    async with running(listen=[Match(".*", "orchestrator", pour)], limits=QUICK) as run:
        async with opened(run, op="listen") as page:
            reading = asyncio.create_task(ending(page))
            assert (await http(run, "/healthz")).status == 200
            await page.close(4000, "enough")
            await reading
        assert (await ends.get()).code == 4000
        async with RawSocket.opened(run, op="listen") as torn:
            torn.writer.transport.abort()
            assert (await ends.get()).code == 1006


async def test_a_slow_reader_gets_everything() -> None:
    data = os.urandom(4 * MIB)

    async def pour(tunnel: Tunnel) -> None:
        for start in range(0, len(data), 64 << 10):
            await tunnel.transport.send(data[start : start + (64 << 10)])

    async with (
        running(listen=[Match(".*", "orchestrator", pour)], limits=QUICK) as run,
        RawSocket.opened(run, op="listen", receive_buffer=4096) as page,
    ):
        digest, size = hashlib.sha256(), 0
        while size < len(data):
            opcode, part = await page.frame()
            assert opcode == BINARY
            digest.update(part)
            size += len(part)
        assert digest.digest() == hashlib.sha256(data).digest()
        assert await page.ending() == (1000, "")


async def test_a_matcher_that_does_not_read_stops_the_page_and_memory_stays_bounded() -> None:
    held = Held()
    limits = Limits(congested=0.3, close=0.2, leave=0.02)
    async with running(dial=[held.match], limits=limits) as run, RawSocket.opened(run) as page:
        tunnel = await held.tunnels.get()
        for _ in range(64):
            page.send(BINARY, bytes(64 << 10))
        assert await page.ending() == (4408, "DEADLINE")
        assert isinstance(tunnel.transport, WebSocketTransport)
        # And then it stopped: what one look at the socket had found was taken too.
        assert MIB <= tunnel.transport.statistics().bytes_in <= MIB + (256 << 10)
        assert tunnel.transport.statistics().bytes_waiting == 0


async def test_what_a_page_sent_before_it_left_arrives() -> None:
    held = Held()
    data = os.urandom(5 * MIB)
    async with running(dial=[held.match]) as run:
        async with opened(run) as page:
            tunnel = await held.tunnels.get()

            async def read() -> bytes:
                parts = []
                with suppress(TransportClosed):
                    while True:
                        parts.append(await tunnel.transport.recv())
                return b"".join(parts)

            reading = asyncio.create_task(read())
            for start in range(0, len(data), 64 << 10):
                await page.send(data[start : start + (64 << 10)])
        assert await reading == data
        assert (await end_of(tunnel)).code == 1000


async def test_frames_that_wait_are_delivered_after_the_end() -> None:
    held = Held()
    async with running(dial=[held.match]) as run:
        async with opened(run) as page:
            tunnel = await held.tunnels.get()
            for number in range(5):
                await page.send(bytes([number]))
        await run.relay.machine.when(RelayStates.TunnelDown)
        assert tunnel.transport.closed
        assert [await tunnel.transport.recv() for _ in range(5)] == [bytes([number]) for number in range(5)]
        with pytest.raises(TransportClosed):
            await tunnel.transport.recv()


async def test_a_cancelled_recv_loses_nothing() -> None:
    held = Held()
    async with running(dial=[held.match]) as run, opened(run) as page:
        tunnel = await held.tunnels.get()
        for number in range(50):
            reading = asyncio.create_task(tunnel.transport.recv())
            await asyncio.sleep(0)
            sending = asyncio.create_task(page.send(bytes([number])))
            reading.cancel()
            try:
                data = await reading
            except asyncio.CancelledError:
                data = await tunnel.transport.recv()
            await sending
            assert data == bytes([number])


# Rates and deadlines


async def test_a_page_that_sends_more_than_it_may_is_slowed_and_loses_nothing() -> None:
    """64 MiB, the largest payload, at the default limits but for a rate that a test can wait for."""
    limits = Limits(bytes_per_second=32 * MIB, hello=60, leave=0.02)
    loop, most, size, digest = asyncio.get_running_loop(), 0, 0, hashlib.sha256()
    whole = loop.create_future()

    async def take(tunnel: Tunnel) -> None:
        nonlocal most, size
        assert isinstance(tunnel.transport, WebSocketTransport)
        while size < 64 * MIB:
            data = await tunnel.transport.recv()
            most = max(most, tunnel.transport.statistics().bytes_waiting + len(data))
            size += len(data)
            digest.update(data)
        whole.set_result(loop.time())
        await tunnel.transport.send(b"all")

    frames = [os.urandom(MIB) for _ in range(4)]
    async with running(dial=[Match(".*", "orchestrator", take)], limits=limits) as run, opened(run) as page:
        begun = loop.time()
        for number in range(64):
            await page.send(frames[number % 4])
        assert await page.recv() == b"all"
        assert await whole - begun >= (64 - 32 - 1) / 32  # a second's worth is a burst, and the last one waits for none
        assert digest.digest() == hashlib.sha256(b"".join(frames) * 16).digest()
        assert 0 < most <= limits.buffer_high + limits.frame
        assert run.relay.counts.refused == {}


async def test_a_flood_of_tiny_messages_is_slowed() -> None:
    limits = Limits(frames_per_second=500, buffer_high=64 << 10, buffer_low=16 << 10, leave=0.02)
    loop = asyncio.get_running_loop()
    async with running(limits=limits) as run, RawSocket.opened(run) as page:
        begun = loop.time()
        for _ in range(1000):
            page.send(BINARY, b"x")
        for _ in range(1000):
            assert await page.frame() == (BINARY, b"x")
        page.send(BINARY, b"last")
        assert await page.frame() == (BINARY, b"last")
        assert loop.time() - begun >= (1000 - 500 - 1) / 500


async def test_with_a_time_for_it_a_flood_is_slowed_and_then_ended() -> None:
    limits = Limits(frame=1000, bytes_per_second=20_000, over_rate=0.3, close=0.5)
    started = asyncio.get_running_loop().time()
    async with running(limits=limits) as run, RawSocket.opened(run) as page:
        for _ in range(200):
            page.send(BINARY, bytes(1000))
        assert await page.ending() == (4429, "LIMIT")
        assert asyncio.get_running_loop().time() - started >= 0.3


async def test_who_is_slowed_is_not_taken_for_silent() -> None:
    """What it sent waits before the door: it is us who do not listen."""
    limits = Limits(frame=1000, bytes_per_second=2000, idle=0.3, ping=0.1, pong=0.1, leave=0.02)
    async with running(limits=limits) as run, RawSocket.opened(run) as page:
        for _ in range(5):
            page.send(BINARY, bytes(1000))
        got = 0
        while got < 5:
            opcode, _ = await page.frame()
            got += opcode == BINARY
        assert await page.ending() == (4408, "DEADLINE")  # and then it was silent


async def test_a_caller_has_to_speak_first() -> None:
    limits = Limits(hello=0.1)
    async with running(limits=limits) as run, opened(run) as silent, opened(run, op="listen") as listener:
        assert await ending(silent) == (4408, "DEADLINE")
        assert "no first frame within 0.1 s" in str(silent.close_reason)
        await listener.send(b"x")
        assert await listener.recv() == b"x"


async def test_a_silent_tunnel_ends() -> None:
    async with running(limits=Limits(idle=0.2, hello=0.1)) as run, opened(run) as page:
        await page.send(b"x")
        assert await page.recv() == b"x"
        assert await ending(page) == (4408, "DEADLINE")
        assert "no frame for 0.2 s" in str(page.close_reason)


async def test_frames_either_way_keep_a_tunnel() -> None:
    limits = Limits(idle=0.3, hello=0.3)

    async def beat(tunnel: Tunnel) -> None:
        for _ in range(8):
            try:
                async with asyncio.timeout(0.1):
                    await tunnel.transport.recv()
            except TimeoutError:
                await tunnel.transport.send(b"beat")

    matches = [Match(".*", "orchestrator", beat)]
    async with running(listen=matches, limits=limits) as run, opened(run, op="listen") as page:
        assert [await page.recv() for _ in range(8)] == [b"beat"] * 8


async def test_a_peer_that_answers_no_ping_is_gone() -> None:
    async with running(limits=Limits(ping=0.1, pong=0.1)) as run, RawSocket.opened(run) as page:
        assert await page.ending() == (4408, "DEADLINE")


async def test_a_peer_whose_pong_stands_behind_what_it_sends_stays_while_it_sends() -> None:
    limits = Limits(ping=0.1, pong=0.2, hello=5, leave=0.02)
    loop = asyncio.get_running_loop()
    async with running(limits=limits) as run, RawSocket.opened(run) as page:
        begun = loop.time()
        while loop.time() - begun < 1:
            page.send(BINARY, b"x")
            while (await page.frame())[0] == PING:
                pass
            with suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    assert (await page.frame())[0] == PING
        assert await page.ending() == (4408, "DEADLINE")


async def test_a_peer_that_answers_pings_stays() -> None:
    async with running(limits=Limits(ping=0.05, pong=5, hello=5)) as run, RawSocket.opened(run) as page:
        for _ in range(5):
            opcode, payload = await page.frame()
            assert opcode == PING
            page.send(10, payload)
        page.send(BINARY, b"x")
        while (frame := await page.frame())[0] == PING:
            page.send(10, frame[1])
        assert frame == (BINARY, b"x")


async def drip(page: RawSocket, whole: bytes) -> tuple[int, int]:
    """Sends so many bytes, one after the other, until the tunnel ends: how many were sent, and the close code."""
    ending = asyncio.create_task(page.ending())
    for number, byte in enumerate(whole):
        page.writer.write(bytes([byte]))
        done, _ = await asyncio.wait({ending}, timeout=0.05)
        if done:
            return number + 1, ending.result()[0]
    return len(whole), (await ending)[0]


DRIPPING = b"\x82\xfe\x03\xe8" + bytes(4) + bytes(1000)


async def test_a_first_frame_that_drips_has_the_time_of_any_first_frame() -> None:
    async with running(limits=Limits(hello=0.4, leave=0.02)) as run, RawSocket.opened(run) as page:
        sent, code = await drip(page, DRIPPING)
        assert 1 < sent < 100
        assert code == 4408


async def test_a_later_frame_that_drips_is_silence() -> None:
    """Bytes that make no whole frame keep no tunnel."""
    async with running(limits=Limits(idle=0.4, leave=0.02)) as run, RawSocket.opened(run) as page:
        page.send(BINARY, b"x")
        assert await page.frame() == (BINARY, b"x")
        sent, code = await drip(page, DRIPPING)
        assert 1 < sent < 100
        assert code == 4408


async def test_a_request_whose_head_does_not_come_is_dropped() -> None:
    async with running(limits=Limits(upgrade=0.2)) as run:
        for start in (b"", b"G", b"GET / HTTP/1.1\r\nhost: x\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", run.port)
            writer.write(start)
            try:
                assert await reader.read() == b""
            except ConnectionResetError:
                pass
            writer.close()
        assert (await http(run, "/healthz")).status == 200


async def test_a_head_that_drips_is_dropped_all_the_same() -> None:
    async with running(limits=Limits(upgrade=0.3)) as run:
        reader, writer = await asyncio.open_connection("127.0.0.1", run.port)
        writer.write(f"GET /healthz HTTP/1.1\r\nhost: {run.host}\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        await reader.readuntil(b"}")
        loop = asyncio.get_running_loop()

        def drip() -> None:
            if not writer.is_closing():
                writer.write(b"G")
                loop.call_later(0.05, drip)

        drip()
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            pass
        writer.close()
