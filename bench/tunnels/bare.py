"""The tunnel that anybody would write first: Starlette, thirty lines, no checks. The peer of `bench.relay`."""

import asyncio
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

BACKEND = int(sys.argv[2])


async def tunnel(socket: WebSocket) -> None:
    await socket.accept()
    reader, writer = await asyncio.open_connection("127.0.0.1", BACKEND)

    async def down() -> None:
        while data := await reader.read(65536):
            await socket.send_bytes(data)

    task = asyncio.create_task(down())
    try:
        while True:
            writer.write(await socket.receive_bytes())
            await writer.drain()
    except (WebSocketDisconnect, OSError):
        task.cancel()
        writer.close()


app = Starlette(routes=[WebSocketRoute("/tunnel", tunnel)])
uvicorn.run(app, port=int(sys.argv[1]), log_level="error", ws="websockets-sansio", ws_per_message_deflate=False)
