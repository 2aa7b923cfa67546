"""A network between a page and its server that can go dark: nothing passes any more, and nobody is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager


class Hole:
    """`address` is where the page goes, and `towards(port)` tells what is behind it."""

    def __init__(self) -> None:
        self.port = 0
        self.delay = 0.0
        """Seconds that whatever passes takes, in each direction."""
        self.light = asyncio.Event()
        self._stop = asyncio.Event()
        self._behind = 0
        self._loop: asyncio.AbstractEventLoop

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def towards(self, port: int) -> None:
        self._behind = port

    @contextmanager
    def dark(self) -> Iterator[None]:
        """What is sent meanwhile arrives when it is over, as TCP has it."""
        self._loop.call_soon_threadsafe(self.light.clear)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self.light.set)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)

    async def serve(self, ready: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self.light.set()
        server = await asyncio.start_server(self._arrived, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready()
        await self._stop.wait()
        server.close()

    async def _arrived(self, page: asyncio.StreamReader, to_page: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection("127.0.0.1", self._behind)
        await asyncio.gather(self._carry(page, to_server), self._carry(server, to_page))

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(1 << 16):
                await asyncio.sleep(self.delay)
                await self.light.wait()
                target.write(data)
                await target.drain()
        except OSError:
            pass
        finally:
            target.close()


@contextmanager
def hole() -> Iterator[Hole]:
    """One on a thread of its own."""
    made, ready = Hole(), Future[None]()
    thread = threading.Thread(target=lambda: asyncio.run(made.serve(lambda: ready.set_result(None))), name="hole")
    thread.start()
    ready.result(10)
    try:
        yield made
    finally:
        made.stop()
        thread.join()
