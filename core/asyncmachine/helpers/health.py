"""A sign of life, again and again."""

from __future__ import annotations

import asyncio
from typing import Any

from asyncmachine.helpers.waiting import sleep
from asyncmachine.machine.api import Api
from asyncmachine.machine.scope import Scope

HEALTHCHECK = "Healthcheck"


def healthcheck(machine: Api[Any], *, every: float = 30.0) -> asyncio.Task[None] | None:
    """Adds `Healthcheck` every so many seconds, until the machine is disposed. None if it has no such state."""
    if not machine.has(HEALTHCHECK):
        return None
    scope = Scope()
    machine.on_dispose(lambda _: scope.end())

    async def beat() -> None:
        while await sleep(every):
            machine.add(HEALTHCHECK)

    return scope.create_task(beat(), name=f"{machine.id}.healthcheck")
