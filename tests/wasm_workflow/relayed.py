"""The native process as it is; the browser's machines are natives too, and come in through its relay."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from http.client import HTTPConnection
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from asyncmachine.rpc import Transport, TransportClosed
from asyncmachine.rpc.transport.websocket import connect
from asyncmachine_relay import bind
from examples.wasm_workflow.app import App
from tests.wasm_workflow.wired import Wired


class Answer(NamedTuple):
    """An HTTP response; header names as the relay writes them, in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def http(
    method: str, origin: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """One request, with `body` as JSON. Raises `OSError` when nobody answers."""

    def ask() -> Answer:
        connection = HTTPConnection(urlsplit(origin).netloc, timeout=10)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.headers), answer.read())
        finally:
            connection.close()

    return await asyncio.to_thread(ask)


async def open_tunnel(origin: str, op: str, id: str, target: str = "orchestrator") -> Transport:
    """What a page does: a token first, then the WebSocket. Raises `TransportClosed` with the relay's reason."""
    wish = {"op": op, "id": id, "target": target}
    headers = {"origin": origin, "content-type": "application/json"}
    try:
        status, _, body = await http("POST", origin, "/token", wish, headers)
    except OSError as error:
        raise TransportClosed(reason=str(error)) from error
    answer = json.loads(body)
    if status != 200:
        raise TransportClosed(reason=answer["code"])
    protocols = ("amrpc.v1", f"amtok.{answer['token']}")
    return await connect(f"{origin.replace('http', 'ws')}/{op}/{id}/{target}", subprotocols=protocols, origin=origin)


class Relayed(Wired):
    """As `Wired`, through the relay of an app that is entered and left with it."""

    async def __aenter__(self) -> Self:
        self.app = App(self.settings, bind())
        await self.app.__aenter__()
        return await super().__aenter__()

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        await self.app.__aexit__()

    def start_orchestrator(self) -> None:
        self.story, self.handlers = self.app.story, self.app.handlers
        self.machine, self.network = self.app.machine, self.app.network

    async def tunnel(self, name: str, serve: Callable[[str, Transport], Coroutine[Any, Any, None]]) -> Transport:
        wish = ("dial", "browser1") if name == "page" else ("listen", name)
        return await open_tunnel(self.app.address.rstrip("/"), *wish)
