"""Situations of the checklist that need more than a pair: slow sources, strangers, lost pushes, large numbers.

`test_index` says which of them stands for which entry.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.codec import decode, encode
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.states import ServerStates as S
from asyncmachine.rpc.transport import Transport, TransportClosed
from tests.rpc.behaviour import HANG, QUICK, Basic, Net, Relations, Taking, behaviour, paired, raises

Fault = Callable[[m.AnyMessage, bytes], Iterable[bytes]]


class FaultyEnd:
    """One end of any connection. What is sent there goes through `fault`, which returns what is sent instead."""

    def __init__(self, inner: Transport, fault: Fault) -> None:
        self.inner = inner
        self.fault = fault
        self.peer = inner.peer

    @property
    def closed(self) -> bool:
        return self.inner.closed

    async def send(self, data: bytes) -> None:
        for message in self.fault(decode(data), data):
            await self.inner.send(message)

    async def recv(self) -> bytes:
        return await self.inner.recv()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self.inner.close(code, reason)


class FaultyServer:
    """Connections of which the server's end is faulty."""

    def __init__(self, net: Net, fault: Fault) -> None:
        self.net = net
        self.fault = fault

    async def connect(self) -> tuple[Transport, Transport]:
        near, far = await self.net.connect()
        return FaultyEnd(near, self.fault), far

    def cut(self) -> None:
        self.net.cut()


# Calls that are not answered


@behaviour
async def retry_call(net: Net) -> None:
    """An error on the way: the call is retried, and has run once."""
    runs: list[str] = []

    def asked(e: am.Event) -> None:
        runs.append(e.state)
        if len(runs) == 1:
            net.cut()

    async with paired(net, handlers={"AState": asked, "DState": asked}) as pair:
        retried = pair.client.machine.when_ticks(C.RetryingCall, 1)
        assert (await pair.mirror.add("A")).executed
        assert retried.done()
        await pair.client.when_ready()
        assert (await pair.mirror.add("D")).executed
        assert runs == ["A", "D"]
        assert C.RetryingCall not in pair.client.machine
        pair.assert_equal()


@behaviour
async def retry_err_network_timeout(net: Net) -> None:
    """A source that is at work for long answers late: the call is asked for again, and has run once."""
    at_work, go_on, runs = threading.Event(), threading.Event(), []

    def works(e: am.Event) -> None:
        at_work.set()
        go_on.wait(HANG)

    handlers = {"AState": works, "DState": lambda e: runs.append(e.state)}
    async with paired(net, handlers=handlers, timing=rpc.Timing(retry=0.01)) as pair:
        thread = threading.Thread(target=pair.source.add, args=("A",))
        thread.start()
        await asyncio.to_thread(at_work.wait, HANG)
        retried = pair.client.machine.when(C.RetryingCall)
        call = pair.mirror.add("D")
        await retried
        go_on.set()
        assert (await call).executed
        await asyncio.to_thread(thread.join)
        assert runs == ["D"]
        (served,) = pair.server.statistics().values()
        assert served.calls == 1
        assert pair.client.machine.is_(C.Ready)
        assert pair.client.machine.not_(C.RetryingCall, C.RetryingConn)
        assert pair.server.machine.is_(S.Ready)
        await pair.client.sync()
        pair.assert_equal()


# Strangers


async def last_words(end: Transport) -> TransportClosed:
    """How a connection ends, whatever comes before that."""
    try:
        while True:
            await end.recv()
    except TransportClosed as closed:
        return closed


async def say(end: Transport, *frames: bytes) -> None:
    """Sends as much of it as the other side takes."""
    try:
        for frame in frames:
            await end.send(frame)
    except TransportClosed:
        pass


@behaviour
async def after_a_refusal_nothing_is_answered(net: Net) -> None:
    known = {"rc-test": rpc.Grants()}
    async with paired(net, allow=lambda client, *_: known.get(client), clients=2) as pair:
        far = await pair.dial()
        requests: tuple[m.Message, ...] = (m.Ready(b"x"), m.Add(1, (1,)), m.SyncRequest(2))
        await say(far, encode(m.Hello(m.MAGIC, (1, 1), "rc-stranger")), *map(encode, requests))
        assert decode(await far.recv()) == m.Reject("FORBIDDEN", "rc-stranger is not let in")
        with raises(TransportClosed) as caught:
            await far.recv()
        assert caught.error.code == 4403
        assert pair.source.queue_tick == 1, "nothing was run"
        assert (await pair.mirror.add("A")).executed
        await far.close()


@behaviour
async def garbage_ends_its_own_connection_and_no_other(net: Net) -> None:
    garbage = (b"\x00", b"\xc0\xc0", b"garbage", bytes(999), encode(m.Ready(b"x")), encode(m.Result(1, 0)))
    async with paired(net, clients=9) as pair:
        for frame in garbage:
            far = await pair.dial()
            await say(far, frame, encode(m.Hello(m.MAGIC, (1, 1), "rc-garbage")))
            closed = await last_words(far)
            assert (closed.code, closed.reason[:10]) == (4400, "BAD_FRAME:"), frame
            await far.close()
        assert pair.server.client_ids == ("rc-test",)
        assert (await pair.mirror.add("A")).executed


