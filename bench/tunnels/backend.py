"""The TCP server behind the tunnels: the first byte of a connection says what it does."""

import asyncio
import sys

CHUNK = bytes(65536)


class Backend(asyncio.Protocol):
    """`e` sends back what comes, `s` takes eight bytes of size, then so many bytes, and answers; `p` pours as many."""

    def __init__(self) -> None:
        self._kind = b""
        self._head = b""
        self._left = 0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._kind:
            self._kind, data = data[:1], data[1:]
        if self._kind == b"e":
            if data:
                self._transport.write(data)
            return
        if len(self._head) < 8:
            need = 8 - len(self._head)
            self._head, data = self._head + data[:need], data[need:]
            if len(self._head) < 8:
                return
            self._left = int.from_bytes(self._head, "big")
            if self._kind == b"p":
                self._pour()
                return
        self._left -= len(data)
        if self._left <= 0:
            self._transport.write(b"done")

    def resume_writing(self) -> None:
        self._pour()

    def _pour(self) -> None:
        while self._left > 0 and self._transport.get_write_buffer_size() < 1 << 20:
            self._transport.write(CHUNK)
            self._left -= len(CHUNK)
        if self._left > 0:
            asyncio.get_running_loop().call_soon(self._pour)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Backend, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
