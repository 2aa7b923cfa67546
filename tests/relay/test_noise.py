"""What looks like an upgrade, or like frames, and is not quite: judged alike however it comes, and nobody's harm."""

from __future__ import annotations

import asyncio
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from asyncmachine_relay import Limits
from tests.relay.support import CLOSE, RawSocket, Running, http, opened, running, upgrade

QUICK = Limits(upgrade=0.3, leave=0.02, opens_burst=10**6, opens_per_second=10**6)
Edit = tuple[int, int, bytes]
"""Where, how many bytes go, and what comes."""

PIECES = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b" ",
        b"\t",
        b":",
        b",",
        b"\0",
        b"x: y\r\n",
        b"connection: close\r\n",
        b"host: a\r\n",
        b"%2f",
        b"\xe9",
    ]
)
EDITS = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 6), PIECES | st.binary(max_size=3)), min_size=1, max_size=3
)


def damaged(whole: bytes, edits: list[Edit]) -> bytes:
    for at, gone, put in edits:
        at %= len(whole) + 1
        whole = whole[:at] + put + whole[at + gone :]
    return whole


async def is_let_in(run: Running, data: bytes, cut: int) -> bool:
    """Whether the answer to these bytes is an open WebSocket. Anything else is a refusal, or the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", run.port)
    try:
        if cut:
            writer.write(data[:cut])
            await http(run, "/healthz")  # by then the first piece has been read
        writer.write(data[cut:])
        line = await reader.readline()
        assert line == b"" or line.startswith(b"HTTP/1.1 "), line
        assert not line.startswith(b"HTTP/1.1 5") or line.startswith(b"HTTP/1.1 505"), line
        return line.startswith(b"HTTP/1.1 101")
    except ConnectionError:
        return False
    finally:
        writer.close()


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(EDITS, st.integers(1, 300)), min_size=1, max_size=4))
async def test_a_damaged_upgrade_is_judged_alike_whole_and_in_pieces(rounds: list[tuple[list[Edit], int]]) -> None:
    async with running(limits=QUICK) as run:
        for edits, cut in rounds:
            data = damaged(upgrade(run, "/dial/browser1/orchestrator"), edits)
            whole, pieces = await asyncio.gather(is_let_in(run, data, 0), is_let_in(run, data, min(cut, len(data) - 1)))
            assert whole == pieces, data


BITS = st.sampled_from([0x80, 0x80, 0x80, 0x00, 0xC0, 0x10, 0x90])
"""FIN and the three reserved ones."""
LENGTHS = st.none() | st.sampled_from([0, 1, 125, 126, 65535, 65536, 1 << 20, (1 << 20) + 1, 1 << 62, (1 << 64) - 1])
FRAMES = st.lists(st.tuples(st.integers(0, 15), BITS, st.binary(max_size=130), LENGTHS), min_size=1, max_size=8)
CODES = {None, 1000, 1002, 1003, 1005, 1007, 1009, 4400, 4429}
"""How a tunnel may end then: not at all, as the page says, or for what it sent."""


async def ending_of(page: RawSocket) -> int | None:
    """The code of the relay's close frame, None without one."""
    try:
        while True:
            opcode, data = await page.frame()
            if opcode == CLOSE:
                return struct.unpack("!H", data[:2])[0] if data else 1005
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


@settings(max_examples=12, deadline=None)
@given(FRAMES)
async def test_frames_of_every_kind_end_their_tunnel_at_most(frames: list[tuple[int, int, bytes, int | None]]) -> None:
    limits = Limits(leave=0.02, close=0.3)
    async with running(limits=limits) as run, opened(run, "browser2") as other:
        async with RawSocket.opened(run) as page:
            for opcode, bits, data, length in frames:
                page.send(opcode, data, first=bits, length=length)
            page.writer.write_eof()
            code = await ending_of(page)
        own = [struct.unpack("!H", data[:2])[0] for opcode, _, data, _ in frames if opcode == CLOSE and len(data) > 1]
        assert code in CODES or code in own
        await other.send(b"x")
        assert await other.recv() == b"x"
        assert (await http(run, "/healthz")).status == 200
