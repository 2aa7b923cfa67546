"""Payloads on the client's side: each is given to the consumer once, and acknowledged when it has accepted it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asyncmachine.machine.errors import InvalidArgs
from asyncmachine.machine.machine import Machine
from asyncmachine.machine.mutation import MutationSource
from asyncmachine.machine.result import Result
from asyncmachine.rpc.asking import ClientSession
from asyncmachine.rpc.connection import Connection
from asyncmachine.rpc.deliveries import Inbox, Known
from asyncmachine.rpc.errors import CallRefused, Code, DeliveryFailed
from asyncmachine.rpc.messages import Payload
from asyncmachine.rpc.states import ServerPayload
from asyncmachine.rpc.tracing import Tracing, within
from asyncmachine.rpc.values import unpack_data


class Consuming:
    """Takes payloads over all sessions of one client. `connection()` is the one to answer on, if there is one now."""

    __slots__ = ("_connection", "_consumer", "_in_loop", "_inbox", "_machine", "_tracing")

    def __init__(
        self,
        machine: Machine[Any],
        consumer: Machine[Any] | None,
        connection: Callable[[], Connection[ClientSession] | None],
        in_loop: Callable[..., None],
        tracing: Tracing | None,
    ) -> None:
        self._machine = machine
        self._consumer = consumer
        self._connection = connection
        self._in_loop = in_loop
        self._tracing = tracing
        self._inbox = Inbox()

    def take(self, payload: Payload) -> None:
        """Gives a new payload to the consumer. A second copy is acknowledged again if the first one was consumed."""
        token = payload.token
        known = self._inbox.receive(token)
        if known is Known.CONSUMED:
            self._settle(token, None)
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

    def _give(self, payload: Payload) -> Result:
        if self._consumer is None:
            text = f"payload {payload.name!r} came to a client without a consumer"
            self._machine.add_err(DeliveryFailed(Code.NO_CONSUMER, text))
            raise CallRefused(Code.NO_CONSUMER, text)
        record = ServerPayload(
            name=payload.name,
            data=unpack_data(payload.data),
            source=payload.source,
            source_tx=payload.source_tx,
            token=payload.token,
            meta=payload.meta or {},
        )
        self._machine.add("ServerPayload", record)
        origin = MutationSource(payload.source, payload.source_tx) if payload.source else None
        with within(self._tracing, payload.trace):
            return self._consumer.add("ServerPayload", record, e=origin)

    def _consumed(self, token: bytes, outcome: Result) -> None:
        self._settle(token, None if outcome.executed else CallRefused(Code.REFUSED, "the consumer did not accept it"))

    def _settle(self, token: bytes, error: CallRefused | None) -> None:
        self._inbox.settle(token, consumed=error is None)
        connection = self._connection()
        if connection is None:
            return  # the server sends it again to the next session
        if error is None:
            connection.session.ack(token)
        else:
            connection.session.nack(token, error.code, error.message)
        connection.flush()
