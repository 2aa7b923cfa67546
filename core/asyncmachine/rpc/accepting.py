"""Connections that come to an address: it listens, hands each one on, and listens again when the listener ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from asyncmachine.machine.machine import Machine
from asyncmachine.rpc.backoff import Backoff
from asyncmachine.rpc.errors import ListenerFailed
from asyncmachine.rpc.outages import Outage
from asyncmachine.rpc.states import Listening
from asyncmachine.rpc.states import ServerStates as S
from asyncmachine.rpc.transport import Listen, Listener, NotOpened, Transport, TransportClosed, failed_dial
from asyncmachine.rpc.unguarded import warn_unguarded


async def keep_accepting(
    listen: Listen,
    arrived: Callable[[Transport], object],
    *,
    opened: Callable[[str], object],
    failed: Callable[[TransportClosed], object],
    backoff: Backoff,
    what: str,
) -> None:
    """Runs until it is cancelled, or the back-off gives up.

    `opened(address)` is told of each listener, `failed(error)` of its end, of one that cannot be opened, and at last
    that it is given up. `arrived(transport)` returns at once, and owns the transport from then on. A listener at which
    a connection has arrived resets the back-off; one that ends at once, again and again, does not make it spin.
    The log is told once in a row that it fails; `what` names it.
    """
    loop = asyncio.get_running_loop()
    attempt, lost_at = 0, loop.time()
    outage: Outage | None = None
    while True:
        try:
            listener = await listen()
        except Exception as error:  # noqa: BLE001 (the application's function; it means that there is no listener)
            outage = outage or Outage(what, error)
            failed(failed_dial(error))
        else:
            if outage is not None:
                outage.over()
                outage = None
            opened(listener.address)
            if await _accept_all(listener, arrived, failed):
                attempt, lost_at = 0, loop.time()
        delay = backoff.delay(attempt, loop.time() - lost_at)
        if delay is None:
            given_up = NotOpened(f"gave up listening after {attempt} attempts")
            Outage(what, given_up)
            failed(given_up)
            return
        attempt += 1
        await asyncio.sleep(delay)


async def _accept_all(
    listener: Listener,
    arrived: Callable[[Transport], object],
    failed: Callable[[TransportClosed], object],
) -> bool:
    """Hands on what comes, until the listener ends. True if anything came."""
    any_came = False
    try:
        while True:
            arrived(await listener.accept())
            any_came = True
    except TransportClosed as error:
        failed(error)
        return any_came
    finally:
        await listener.close()


async def serve_arrivals(
    machine: Machine[S],
    listen: Listen,
    arrived: Callable[[Transport], object],
    backoff: Backoff,
    where: str,
    *,
    is_open: bool,
) -> None:
    """The life of a server at an address, in the states of its machine. Ends when it is cancelled, or has given up.

    `is_open`: it lets everybody in.
    """
    what = f"{machine.id} cannot take connections{where}"
    # The clients there are need no listener, but they need RpcReady; so it stays as long as they do. ErrNetwork would
    # drop them as well.

    warned = False

    def opened(address: str) -> None:
        nonlocal warned
        if is_open and not warned:
            warned = True
            warn_unguarded(machine.id, address)
        if S.ClientConnected not in machine:
            machine.add(S.RpcAccepting, Listening(address))

    def failed(error: TransportClosed) -> None:
        machine.add_err(ListenerFailed(f"cannot take connections: {error.reason or error}"))
        if S.ClientConnected not in machine:
            machine.add(S.RpcStarting)

    await keep_accepting(listen, arrived, opened=opened, failed=failed, backoff=backoff, what=what)
    machine.remove(S.Start)
