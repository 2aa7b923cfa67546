"""Carries what comes at one end of a tunnel to the other, both ways, until both have ended.

    page ── WebSocket, or one connection inside of it ──▶ near ─┐ bridge ┌─ far ◀── TCP ── target

Nothing is kept here: a message that was taken from one end is handed to the other before the next one is taken. So a
side that does not read stops its own writer, and memory is what the two ends hold.

Ends are passed on as they came. In order: what was sent before still arrives. Half (only where both ends can): the
other direction goes on. Torn: the other side is torn too, so that nobody takes a part for the whole.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, runtime_checkable

import asyncmachine as am
from asyncmachine.rpc.transport import LOST, NORMAL, Transport, TransportClosed
from asyncmachine_relay.policy import Reason, Refused
from asyncmachine_relay.states import TunnelStates
from asyncmachine_relay.tcp import TcpEnd
from asyncmachine_relay.waiting import either

_NO_CODE = 1005
_OURS = frozenset(reason.close_code for reason in Reason)


@runtime_checkable
class Finishing(Protocol):
    """A transport whose one direction can end before the other."""

    def finish(self) -> None:
        """Sends nothing more."""


async def bridge(near: Transport, far: TcpEnd, machine: am.Machine[TunnelStates]) -> None:
    """Returns when both ends are closed. Raises `Refused` when the target broke off or broke its framing."""
    up = asyncio.create_task(carry(near, far), name="to the target")
    down = asyncio.create_task(carry(far, near), name="from the target")
    try:
        await either(up, down)
        if up.done():
            await _page_ended(up.result(), near, far, down, machine)
        else:
            await _target_ended(down.result(), near, far, up, machine)
    finally:
        for task in (up, down):
            task.cancel()
        if not (up.done() and down.done()):
            await asyncio.wait({up, down})
        far.abort()


async def carry(source: Transport, sink: Transport) -> TransportClosed:
    """From one to the other, until the source ends: returns how. A sink that ended is told by its own direction."""
    while True:
        try:
            data = await source.recv()
        except TransportClosed as ended:
            return ended
        try:
            await sink.send(data)
        except TransportClosed:
            # Take no more, and let the sink's own direction say how it ended.
            await asyncio.Event().wait()


async def _page_ended(
    ended: TransportClosed,
    near: Transport,
    far: TcpEnd,
    down: asyncio.Task[TransportClosed],
    machine: am.Machine[TunnelStates],
) -> None:
    if not _is_orderly(ended.code, far):
        _note(ended, machine, TunnelStates.ErrClient)
        far.abort()
        return
    far.finish(ended.code, ended.reason)
    machine.add(TunnelStates.HalfClosed)
    if near.closed:
        await far.close(ended.code, ended.reason)
        return
    await _finish(near, await down, machine)
    await far.close()


async def _target_ended(
    ended: TransportClosed,
    near: Transport,
    far: TcpEnd,
    up: asyncio.Task[TransportClosed],
    machine: am.Machine[TunnelStates],
) -> None:
    can_go_on = isinstance(near, Finishing) and ended.code == NORMAL and not far.closed
    await _finish(near, ended, machine)
    if not can_go_on:
        await far.close()
        return
    machine.add(TunnelStates.HalfClosed)
    last = await up
    if _is_orderly(last.code, far):
        await far.close()
    else:
        far.abort()


async def _finish(near: Transport, ended: TransportClosed, machine: am.Machine[TunnelStates]) -> None:
    """Passes the target's end on. Raises `Refused` for one that was none."""
    if ended.code == LOST:
        _note(ended, machine, TunnelStates.ErrServer)
        raise Refused(Reason.BROKEN, "the target broke off in the middle; dial again")
    if ended.code == Reason.TOO_LARGE.close_code:
        _note(ended, machine, TunnelStates.ErrServer)
        raise Refused(Reason.BROKEN, "the target sent a message that is too large, or none at all")
    if ended.code == NORMAL and isinstance(near, Finishing):
        near.finish()
    else:
        await near.close(ended.code, ended.reason)


def _note(ended: TransportClosed, machine: am.Machine[TunnelStates], state: TunnelStates) -> None:
    """Shows an end that was none. Its stack goes: it would say where we read, and be written out for each one."""
    machine.add_err(ended.with_traceback(None), state=state)


def _is_orderly(code: int, far: TcpEnd) -> bool:
    """Whether the target may take the page's end for one: it has everything, or is told why it has not."""
    if far.tells_why:
        return code != LOST
    return code in {NORMAL, _NO_CODE} or (code >= 3000 and code not in _OURS)
