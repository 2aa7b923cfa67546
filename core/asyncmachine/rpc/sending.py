"""Payloads on the server's side: kept until the client's consumer has taken them, and sent again after a reconnect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from secrets import token_bytes
from typing import Any

from asyncmachine.machine.errors import AmError
from asyncmachine.machine.mutation import MutationSource
from asyncmachine.machine.result import Result
from asyncmachine.rpc.clients import Clients
from asyncmachine.rpc.codec import encode
from asyncmachine.rpc.deliveries import Kept, Outbox
from asyncmachine.rpc.errors import Code, DeliveryFailed
from asyncmachine.rpc.events import PayloadSettled
from asyncmachine.rpc.messages import Payload
from asyncmachine.rpc.remote_result import RemoteResult
from asyncmachine.rpc.served import ServedClient
from asyncmachine.rpc.tracing import Tracing, packed
from asyncmachine.rpc.values import pack, pack_data


class Sending:
    """Sends payloads over all sessions of one server.

    `loop()` is the server's event loop, `failed(error)` is told of deliveries that fail and that nobody awaits.
    """

    __slots__ = ("_clients", "_failed", "_in_loop", "_loop", "_outbox", "_tracing")

    def __init__(
        self,
        clients: Clients,
        loop: Callable[[], asyncio.AbstractEventLoop | None],
        in_loop: Callable[..., None],
        failed: Callable[[AmError], object],
        tracing: Tracing | None,
    ) -> None:
        self._clients = clients
        self._loop = loop
        self._in_loop = in_loop
        self._failed = failed
        self._tracing = tracing
        self._outbox = Outbox()

    def send(
        self, name: str, data: Any, origin: MutationSource | None, destination: str, meta: Mapping[str, Any] | None
    ) -> Result:
        """Keeps a payload and sends it if its client is there. Raises as `Server.send_payload` does."""
        destination = self._clients.destination(destination)
        payload = Payload(
            token=token_bytes(8),
            name=name,
            source=origin.machine_id if origin else "",
            source_tx=origin.tx_id if origin else "",
            destination=destination,
            meta=pack(dict(meta), "meta") if meta else None,
            data=pack_data(data),
            trace=packed(self._tracing),
        )
        result = RemoteResult(self._failed, self._loop())
        kept = Kept(payload.token, name, encode(payload), destination, result)
        self._outbox.keep(kept)
        self._in_loop(self._send, kept)
        return result

    def resume(self, client: ServedClient) -> None:
        """Sends a client that has become ready everything that waits for it."""
        for kept in self._outbox.of(client.id):
            self._send_to(client, kept)

    def settled(self, event: PayloadSettled) -> None:
        """The client has told what became of a payload."""
        self._outbox.settle(event.token, None if event.accepted else DeliveryFailed(event.code, event.message))

    def give_up(self, why: str) -> None:
        """Fails everything that waits."""
        for kept in self._outbox.all():
            self._outbox.settle(kept.token, DeliveryFailed(Code.SHUTDOWN, why))

    def _send(self, kept: Kept) -> None:
        for client in self._clients:
            if kept.destination in ("", client.id):
                self._send_to(client, kept)

    def _send_to(self, client: ServedClient, kept: Kept) -> None:
        if not client.ready or kept.result.done():
            return
        if client.exposure.grants.receives(kept.name):
            client.payload(kept.frame)
        else:
            forbidden = DeliveryFailed(Code.FORBIDDEN, f"{client.id} may not receive {kept.name!r}")
            self._outbox.settle(kept.token, forbidden)
