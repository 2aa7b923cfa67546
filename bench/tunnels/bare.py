"""The tunnel that anybody would write first: Starlette, thirty lines, no checks. The peer of `bench.relay`.

It has a token too, for who asks first: one that nobody makes or looks at. uvicorn takes uvloop where it is installed.
"""

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
    wish, answer = await request.json(), {"token": "x" * 300}
    return JSONResponse([answer for _ in wish] if isinstance(wish, list) else answer)


async def tunnel(socket: WebSocket) -> None:
    await socket.accept(subprotocol=next(iter(socket["subprotocols"]), None))
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


app = Starlette(
    routes=[
        WebSocketRoute("/tunnel", tunnel),
        WebSocketRoute("/dial/{id}/{target}", tunnel),
        Route("/token", token, methods=["POST"]),
    ]
)
uvicorn.run(app, port=int(sys.argv[1]), log_level="error", ws="websockets-sansio", ws_per_message_deflate=False)
