"""The native process as it is; the browser's machines are natives too, and come in through its relay."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Self

import httpx

from asyncmachine.rpc import Transport, TransportClosed
from asyncmachine.rpc.transport.websocket import connect
from asyncmachine_relay import bind
from examples.wasm_workflow.app import App
from tests.wasm_workflow.wired import Wired


async def open_tunnel(origin: str, op: str, id: str, target: str = "orchestrator") -> Transport:
    """What a page does: a token first, then the WebSocket. Raises `TransportClosed` with the relay's reason."""
    async with httpx.AsyncClient(base_url=origin, headers={"origin": origin}) as http:
        try:
            answer = await http.post("/token", json={"op": op, "id": id, "target": target})
        except httpx.TransportError as error:
            raise TransportClosed(reason=str(error)) from error
    if answer.status_code != 200:
        raise TransportClosed(reason=answer.json()["code"])
    protocols = ("amrpc.v1", f"amtok.{answer.json()['token']}")
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
