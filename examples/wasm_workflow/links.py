"""How one machine follows another one that is at the far end of a transport."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import asyncmachine as am
from asyncmachine.rpc import Client, Peer, Transport


async def attend(client: Client, while_ready: Callable[[], AbstractContextManager[None]]) -> None:
    """Runs a client to its end. The context is entered whenever its mirror is live, and left when it is not."""
    ready = ExitStack()

    def enter(e: am.Event) -> None:
        ready.enter_context(while_ready())

    client.machine.bind({"ReadyState": enter, "ReadyEnd": lambda e: ready.close()})
    try:
        await client.run()
    finally:
        ready.close()
        client.machine.dispose()


@contextmanager
def following(source: am.Api[Any], target: am.Machine[Any], states: Mapping[str, str]) -> Iterator[None]:
    """States of the target follow those of the source, and go off at the end.

    All that changed at once is changed at once, so that states which require one another arrive together.
    """

    def follow(e: am.Event) -> None:
        if not target.is_disposed:
            am.pipes.sync(source, target, states)

    am.pipes.sync(source, target, states)
    binding = source.bind({"AnyState": follow})
    try:
        yield
    finally:
        if not source.is_disposed:
            source.detach(binding)
        target.remove(tuple(states.values()))


class Metered:
    """A transport that tells `count` the size of each message, both ways."""

    def __init__(self, transport: Transport, count: Callable[[int], object]) -> None:
        self.transport = transport
        self.count = count

    @property
    def peer(self) -> Peer:
        return self.transport.peer

    @property
    def closed(self) -> bool:
        return self.transport.closed

    async def send(self, data: bytes) -> None:
        self.count(len(data))
        await self.transport.send(data)

    async def recv(self) -> bytes:
        data = await self.transport.recv()
        self.count(len(data))
        return data

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self.transport.close(code, reason)