# Pushes that are lost


@behaviour
async def pushes_that_are_lost_doubled_and_swapped_converge(net: Net) -> None:
    """Each costs one sync at most."""
    held: list[bytes] = []
    plan = ["pass", "lose", "pass", "repeat", "hold", "release", "pass"]
    pushed = asyncio.Semaphore(0)

    def fault(found: m.AnyMessage, data: bytes) -> Iterable[bytes]:
        if not isinstance(found, m.ClockPush):
            return (data,)
        pushed.release()
        what = plan.pop(0) if plan else "pass"
        if what == "hold":
            held.append(data)
        return {"lose": (), "hold": (), "repeat": (data, data), "release": (data, *held)}.get(what, (data,))

    async with paired(FaultyServer(net, fault)) as pair:
        while plan:
            kept_back = plan[0] in ("lose", "hold")
            pair.source.add("Ask")
            await pushed.acquire()
            if not kept_back:
                await pair.mirror.when_time(["Ask"], [pair.source.tick("Ask")])
        pair.assert_equal()
        found = pair.client.statistics
        assert found.full_syncs == found.out_of_step == 2
        assert found.duplicates >= 1


@behaviour
async def syncs_that_race_with_pushes_keep_the_mirror_exact(net: Net) -> None:
    draw = random.Random(5)

    def fault(found: m.AnyMessage, data: bytes) -> Iterable[bytes]:
        return (data,) * draw.choice((0, 1, 1, 2)) if isinstance(found, m.ClockPush) else (data,)

    async with paired(FaultyServer(net, fault), push_interval=0.0001) as pair:
        for _ in range(60):
            match draw.randrange(5):
                case 0:
                    pair.client.sync()
                case 1:
                    pair.mirror.add_ns(draw.choice("ABCD"))
                case 2:
                    await asyncio.sleep(0.0002)
                case _:
                    getattr(pair.source, draw.choice(("add", "remove")))(draw.choice(("A", "B", "C", "D", "Ask")))
        assert (await pair.mirror.add("Ask")).executed
        await pair.client.sync()
        pair.assert_equal()


# Readers that are slow


class Deaf(FaultyEnd):
    """The end of somebody who stops reading."""

    def __init__(self, inner: Transport) -> None:
        super().__init__(inner, lambda found, data: (data,))
        self.hears = asyncio.Event()
        self.hears.set()

    async def recv(self) -> bytes:
        await self.hears.wait()
        return await super().recv()


@behaviour
async def a_slow_reader_costs_no_memory_and_disturbs_nobody(net: Net) -> None:
    async with paired(net, clients=2, push_interval=0.0001) as pair:
        deaf = Deaf(await pair.dial())
        taking: am.Machine[Any] = am.Machine(Basic, Taking(), id="consumer")
        slow: rpc.Client = rpc.Client.over(deaf, Basic, id="slow", consumer=taking)
        slow.start()
        await slow.when_ready()
        deaf.hears.clear()
        served = next(client for client in pair.server._clients if client.id == "rc-slow")
        for _ in range(100):  # until everything on the way is full
            pair.server.send_payload("filler", bytes(500_000), destination="rc-slow")
            await pair.client.sync()
            if len(served.connection._backlog) >= 20:
                break
        pair.source.add("Ask")
        await pair.mirror.when("Ask")
        pushes = pair.server.statistics()["rc-slow"].pushes
        waiting = len(served.connection._backlog)
        for _ in range(300):
            pair.source.add("Ask")
            await asyncio.sleep(0)
        await pair.mirror.when_time(["Ask"], [pair.source.tick("Ask")])
        pair.assert_equal()
        told = pair.server.statistics()["rc-slow"]
        assert served.connection.congested
        # A socket may still take a little: the system's buffers grow.
        assert told.pushes - pushes < 20
        assert len(served.connection._backlog) < waiting + 20
        assert told.conflated > 0
        deaf.hears.set()
        await slow.netmach.when_time(["Ask"], [pair.source.tick("Ask")])
        await slow.stop()
        slow.machine.dispose()


# Sources and servers that begin anew


