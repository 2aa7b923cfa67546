"""Carries what comes at one transport to another, both ways: two pages that meet, or a page and another relay.

As in `bridge`, nothing is kept here, so a side that does not read stops the other's writing, and ends are passed on as
they came, with code and reason. A side that vanished ends the other with 1011: what it has is a part. One direction
may end before the other only where both sides can do that (connections inside of tunnels for many).
"""

from __future__ import annotations

import asyncio

from asyncmachine.rpc.transport import LOST, NORMAL, Transport, TransportClosed
from asyncmachine_relay.bridge import Finishing, carry
from asyncmachine_relay.policy import Reason, Refused

_NO_CODE = 1005
_BROKEN = Refused(Reason.BROKEN, "the other side broke off in the middle; dial again")


async def join(one: Transport, other: Transport) -> None:
    """Returns when nothing more comes from either. When it is cancelled, both are told that something is missing."""
    there = asyncio.create_task(carry(one, other), name="join")
    back = asyncio.create_task(carry(other, one), name="join")
    try:
        await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        if there.done():
            await _pass_on(there.result(), one, other, back)
        else:
            await _pass_on(back.result(), other, one, there)
    finally:
        for task in (there, back):
            task.cancel()
        await asyncio.wait({there, back})
        # Nothing but a cancellation leaves one open.
        for end in (one, other):
            if not end.closed:
                await end.close(_BROKEN.reason.close_code, _BROKEN.close_reason)


async def _pass_on(
    ended: TransportClosed, source: Transport, sink: Transport, back: asyncio.Task[TransportClosed]
) -> None:
    if ended.code == NORMAL and not source.closed and isinstance(source, Finishing) and isinstance(sink, Finishing):
        sink.finish()
        last = await back
        if last.code == NORMAL:
            source.finish()
        else:
            await _end(source, last)
            await _end(sink, last)
        return
    await _end(sink, ended)
    await _end(source, ended)


async def _end(end: Transport, ended: TransportClosed) -> None:
    if ended.code == LOST:
        await end.close(_BROKEN.reason.close_code, _BROKEN.close_reason)
    else:
        await end.close(NORMAL if ended.code == _NO_CODE else ended.code, ended.reason)
