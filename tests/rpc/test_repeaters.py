"""Mirrors that are sources themselves: what is between a leaf and the root may be away, slow, replaced or gone."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.calls import MAX_CALLS
from asyncmachine.rpc.codec import decode
from asyncmachine.rpc.errors import CallRefused, CallTimedOut, Code, Overloaded
from asyncmachine.rpc.messages import Error
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.states import ServerStates as S
from asyncmachine.rpc.transport import Transport, TransportClosed
from asyncmachine.rpc.transport.memory import Frame, MemoryTransport, pair
from asyncmachine.rpc.watching import LIMIT as WAITS
from tests.rpc.behaviour import QUICK
from tests.rpc.test_server import Raw


class Root(rpc.StateSource):
    A = am.state(multi=True)
    B = am.state()
    C = am.state(multi=True)


class Link:
    """A client of a source, over memory that can be cut, held up, or led to another source."""

    def __init__(self, source: am.View[Any], id: str, schema: Any = Root, **server: Any) -> None:
        self.server = rpc.Server(source, f"to-{id}", push_interval=0.001, **server)
        self.is_up = True
        self.stalls = False
        self.loses_errors = False
        self._ends: list[MemoryTransport] = []
        self._serving: set[asyncio.Task[Any]] = set()
        self.client = rpc.Client(self._dial, schema, id=id, backoff=QUICK)

    @property
    def mirror(self) -> rpc.NetworkMachine[Any]:
        return self.client.netmach

    async def _dial(self) -> Transport:
        if not self.is_up:
            raise TransportClosed
        near, far = pair(self._fault)
        task = asyncio.create_task(self.server.serve(near))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        self._ends.append(far)
        return far

    def _fault(self, frame: Frame) -> list[bytes]:
        lost = self.stalls or (self.loses_errors and isinstance(decode(frame.data), Error))
        return [] if lost else [frame.data]

    def cut(self) -> None:
        self._ends[-1].cut()

    async def start(self) -> None:
        self.client.start()
        await self.client.when_ready()

    async def away(self) -> None:
        self.is_up = False
        self.cut()
        await self.client.machine.when_not(C.Ready)

    async def back(self) -> None:
        self.is_up = True
        await self.client.when_ready()

    async def stop(self) -> None:
        await self.client.stop()
        await self.server.stop()
        if self._serving:
            await asyncio.wait(self._serving)
        self.server.machine.dispose()
        self.client.machine.dispose()


@asynccontextmanager
async def chain(source: am.View[Any], levels: int = 2) -> AsyncIterator[list[Link]]:
    links: list[Link] = []
    for level in range(levels):
        links.append(Link(links[-1].mirror if links else source, f"l{level}"))
        await links[-1].start()
    yield links
    for link in reversed(links):
        await link.stop()


def root() -> am.Machine[Any]:
    return am.Machine(Root, id="root")


# What was not sent


async def test_a_call_that_a_repeater_cannot_pass_on_was_not_run_and_may_be_tried_again() -> None:
    source = root()
    async with chain(source) as (upper, lower):
        await upper.away()
        with pytest.raises(CallRefused, match="add B was not sent") as refused:
            await lower.mirror.add("B")
        assert (refused.value.code, refused.value.retryable) == (Code.NOT_EXECUTED, True)
        await upper.back()
        assert (await lower.mirror.add("B")).executed
        assert source.tick("B") == 1


async def test_a_notification_that_a_repeater_cannot_pass_on_is_an_error_at_the_leaf() -> None:
    source = root()
    async with chain(source) as (upper, lower):
        await upper.away()
        assert (await lower.mirror.add_ns("A")).executed, "it was sent"
        await lower.client.machine.when(C.Exception)
        error = lower.client.machine.err
        assert isinstance(error, CallRefused)
        assert error.code == Code.NOT_EXECUTED
        await upper.back()
        lower.client.machine.remove(C.Exception)
        await lower.mirror.add_ns("A")
        await lower.client.sync()
        await upper.client.sync()
        assert source.tick("A") == 1
        assert C.Exception not in lower.client.machine


async def test_a_notification_that_the_source_refuses_is_an_error_at_its_client() -> None:
    source = root()
    link = Link(source, "l0", allow=lambda *_: rpc.Grants(mutate=("B",)))
    await link.start()
    await link.mirror.add_ns("A")
    await link.client.machine.when(C.Exception)
    assert isinstance(link.client.machine.err, CallRefused)
    assert link.client.machine.err.code == Code.FORBIDDEN
    assert source.tick("A") == 0
    await link.stop()


async def test_an_error_of_a_notification_that_a_connection_took_along_is_told_in_the_next_one_once() -> None:
    link = Link(root(), "l0", allow=lambda *_: rpc.Grants(mutate=("B",)))
    await link.start()
    refused: list[CallRefused] = []
    heard = asyncio.Event()

    def note(event: am.Event) -> None:
        error = event.args(am.ErrorArgs).err
        if isinstance(error, CallRefused):
            refused.append(error)
            heard.set()

    link.client.machine.bind({"ExceptionState": note})
    link.loses_errors = True
    await link.mirror.add_ns("A")
    await link.client.sync()
    assert not refused
    link.loses_errors = False
    await link.away()
    await link.back()
    async with asyncio.timeout(5.0):
        await heard.wait()
    await link.away()
    await link.back()
    await link.client.sync()
    assert [error.code for error in refused] == [Code.FORBIDDEN]
    await link.stop()


# What is shared


async def test_one_client_of_a_repeater_leaves_room_for_the_others() -> None:
    async with chain(root(), 1) as (upper,):
        hog, other = Link(upper.mirror, "hog"), Link(upper.mirror, "other")
        for link in (hog, other):
            await link.start()
        upper.stalls = True
        greedy = [hog.mirror.add("A") for _ in range(MAX_CALLS)]
        await hog.client.sync()
        assert sum(not result.done() for result in greedy) == MAX_CALLS // 2, "as many as it was told"
        with pytest.raises(Overloaded, match="wait for their answers: await some of them first"):
            await greedy[-1]
        modest = [other.mirror.add("A") for _ in range(100)]
        await other.client.sync()
        assert not any(result.done() for result in modest)
        more = [other.mirror.add("A") for _ in range(MAX_CALLS // 4)]
        await other.client.sync()
        assert sum(not result.done() for result in (*modest, *more)) == MAX_CALLS // 4, "half of what is left"
        with pytest.raises(CallRefused, match="wait for the source: await some of them first") as error:
            await more[-1]
        assert (error.value.code, error.value.retryable) == (Code.RATE, True)
        upper.stalls = False
        upper.cut()
        for result in (*modest, *(result for result in greedy if not result.done())):
            assert (await result).executed
        assert (await hog.mirror.add("A")).executed, "the room comes back"
        for result in (*greedy, *more):
            if result._error is not None:
                result._heard = True  # type: ignore[attr-defined]
        await hog.stop()
        await other.stop()


async def test_so_does_one_that_waits_for_arguments() -> None:
    async with chain(root(), 1) as (upper,):
        first, second = Link(upper.mirror, "first"), Link(upper.mirror, "second")
        for link in (first, second):
            await link.start()
        waits = []
        for link in (first, second):
            waits.append([link.mirror.when_args("A", x=n) for n in range(600)])
            await link.client.sync()
        assert [sum(not wait.done() for wait in each) for each in waits] == [WAITS // 2, WAITS // 4]
        with pytest.raises(CallRefused, match="no more waits can be passed on") as error:
            await waits[0][-1]
        assert error.value.code == Code.RATE
        assert (await first.mirror.add("A", x=511)).executed
        await waits[0][511]
        for each in waits[0]:
            each.cancel()
        await first.client.sync()
        again = second.mirror.when_args("A", x=600)
        await second.client.sync()
        assert not again.done(), "the room comes back"
        for link in (first, second):
            await link.stop()


class Deaf:
    """The end of a pipe that can stop listening."""

    def __init__(self, end: MemoryTransport) -> None:
        self.peer, self.send, self.close = end.peer, end.send, end.close
        self.listens = asyncio.Event()
        self.listens.set()
        self._end = end

    @property
    def closed(self) -> bool:
        return self._end.closed

    async def recv(self) -> bytes:
        await self.listens.wait()
        return await self._end.recv()


async def test_what_a_client_asks_does_not_pile_up_before_a_source_that_does_not_listen() -> None:
    near, far = pair()
    deaf = Deaf(near)
    upper, middle = rpc.Server(root(), "upper"), rpc.Client.over(far, Root, id="middle")
    serving = asyncio.create_task(upper.serve(deaf))
    middle.start()
    await middle.when_ready()
    near, far = pair()
    lower, client = rpc.Server(middle.netmach, "lower"), Raw(far)
    serving_lower = asyncio.create_task(lower.serve(near))
    await client.handshake(m.Hello("amrpc", (1, 1), "rc-raw", features=("ask",)))
    place = middle.netmach.index(Root.A)
    deaf.listens.clear()
    hearing = asyncio.create_task(client.closed())
    large: dict[str | int, Any] = {"x": bytes(900_000)}
    tracemalloc.start()
    try:
        for number in range(1, 251):
            await client.say(m.Can(number, (place,), False, large))
            await client.say(m.WhenArgs(number, place, large), m.WhenCancel(number))
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 150 << 20, "questions of 32 MiB wait, at up to four places, of what were 430 MiB"
    deaf.listens.set()
    await lower.stop()
    await middle.stop()
    await upper.stop()
    await asyncio.wait([serving, serving_lower, hearing])


async def test_a_call_is_passed_on_with_what_is_left_of_its_time() -> None:
    async with chain(root(), 2) as (upper, lower):
        upper.stalls = True
        with pytest.raises(CallTimedOut):
            await lower.mirror.within(0.05).add("A")
        (passed_on,) = upper.client._connections.session.calls._open.values()  # type: ignore[union-attr]
        while not passed_on.is_told:  # its time is over there as well, a moment later
            await asyncio.sleep(0.001)


async def test_what_waits_at_a_repeater_takes_no_more_than_it_did_on_the_way() -> None:
    async with chain(root()) as (upper, lower):
        upper.stalls = True
        many: dict[str, Any] = {"x": [[]] * 50_000}
        tracemalloc.start()
        try:
            waiting = [lower.mirror.add("A", many) for _ in range(6)]
            await lower.client.sync()
            taken = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert taken < 6 * 4 * 50_000, f"{taken:,} bytes for frames of 50,000 each, at up to four places"
        upper.stalls = False
        upper.cut()
        for result in waiting:
            await result


# Sources that are replaced, or gone


async def test_every_level_learns_that_the_source_is_another_one() -> None:
    first, second = root(), am.Machine(Root, id="second")
    for _ in range(20):
        second.add(Root.A)
    async with chain(first, 3) as links:
        for _ in range(3):
            await links[-1].mirror.add("C")
        queued = [link.mirror.when_queue(first.queue_tick + 5) for link in links]
        ticks = [link.mirror.when_next_active("C") for link in links]
        old, links[0].server = links[0].server, rpc.Server(second, "second", push_interval=0.001)
        await old.stop()
        for wait in (*queued, *ticks):
            with pytest.raises(rpc.SourceRestarted):
                await wait
        for link in links:
            await link.client.when_ready()
        assert (await links[-1].mirror.add("B")).executed
        for link in links:
            await link.client.sync()
            assert link.mirror.clock() == second.clock()
            assert link.mirror.queue_tick == second.queue_tick
        old.machine.dispose()


@pytest.mark.parametrize("steps", [False, True], ids=["clocks", "steps"])
async def test_a_client_of_a_source_that_is_disposed_of_is_told(steps: bool) -> None:
    source = root()
    link = Link(source, "l0")
    link.client = rpc.Client(link._dial, Root, id="l0", backoff=QUICK, steps=steps)
    await link.start()
    source.dispose()
    await link.client.machine.when_not(C.Start)
    assert link.client.machine.not_(C.Ready, C.Connected)
    with pytest.raises(rpc.NotConnected, match="the source 'root' was disposed of"):
        await link.client.when_ready()
    assert S.ClientConnected not in link.server.machine
    await link.stop()


async def test_so_is_the_leaf_of_a_mirror_that_is_disposed_of() -> None:
    async with chain(root()) as (upper, lower):
        upper.mirror.dispose()
        await lower.client.machine.when_not(C.Start)
        assert "was disposed of" in str(lower.client.last_end)


# All of it, at random


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_is_cut_all_levels_agree_in_the_end_and_nothing_runs_twice(seed: int) -> None:
    draw = random.Random(seed)
    ran: list[int] = []

    class Count:
        def AState(self, e: am.Event) -> None:
            ran.append(e.raw_args["n"])

    source = am.Machine(Root, Count(), id="root")
    errors: list[object] = []
    async with chain(source, 3) as links:
        for link in links:
            link.client.machine.bind({"ExceptionState": lambda e: errors.append(e.args(am.ErrorArgs).err)})
        calls: dict[int, am.Result] = {}
        told: dict[int, am.Result] = {}
        for n in range(120):
            leaf = draw.choice(links)
            if draw.random() < 0.8:
                calls[n] = leaf.mirror.add("A", n=n)
            else:
                told[n] = leaf.mirror.add_ns("A", n=n)
            if draw.random() < 0.1:
                draw.choice(links).cut()
            if draw.random() < 0.05:
                source.toggle(Root.B)
            for _ in range(draw.randrange(6)):
                await asyncio.sleep(0)
        outcomes = {n: await _outcome(result) for n, result in calls.items()}
        sent = {n for n, result in told.items() if await _outcome(result) == "executed"}
        for link in links:
            await link.client.when_ready()
        for link in reversed(links):
            await link.client.sync()
        for link in links:
            await link.client.sync()
            assert (link.mirror.clock(), link.mirror.queue_tick) == (source.clock(), source.queue_tick)
    assert len(ran) == len({*ran}), "one ran twice"
    for n, outcome in outcomes.items():
        assert (n in ran) or outcome != "executed", (n, outcome)
        assert (n not in ran) or outcome in ("executed", Code.UNKNOWN_OUTCOME), (n, outcome)
    lost = [n for n in sent if n not in ran]
    heard = [error for error in errors if isinstance(error, CallRefused)]
    assert len(lost) <= len(heard), "a notification was lost in silence"


async def _outcome(result: am.Result) -> str:
    try:
        return str((await result).outcome)
    except rpc.RpcError as error:
        return str(getattr(error, "code", Code.UNKNOWN_OUTCOME))
