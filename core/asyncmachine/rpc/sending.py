"""Payloads on the server's side: kept until the client's consumer has taken them, and sent again after a reconnect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from secrets import token_bytes
from typing import Any, Final

from msgspec import Raw
from msgspec.structs import replace

from asyncmachine.machine.errors import AmError, InvalidArgs
from asyncmachine.machine.mutation import MutationSource
from asyncmachine.rpc.chunks import CHUNK, MAX_PAYLOAD, Parcel
from asyncmachine.rpc.clients import Clients
from asyncmachine.rpc.codec import encode
from asyncmachine.rpc.deliveries import MAX_KEPT_BYTES, Kept, Outbox
from asyncmachine.rpc.errors import Code, DeliveryFailed, TooLarge
from asyncmachine.rpc.events import PayloadSettled, PayloadWanted
from asyncmachine.rpc.features import CHUNKS
from asyncmachine.rpc.messages import LARGEST_CHUNK, Payload
from asyncmachine.rpc.options import check_within
from asyncmachine.rpc.remote_result import Delivery
from asyncmachine.rpc.served import ServedClient
from asyncmachine.rpc.sessions import Sessions
from asyncmachine.rpc.stranded import NOBODY
from asyncmachine.rpc.timing import call_at
from asyncmachine.rpc.tracing import Tracing, packed
from asyncmachine.rpc.transport import MAX_FRAME
from asyncmachine.rpc.values import encode_value, pack_data, pack_meta

_NIL: Final = encode_value(None)

NOTHING: Final = Outbox(0)
"""That of a server that has not sent anything, as most of them have not."""


class Sending:
    """Sends payloads over all sessions of one server.

    `loop()` is the server's event loop, `failed(error)` is told of deliveries that fail and that nobody awaits. Data
    may take `largest` bytes; what is larger than a frame goes in chunks of `chunk` bytes. With `shared` sessions a
    payload follows its client to the server where it comes back.
    """

    __slots__ = (
        "_chunk", "_clients", "_failed", "_in_loop", "_is_over", "_largest", "_last", "_loop", "_outbox", "_shared",
        "_tracing",
    )  # fmt: skip

    def __init__(
        self,
        clients: Clients,
        loop: Callable[[], asyncio.AbstractEventLoop | None],
        in_loop: Callable[..., None],
        failed: Callable[[AmError], object],
        tracing: Tracing | None,
        largest: int = MAX_PAYLOAD,
        chunk: int = CHUNK,
        shared: Sessions | None = None,
    ) -> None:
        if not 0 < chunk <= LARGEST_CHUNK:
            raise InvalidArgs(f"a chunk has 1 to {LARGEST_CHUNK} bytes, not {chunk}")
        self._clients = clients
        self._loop = loop
        self._in_loop = in_loop
        self._failed = failed
        self._tracing = tracing
        self._largest = largest
        self._chunk = chunk
        self._outbox = NOTHING
        self._shared = shared
        self._last: tuple[str, bytes] = "", NOBODY
        self._is_over = False

    def send(
        self,
        name: str,
        data: Any,
        origin: MutationSource | None,
        destination: str,
        meta: Mapping[str, Any] | None,
        within: float | None = None,
    ) -> Delivery:
        """Keeps a payload and sends it if its client is there. Raises as `Server.send_payload` does."""
        if within is not None:
            check_within(within)
        payload = Payload(
            token=token_bytes(8),
            name=name,
            source=origin.machine_id if origin else "",
            source_tx=origin.tx_id if origin else "",
            destination=self._clients.destination(destination),
            meta=pack_meta(meta),
            trace=packed(self._tracing),
        )
        kept = self._kept(payload, encode_value(pack_data(data)), within)
        self._made_outbox().keep(kept)
        self._in_loop(self._send, kept)
        return kept.result

    def started(self) -> None:
        """There is a loop now: the time of what was sent before begins."""
        self._is_over = False
        loop = self._loop()
        for kept in self._outbox.all():
            if loop is not None:
                kept.result.on(loop)
            self._arm(kept)
            if self._shared is not None and not self._here(kept):
                self._for_elsewhere(self._shared, kept)

    def resume(self, client: ServedClient) -> None:
        """Sends a client that has become ready everything that waits for it."""
        if self._shared is not None:
            session, give = client.connection.session.id, partial(self._give, client)
            for kept in self._shared.stranded.arrived(client.id, session, give):
                self._adopt(kept)
        for kept in sorted(self._outbox.of(client.id), key=lambda kept: kept.number):
            self._send_to(client, kept)

    def left(self, client: ServedClient) -> None:
        """The client's connection has ended. What it has not consumed waits for it, at any server it may come to."""
        if self._shared is not None:
            session = client.connection.session.id
            self._last = client.id, session
            self._shared.stranded.left(session)
            for kept in self._outbox.of(client.id):
                self._strand(self._shared, kept, client.id, session)

    def wanted(self, client: ServedClient, event: PayloadWanted) -> None:
        """The client has a part of a large payload, and wants the others."""
        kept = self._outbox.get(event.token)
        if kept is None:
            client.withdraw(event.token)
        else:
            kept.result.acknowledged = min(event.received, kept.result.size)
            client.send_more()

    def settled(self, event: PayloadSettled) -> None:
        """The client has told what became of a payload."""
        self._settle(event.token, None if event.accepted else DeliveryFailed(event.code, event.message))

    def give_up(self, why: str) -> None:
        """The server is over. Everything that waits fails, but for what a client may get from another server."""
        self._is_over = True
        loop = self._loop()
        if self._shared is None or loop is None or loop.is_closed():
            self.fail_all(why)
        else:
            self._in_loop(self._pass_on, self._shared, why)

    def tell(self, failed: Callable[[AmError], object]) -> None:
        """Somebody else is told of failures that nobody awaits: the server's machine is about to end."""
        self._failed = failed
        for kept in self._outbox.all():
            kept.result.tell(failed)

    def _pass_on(self, shared: Sessions, why: str) -> None:
        for kept in self._outbox.all():
            # A client that is here may still take it before its connection ends; see `left`.
            if not self._here(kept) and not self._for_elsewhere(shared, kept):
                self._settle(kept.token, DeliveryFailed(Code.SHUTDOWN, why))
        shared.stranded.orphan(self)

    def fail_all(self, why: str) -> None:
        """Nothing that waits here is sent any more."""
        for kept in self._outbox.all():
            self._settle(kept.token, DeliveryFailed(Code.SHUTDOWN, why))

    def _here(self, kept: Kept) -> list[ServedClient]:
        """The clients that are here, and may have it."""
        return [client for client in self._clients if kept.destination in ("", client.id)]

    def _for_elsewhere(self, shared: Sessions, kept: Kept) -> bool:
        """Passes a payload on whose client is known, and not here. False: it stays."""
        last, session = self._last
        if not (kept.destination or last):
            return False
        if kept.destination in ("", last):
            self._strand(shared, kept, last, session)
        else:
            self._strand(shared, kept, kept.destination, NOBODY)
        return True

    def _strand(self, shared: Sessions, kept: Kept, id: str, session: bytes) -> None:
        self._outbox.release(kept)
        shared.stranded.put(kept, id, session, None if self._is_over else self)

    def _adopt(self, kept: Kept) -> None:
        self._made_outbox().adopt(kept)
        self._arm(kept)

    def _give(self, client: ServedClient, kept: Kept) -> None:
        self._adopt(kept)
        self._send_to(client, kept)

    def _made_outbox(self) -> Outbox:
        if self._outbox is NOTHING:
            self._outbox = Outbox(MAX_KEPT_BYTES + self._largest)
        return self._outbox

    def _kept(self, payload: Payload, data: bytes, within: float | None) -> Kept:
        """The payload as it is to be sent: whole if it fits into a frame."""
        if len(data) > self._largest:
            raise TooLarge(f"the data of {payload.name!r} take {len(data)} bytes, the limit is {self._largest}")
        result = Delivery(self._failed, self._loop(), len(data))
        if len(data) < MAX_FRAME:
            with suppress(TooLarge):
                frame = encode(replace(payload, data=Raw(data) if data != _NIL else None))
                return Kept(payload.token, payload.name, frame, payload.destination, result, None, within)
        parcel = Parcel(payload.token, data, self._chunk)
        frame = encode(replace(payload, size=len(data)))
        return Kept(payload.token, payload.name, frame, payload.destination, result, parcel, within)

    def _send(self, kept: Kept) -> None:
        if self._outbox.get(kept.token) is not kept:
            return  # it was passed on before the loop came to this
        self._arm(kept)
        here = self._here(kept)
        for client in here:
            self._send_to(client, kept)
        if not here and self._shared is not None and self._loop() is not None:
            self._for_elsewhere(self._shared, kept)

    def _send_to(self, client: ServedClient, kept: Kept) -> None:
        if not client.ready or kept.result.done():
            return
        if not client.exposure.grants.receives(kept.name):
            self._settle(kept.token, DeliveryFailed(Code.FORBIDDEN, f"{client.id} may not receive {kept.name!r}"))
        elif kept.parcel is not None and CHUNKS not in client.connection.session.features:
            text = f"{kept.name!r} does not fit into a frame, and {client.id} does not know chunks"
            self._settle(kept.token, DeliveryFailed(Code.TOO_LARGE, text))
        else:
            client.send(kept)

    def _settle(self, token: bytes, error: DeliveryFailed | None) -> None:
        kept = self._outbox.settle(token, error)
        if kept is not None and kept.parcel is not None:
            for client in self._clients:
                client.send_more()

    def _arm(self, kept: Kept) -> None:
        loop = self._loop()
        if kept.within is None or loop is None or kept.timer is not None or kept.result.done():
            return
        if kept.due is None:
            kept.due = loop.time() + kept.within
        kept.timer = call_at(loop, kept.due, partial(self._expire, kept))

    def _expire(self, kept: Kept) -> None:
        late = DeliveryFailed(Code.DEADLINE, f"{kept.name!r} was not consumed within {kept.within} s")
        self._settle(kept.token, late)
        for client in self._clients:
            if kept.parcel is not None and kept.destination in ("", client.id):
                client.withdraw(kept.token)
