"""What the workers of `bench.browser` run."""

from __future__ import annotations

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine_web.page.workers import Context


class Desk(rpc.StateSource):
    Noted = am.state(multi=True)


async def echo(context: Context) -> None:
    """Sends everything back."""
    while True:
        await context.port.send(await context.port.recv())


async def desk(context: Context) -> None:
    """Serves a machine."""
    machine = am.Machine(Desk, id="desk")
    server = rpc.Server(machine, "desk", push_interval=0.001)
    server.listen(context.dial)
    await machine.when_disposed()


async def hang_on(context: Context) -> None:
    """Tells that it begins, and never lets go of the thread, whatever is raised in it."""
    await context.port.recv()
    await context.port.send(b"gone")
    while True:
        try:
            while True:
                pass
        except am.HandlerDeadline:
            pass
