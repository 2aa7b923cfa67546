"""A source that another thread is at work with: what clients ask for waits there, within its time and within limits."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.calls import MAX_CALLS
from asyncmachine.rpc.errors import CallRefused, CallTimedOut, Code
from asyncmachine.rpc.transport.memory import pair
from tests.rpc.test_server import Raw, Served, served

MEGABYTE = 1 << 20


class Shop(rpc.StateSource):
    Closing = am.state()
    Order = am.state(multi=True)
    Open = am.state()


class Busy:
    """A thread that works at a machine until it is let go."""

    def __init__(self, source: am.Machine[Shop]) -> None:
        self.ran: list[str] = []
        self._go_on = threading.Event()
        self._has_begun = threading.Event()
        source.bind({"ClosingState": self._work, "OrderState": lambda e: self.ran.append("Order")})
        source.bind({"OpenState": lambda e: self.ran.append("Open")})
        self._thread = threading.Thread(target=source.add, args=("Closing",))

    def _work(self, e: am.Event) -> None:
        self._has_begun.set()
        self._go_on.wait(30)

    async def begin(self) -> None:
        self._thread.start()
        await asyncio.to_thread(self._has_begun.wait)

    async def end(self) -> None:
        self._go_on.set()
        await asyncio.to_thread(self._thread.join)


@asynccontextmanager
async def busy(source: am.Machine[Shop]) -> AsyncIterator[Busy]:
    found = Busy(source)
    await found.begin()
    yield found
    await found.end()


async def until(holds: Callable[[], bool]) -> None:
    """What another thread does is waited for, as long as the test may take."""
    while not holds():
        await asyncio.sleep(0.001)


def shop() -> am.Machine[Shop]:
    return am.Machine(Shop, id="shop", handler_timeout=60)


@asynccontextmanager
async def mirrored(source: am.Machine[Shop]) -> AsyncIterator[rpc.NetworkMachine[Shop]]:
    server = rpc.Server(source, "busy")
    near, far = pair()
    serving = asyncio.create_task(server.serve(near))
    client = rpc.Client.over(far, Shop, id="busy")
    client.start()
    await client.when_ready()
    yield client.netmach
    await client.stop()
    await server.stop()
    await serving


async def test_a_call_whose_time_is_over_while_it_waits_is_not_run() -> None:
    source = shop()
    async with mirrored(source) as mirror, busy(source) as work:
        late, waiting = mirror.within(0.1).add(Shop.Order), mirror.add(Shop.Open)
        await until(lambda: source.queue_len == 2)
        with pytest.raises((CallTimedOut, CallRefused)):
            await late
        await until(lambda: source.queue_len == 1)
        await work.end()
        assert (await waiting).executed
        assert work.ran == ["Open"]


async def test_the_server_says_so() -> None:
    async with told(shop) as (on, client), busy(on.source) as work:
        await client.say(m.Add(1, (on.source.index("Order"),), deadline=50))
        refused = await client.hear()
        assert isinstance(refused, m.Error)
        assert (refused.id, refused.code) == (1, Code.DEADLINE)
        assert on.source.queue_len == 0
        await work.end()
        assert work.ran == []


async def test_what_somebody_else_wants_too_is_run_all_the_same() -> None:
    source = shop()
    async with mirrored(source) as mirror, busy(source) as work:
        late = mirror.within(0.2).add(Shop.Open)
        await until(lambda: source.queue_len == 1)
        assert source.add(Shop.Open).executed, "it waits already, and is not queued twice"
        with pytest.raises(CallTimedOut):
            await late
        await work.end()
        assert work.ran == ["Open"]


@pytest.mark.parametrize(
    ("value", "taken", "beyond"),
    [(bytes(MEGABYTE - 100), 64, 40), ([[]] * (MEGABYTE - 100), 1, 2)],
    ids=["bytes", "what is larger unpacked"],
)
async def test_a_client_has_no_more_waiting_there_than_it_may(value: object, taken: int, beyond: int) -> None:
    async with told(shop) as (on, client), busy(on.source):
        place = on.source.index("Order")
        tracemalloc.start()
        try:
            for number in range(1, taken + beyond + 1):
                await client.say(m.Add(number, (place,), {"x": value}))
            refused = [await client.hear() for _ in range(beyond)]
            held = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert {(each.code, each.retryable) for each in refused if isinstance(each, m.Error)} == {(Code.RATE, True)}
        assert on.source.queue_len == taken
        assert held < 100 * MEGABYTE, "errors that are remembered hold nothing of their calls"


async def test_questions_count_as_calls() -> None:
    async with told(shop) as (on, client), busy(on.source):
        place = on.source.index("Order")
        for number in range(1, MAX_CALLS + 2):
            await client.say(m.Can(number, (place,)))
        refused = await client.hear()
        assert isinstance(refused, m.Reply)
        assert (refused.id, refused.code) == (MAX_CALLS + 1, Code.RATE)


@asynccontextmanager
async def told(make: Callable[[], am.Machine[Shop]]) -> AsyncIterator[tuple[Served, Raw]]:
    """A server of such a source and a client of single messages."""
    async with served() as on:
        on.source = make()
        on.server = rpc.Server(on.source, "raw")
        client = on.client()
        await client.handshake()
        yield on, client