@behaviour
async def a_source_that_was_restored_begins_a_new_session(net: Net) -> None:
    """Its process has ended: the machine goes on where it was, and tells that by its machine tick."""
    async with paired(net) as pair:
        await pair.mirror.add("Ask")
        await pair.mirror.add("B")
        stale, ticks = pair.mirror.when_queue(10_000), pair.mirror.when_time(["Ask"], [3])
        old = pair.server
        kept, machine_tick = pair.source.export(), pair.mirror.machine_tick
        pair.source = am.Machine(Basic, id="source")
        pair.source.restore(kept)
        pair.server = rpc.Server(pair.source, "again", push_interval=0.001)
        await old.stop()
        await pair.client.machine.when_not(C.Connected)
        await pair.client.when_ready()
        assert pair.mirror.machine_tick == pair.source.machine_tick == machine_tick + 1
        assert pair.mirror.is_("Ask", "B")
        with raises(rpc.SourceRestarted):
            await stale
        assert not ticks.done()
        assert (await pair.mirror.add("Ask")).executed
        await ticks
        pair.assert_equal()
        # What is only a cut goes on with the new session.
        sessions = pair.client.machine.tick(C.HandshakeDone)
        net.cut()
        pair.source.add("A")
        await pair.client.machine.when_time([C.HandshakeDone], [sessions + 2])
        assert "A" in pair.mirror
        pair.assert_equal()
        old.machine.dispose()


@behaviour
async def a_server_that_dials_pushes_again_after_it_has_dialled_again(net: Net) -> None:
    """The last change, too, which nothing but the timer of its pushes tells."""
    ends: asyncio.Queue[Transport] = asyncio.Queue()

    async def dial() -> Transport:
        near, far = await net.connect()
        ends.put_nowait(far)
        return near

    source: am.Machine[Any] = am.Machine(Basic, id="source")
    server = rpc.Server(source, "dialling", push_interval=0.02, backoff=QUICK)
    client: rpc.Client = rpc.Client(ends.get, Basic, id="test", backoff=QUICK)
    server.listen(dial)
    client.start()
    async with asyncio.timeout(HANG):
        for time in range(1, 4):
            await client.when_ready()
            await server.machine.when(S.Ready)
            for _ in range(3):
                source.add("Ask")
                await asyncio.sleep(0)
            await client.netmach.when_time(["Ask"], [6 * time - 1])
            lost = client.machine.when_not(C.Connected), server.machine.when_not(S.RpcReady)
            net.cut()
            await am.wait_all(*lost)
    await client.stop()
    await server.stop()
    client.machine.dispose()
    server.machine.dispose()


# Large numbers


@behaviour
async def differences_have_no_width(net: Net) -> None:
    """A tick that grew by more than 2**32 and a queue that took more than 65,535 places come as one difference each."""
    async with paired(net) as pair:
        syncs = pair.client.statistics.full_syncs
        pair.source._ticks = [tick + (2**40 if name == "Ask" else 0) for name, tick in pair.source.clock().items()]
        pair.source._queue_tick += 70_000
        pair.source.add("Ask")
        await pair.mirror.when("Ask")
        assert pair.mirror.tick("Ask") == 2**40 + 1
        pair.assert_equal()
        assert pair.client.statistics.full_syncs == syncs


@cache
def huge() -> am.Schema:
    """Made once: it takes seconds."""
    return am.Schema({f"S{n}": am.State() for n in range(66_000)})


@behaviour
async def more_than_65_535_states(net: Net) -> None:
    async with paired(net, huge()) as pair:
        assert len(pair.mirror.names) == 66_001
        assert (await pair.mirror.add("S65999")).executed
        assert pair.mirror.is_("S65999")
        pair.source.add("S65998")
        await pair.mirror.when("S65998")
        pair.assert_equal()


# What others see


@behaviour
async def what_a_partial_mirror_is_told_changes_nothing_for_other_tracers(net: Net) -> None:
    class Called(am.Tracer):
        id = "called"

        def __init__(self) -> None:
            self.seen: list[tuple[str, ...]] = []

        def transition_end(self, tx: am.Transition) -> None:
            self.seen.append(tx.called)

    last = Called()
    async with paired(net, Relations, schema=None, client={"allowed": ("C",), "steps": True}) as pair:
        pair.source.trace(last)
        pair.source.add(["D", "C"])
        await pair.client.sync()
        assert last.seen[0] == ("D", "C")


@behaviour
async def handlers_of_a_mirror_can_be_taken_away_again(net: Net) -> None:
    async with paired(net) as pair:
        seen: list[str] = []
        first = pair.mirror.bind({"AState": lambda e: seen.append("first")})
        pair.mirror.bind({"AState": lambda e: seen.append("second")})
        pair.mirror.detach(first)
        await pair.mirror.add("A")
        assert seen == ["second"]


@behaviour
async def a_quick_add_and_remove_pass_a_pipe_in_their_order(net: Net) -> None:
    async with paired(net) as pair:
        local: am.Machine[Any] = am.Machine(Basic)
        am.pipes.bind(local, "A", pair.mirror)
        for _ in range(50):
            local.add("A")
            local.remove("A")
        local.add("A")
        await pair.source.when_time(["A"], [101])
        await pair.client.sync()
        assert pair.source.tick("A") == pair.mirror.tick("A") == 101
        local.dispose()
