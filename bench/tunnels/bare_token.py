"""The bare tunnel, and a token for it that nobody makes or looks at: what asking first costs with no check at all."""

import asyncio
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

BACKEND = int(sys.argv[2])


async def token(request: Request) -> JSONResponse:
    await request.json()
    return JSONResponse({"token": "x" * 300})


async def tunnel(socket: WebSocket) -> None:
    await socket.accept(subprotocol="amrpc.v1")
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


routes = [Route("/token", token, methods=["POST"]), WebSocketRoute("/dial/{id}/{target}", tunnel)]
uvicorn.run(
    Starlette(routes=routes),
    port=int(sys.argv[1]),
    log_level="error",
    ws="websockets-sansio",
    ws_per_message_deflate=False,
)
