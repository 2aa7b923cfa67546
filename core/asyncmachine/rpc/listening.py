"""A server that has to go and get its connections: it dials, serves, and dials again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from asyncmachine.machine.machine import Machine
from asyncmachine.rpc.backoff import Backoff
from asyncmachine.rpc.outages import Outage
from asyncmachine.rpc.pause import Pause
from asyncmachine.rpc.states import ServerStates as S
from asyncmachine.rpc.transport import Dial, NotOpened, Transport, failed_dial


async def keep_listening(
    machine: Machine[S], dial: Dial, serve: Callable[[Transport], Awaitable[object]], backoff: Backoff, pause: Pause
) -> None:
    """Runs until it is cancelled, or the back-off gives up, which removes `Start`. A nudge of `pause` dials at once.

    A dial may take as long as it likes: some wait until they are called. A session that was ready resets the back-off.
    """
    loop = asyncio.get_running_loop()
    attempt, lost_at = 0, loop.time()
    outage: Outage | None = None
    while True:
        sessions = machine.tick(S.HandshakeDone)
        try:
            transport = await dial()
        except Exception as error:  # noqa: BLE001 (the application's function; it means that there is no connection)
            failure = failed_dial(error)
            outage = outage or Outage(f"{machine.id} gets no connection", failure)
            machine.add_err(failure)
        else:
            if outage is not None:
                outage.over()
                outage = None
            machine.add(S.RpcAccepting)
            await serve(transport)
            machine.add(S.RpcStarting)
        if machine.tick(S.HandshakeDone) != sessions:
            attempt, lost_at = 0, loop.time()
            pause.reset()
        delay = backoff.delay(attempt, loop.time() - lost_at)
        if delay is None:
            machine.add_err(NotOpened(f"gave up listening after {attempt} attempts"))
            machine.remove(S.Start)
            return
        attempt += 1
        await pause.wait(delay)
