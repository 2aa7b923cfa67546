"""Payloads on the client's side: each is given to the consumer once, and acknowledged when it has accepted it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakSet

from msgspec.structs import replace

from asyncmachine.machine.errors import InvalidArgs, SchemaError
from asyncmachine.machine.machine import Machine
from asyncmachine.machine.mutation import MutationSource
from asyncmachine.machine.result import Result
from asyncmachine.rpc.asking import ClientSession
from asyncmachine.rpc.connection import Connection
from asyncmachine.rpc.deliveries import Inbox, Known
from asyncmachine.rpc.errors import CallRefused, Code, DeliveryFailed
from asyncmachine.rpc.events import PayloadComplete, PayloadLost
from asyncmachine.rpc.messages import Payload
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.states import ServerDelivering, ServerPayload
from asyncmachine.rpc.tracing import Tracing, within
from asyncmachine.rpc.values import decode_data, unpack_data

Link = Connection[ClientSession]

logger = logging.getLogger("asyncmachine.rpc")

_SETTLED: Final = (Known.CONSUMED, Known.REFUSED)

_told: Final[WeakSet[Machine[Any]]] = WeakSet()
"""Machines of clients of which the log has told that they have no consumer."""


class Consuming:
    """Takes payloads over all sessions of one client, of at most `largest` bytes.

    `connection()` is the one to answer on, if there is one now, `epoch()` tells sources apart. While a large payload is
    with the consumer no other one is asked for, so that a slow consumer slows the server down.
    """

    __slots__ = (
        "_connection", "_consumer", "_epoch", "_held_back", "_in_loop", "_inbox", "_largest", "_machine", "_tracing",
        "_with_consumer",
    )  # fmt: skip

    def __init__(
        self,
        machine: Machine[Any],
        consumer: Machine[Any] | None,
        connection: Callable[[], Link | None],
        epoch: Callable[[], int],
        in_loop: Callable[..., None],
        tracing: Tracing | None,
        largest: int,
    ) -> None:
        self._machine = machine
        self._consumer = consumer
        self._connection = connection
        self._epoch = epoch
        self._in_loop = in_loop
        self._tracing = tracing
        self._largest = largest
        self._inbox = Inbox()
        self._with_consumer = b""
        self._held_back: tuple[Link, Payload] | None = None

    def take(self, payload: Payload) -> None:
        """Gives a new payload to the consumer. A second copy is answered as the first one was."""
        if payload.size:
            self._announced(payload)
            return
        token = payload.token
        known = self._inbox.receive(token)
        if known in _SETTLED:
            self._settle(token, self._inbox.refusal(token))
        if known is not Known.NEW:
            return
        try:
            outcome = self._give(payload)
        except InvalidArgs as error:
            self._settle(token, CallRefused(Code.BAD_ARGS, str(error)))
        except CallRefused as error:
            self._settle(token, error)
        else:
            outcome.then(lambda: self._in_loop(self._consumed, token, outcome))

    def complete(self, event: PayloadComplete) -> None:
        """All of a large payload is here: gives it to the consumer, if it is what was sent."""
        self._machine.remove(C.ServerDelivering)
        token = event.payload.token
        if not event.intact:
            text = f"payload {event.payload.name!r} is not what was sent: its digest differs"
            self._settle(token, self._failed(Code.DAMAGED, text))
            return
        try:
            payload = replace(event.payload, data=decode_data(event.data), size=0)
        except InvalidArgs as error:
            self._settle(token, self._failed(Code.BAD_ARGS, f"payload {event.payload.name!r}: {error}"))
            return
        self._with_consumer = token
        self.take(payload)

    def lost(self, event: PayloadLost) -> None:
        """A large payload will not come any more."""
        self._machine.remove(C.ServerDelivering)
        if self._held_back is not None and self._held_back[1].token == event.token:
            self._held_back = None

    def _announced(self, payload: Payload) -> None:
        """A large payload may come. It is refused before any of it has, or wanted."""
        known = self._inbox.known(payload.token)
        if known in _SETTLED:
            self._settle(payload.token, self._inbox.refusal(payload.token))
        if known is not Known.NEW:
            return
        try:
            self._check(payload)
        except CallRefused as error:
            self._settle(payload.token, error)
            return
        link = self._connection()
        if link is not None and self._with_consumer:
            self._held_back = link, payload
        elif link is not None:
            self._want(link, payload)

    def _check(self, payload: Payload) -> Machine[Any]:
        """The consumer. Raises `CallRefused` without one, and for what is too large."""
        if self._consumer is None:
            if self._machine not in _told:
                _told.add(self._machine)
                logger.warning("%s gets payloads and has no consumer: %r is refused", self._machine.id, payload.name)
            raise self._failed(Code.NO_CONSUMER, f"payload {payload.name!r} came to a client without a consumer")
        if payload.size > self._largest:
            text = f"payload {payload.name!r} has {payload.size} bytes, the limit here is {self._largest}"
            raise self._failed(Code.TOO_LARGE, text)
        return self._consumer

    def _failed(self, code: Code, text: str) -> CallRefused:
        """What the server is told; here it is an error too."""
        self._machine.add_err(DeliveryFailed(code, text))
        return CallRefused(code, text)

    def _want(self, link: Link, payload: Payload) -> None:
        self._machine.add(C.ServerDelivering, ServerDelivering(payload.name, payload.size, payload.token))
        link.session.want(payload)
        link.flush()

    def _give(self, payload: Payload) -> Result:
        consumer = self._check(payload)
        record = ServerPayload(
            name=payload.name,
            data=unpack_data(payload.data),
            source=payload.source,
            source_tx=payload.source_tx,
            token=payload.token,
            meta=payload.meta or {},
            client=self._machine.id,
            epoch=self._epoch(),
        )
        self._machine.add("ServerPayload", record)
        origin = MutationSource(payload.source, payload.source_tx) if payload.source else None
        with within(self._tracing, payload.trace):
            return consumer.add("ServerPayload", record, e=origin)

    def _consumed(self, token: bytes, outcome: Result) -> None:
        self._settle(token, None if outcome.executed else CallRefused(Code.REFUSED, "the consumer did not accept it"))

    def _settle(self, token: bytes, error: CallRefused | None) -> None:
        self._inbox.settle(token, error)
        if token == self._with_consumer:
            self._with_consumer = b""
        connection = self._connection()
        if connection is None:
            return  # the server sends it again to the next session
        if error is None:
            connection.session.ack(token)
        else:
            connection.session.nack(token, error.code, error.message)
        connection.flush()
        held_back = self._held_back
        if held_back is not None and not self._with_consumer:
            self._held_back = None
            if held_back[0] is connection:  # else it is announced again
                self._want(*held_back)


def check_consumer(consumer: Machine[Any] | None) -> None:
    """Raises `SchemaError` for a machine that cannot take payloads."""
    if consumer is not None and not consumer.has("ServerPayload"):
        raise SchemaError(f"consumer {consumer.id!r} has no ServerPayload: let its states inherit from rpc.Consumer")
