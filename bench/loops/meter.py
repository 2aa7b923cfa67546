"""A TCP relay that counts the bytes which pass it, both ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Meter:
    """Counts for one target. `sent` are the bytes towards it."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.sent = 0
        self.received = 0
        self._writers: set[asyncio.StreamWriter] = set()

    def take(self) -> int:
        """Bytes both ways since the last call."""
        total, self.sent, self.received = self.sent + self.received, 0, 0
        return total

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        ends = {writer, far_writer}
        self._writers |= ends
        await asyncio.gather(
            self._pump(reader, far_writer, "sent"),
            self._pump(far_reader, writer, "received"),
        )
        for end in ends:
            end.close()
        self._writers -= ends

    def hang_up(self) -> None:
        """Ends all connections."""
        for writer in self._writers:
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counter: str) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                setattr(self, counter, getattr(self, counter) + len(data))
                writer.write(data)
                await writer.drain()
            writer.write_eof()


@asynccontextmanager
async def metered(target: int) -> AsyncIterator[Meter]:
    """A meter in front of a local port, at its own `port`."""
    meter = Meter(target)
    server = await asyncio.start_server(meter._connected, "127.0.0.1", 0)
    meter.port = server.sockets[0].getsockname()[1]
    async with server:
        yield meter
        meter.hang_up()
