"""Work that would hold up the page: this runs in a thread of its own."""

from __future__ import annotations

import asyncio

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine_web.page.workers import Context

from .states import Primes

STEP = 5_000


class PrimeHandlers:
    """Each count goes a step further."""

    def __init__(self, server: rpc.Server) -> None:
        self.server = server
        self.limit = 0

    async def CountState(self, e: am.Event) -> None:
        e.remove("Exception")  # that of the last time
        try:
            self.limit += STEP
            await asyncio.sleep(0)  # lets the page see that it has begun
            self.server.send_payload("found", f"{count_primes(self.limit)} primes below {self.limit}")
            e.add(Primes.Counted)
        finally:
            e.remove(Primes.Count)  # whatever happened: the page's button waits for it


def count_primes(limit: int) -> int:
    """How many primes there are below the limit."""
    prime = bytearray([1]) * limit
    prime[:2] = bytes(min(limit, 2))
    for number in range(2, int(limit**0.5) + 1):
        if prime[number]:
            prime[number * number :: number] = bytes(len(range(number * number, limit, number)))
    return sum(prime)


async def main(context: Context) -> None:
    """Called in the worker; `page.py` names it."""
    machine = am.Machine(Primes, id=context.id)
    server = rpc.Server(machine, name=context.id, push_interval=0.03)
    machine.bind(PrimeHandlers(server))
    server.listen(context.dial)
    await machine.when_disposed()
