"""`/dbg.ws`: the debug stream of pages, workers and programs, handed to a `Recorder`.

What is in it, and whether it is allowed, is the recorder's business. Here it is a WebSocket with the limits of a
tunnel, but that it may be silent, and states that show that something comes: `ConnectEvent`, `InitClient` with the
first frame, `ClientMsg` at most once a second, `DisconnectEvent`; `ErrGraph` if what came did not fit together.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from starlette.websockets import WebSocket

import asyncmachine as am
from asyncmachine.rpc.transport import GOING_AWAY, Peer
from asyncmachine.telemetry.dbg.errors import LIMIT
from asyncmachine.telemetry.dbg.recorder import Recorder
from asyncmachine_relay.guard import Caller
from asyncmachine_relay.limits import Limits
from asyncmachine_relay.policy import Refused
from asyncmachine_relay.states import RelayStates, SenderArgs
from asyncmachine_relay.websocket import WebSocketTransport

EVERY = 1.0
"""Seconds between two `ClientMsg` of one sender."""
NOT_RUN = "nobody runs the recorder, so its file ends only with its close(): async with recorder.running(): ..."

logger = logging.getLogger("asyncmachine.relay")


class Ingest:
    """The senders that are connected."""

    def __init__(self, recorder: Recorder, machine: am.Machine[Any], limits: Limits) -> None:
        self.recorder = recorder
        self._machine = machine
        self._limits = limits
        self._open: set[WebSocketTransport] = set()
        self._number = 0

    async def run(self, socket: WebSocket, caller: Caller) -> Refused | None:
        """One sender, to its end. Returns the rule that it broke, if that was the end."""
        address = f"{caller.address}:{caller.port}"
        transport = WebSocketTransport(socket, Peer("websocket", address), self._limits, caller=False)
        transport.may_idle(True)
        self._number += 1
        if self._number == 1 and not self.recorder.is_running:
            logger.warning(NOT_RUN)
        told = SenderArgs(self._number, address)
        self._open.add(transport)
        self._machine.add(RelayStates.ConnectEvent, told)
        serving = asyncio.create_task(self.recorder.serve(_Noticed(transport, self._machine, told)))
        try:
            await transport.pump()
            fault = await serving
            if fault is not None and fault.close != GOING_AWAY:
                state = RelayStates.ErrLimit if fault.close == LIMIT else RelayStates.ErrGraph
                # Without its stack, whose frames would keep what was sent.
                self._machine.add_err(fault.with_traceback(None), told, state=state)
        finally:
            serving.cancel()
            self._open.discard(transport)
            self._machine.add(RelayStates.DisconnectEvent, told)
        return transport.refused

    async def close_all(self, refused: Refused) -> None:
        """Closes what is open."""
        await asyncio.gather(
            *(each.close(refused.reason.close_code, refused.close_reason) for each in tuple(self._open))
        )


class _Noticed:
    """A transport whose frames show in the relay's machine."""

    def __init__(self, transport: WebSocketTransport, machine: am.Machine[Any], told: SenderArgs) -> None:
        self._transport = transport
        self._machine = machine
        self._told = told
        self._next: float | None = None

    @property
    def peer(self) -> Peer:
        return self._transport.peer

    @property
    def closed(self) -> bool:
        return self._transport.closed

    async def send(self, data: bytes) -> None:
        await self._transport.send(data)

    async def recv(self) -> bytes:
        data = await self._transport.recv()
        now = asyncio.get_running_loop().time()
        if self._next is None:
            self._machine.add(RelayStates.InitClient, self._told)
        if self._next is None or now >= self._next:
            self._next = now + EVERY
            self._machine.add(RelayStates.ClientMsg, self._told)
        return data

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self._transport.close(code, reason)
