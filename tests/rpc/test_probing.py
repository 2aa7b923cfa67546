"""Asking whether the peer is there: a cut that tells nobody shows within a second or two, a slow peer stays."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc import events as e
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.asking import ClientSession
from asyncmachine.rpc.backoff import BROWSER as BACKOFF
from asyncmachine.rpc.codec import decode, encode
from asyncmachine.rpc.keepalive import Due
from asyncmachine.rpc.probing import ANEW, LONGEST_DOUBT, Doubt, Probe
from asyncmachine.rpc.session import Session
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.states import ServerStates as S
from asyncmachine.rpc.timing import BROWSER, NATIVE
from asyncmachine.rpc.transport import Peer, Transport
from asyncmachine.rpc.transport.memory import MemoryTransport
from asyncmachine.rpc.transport.memory import pair as ends
from tests.rpc.duo import Duo, ready, sent
from tests.rpc.time_loop import run

# The question


def ask_on_time(probe: Probe, until: float) -> list[tuple[float, Due]]:
    """What a probe tells somebody who looks at it whenever it says."""
    told: list[tuple[float, Due]] = []
    while probe.deadline <= until:
        now = probe.deadline
        told.append((now, probe.due(now)))
        if told[-1][1] is Due.GONE:
            break
    return told


def test_who_is_not_heard_in_time_is_gone_and_not_before() -> None:
    told = ask_on_time(Probe(10.0, 1.0), 20.0)
    assert told[-1] == (11.0, Due.GONE)
    assert {due for _, due in told[:-1]} == {Due.NOTHING}


def test_a_look_that_comes_late_asks_anew_and_judges_nobody() -> None:
    """The tab was frozen, or Python had something to do: what has arrived may not have been read."""
    probe = Probe(0.0, 1.0)
    assert probe.due(30.0) is Due.PING
    assert ask_on_time(probe, 40.0)[-1] == (31.0, Due.GONE)


def test_timers_that_are_slowed_down_leave_the_judgement_to_the_keep_alive() -> None:
    probe = Probe(0.0, 1.0)
    told = [probe.due(60.0 * minute) for minute in range(1, 10)]
    assert told == [Due.PING] * ANEW + [Due.NOTHING] * (9 - ANEW)
    assert probe.is_over


# The session


def gone(events: list[e.Event]) -> bool:
    return any(isinstance(event, e.SessionFailed) and isinstance(event.error, rpc.PeerSilent) for event in events)


def tick_until(session: Session, end: float) -> float | None:
    """Ticks whenever the session wants it; when it said that the peer is gone."""
    while (due := session.deadline) is not None and due <= end:
        if gone(session.tick(due)):
            return due
    return None


@pytest.mark.parametrize("side", ["client", "server"])
def test_either_side_asks_at_once_with_a_ping(side: str) -> None:
    duo = ready()
    session: Session = getattr(duo, side)
    session.probe(5.0, 1.0)
    assert sent(session) == [m.Ping(1, 5.0)]
    assert tick_until(session, 100.0) == pytest.approx(6.0, abs=0.01)


@pytest.mark.parametrize("answered", [0.01, 0.99])
def test_an_answer_in_time_ends_the_question(answered: float) -> None:
    duo = ready()
    duo.client.probe(duo.now, 1.0)
    duo.to_server()
    assert tick_until(duo.client, answered) is None
    duo.now = answered
    duo.to_client()
    assert duo.client.deadline == pytest.approx(answered + 15.5)


def test_whatever_is_heard_is_an_answer() -> None:
    duo = ready()
    duo.client.probe(duo.now, 1.0)
    duo.server.bye()
    duo.now = 0.9
    duo.to_client()
    assert not gone(duo.client.tick(2.0))


def test_asked_again_and_again_the_first_question_counts() -> None:
    duo = ready()
    duo.client.probe(0.0, 1.0)
    for tenth in range(1, 10):
        assert tick_until(duo.client, tenth / 10) is None
        duo.client.probe(tenth / 10, 1.0)
    assert tick_until(duo.client, 100.0) == pytest.approx(1.0, abs=0.01)
    assert len(sent(duo.client)) == 1


def test_nobody_is_asked_before_the_session_is_ready() -> None:
    duo = Duo()
    duo.client.probe(0.0, 1.0)
    assert sent(duo.client) == []
    assert duo.client.deadline == duo.client.timing.answer


def test_a_slow_round_trip_gets_twice_its_time() -> None:
    duo = ready()
    duo.client.probe(0.0, 10.0)
    duo.to_server()
    duo.now = 2.0
    duo.to_client()
    duo.client.probe(duo.now, 1.0)
    assert tick_until(duo.client, 100.0) == pytest.approx(6.0, abs=0.01)


def test_a_handshake_that_was_slow_tells_of_the_round_trip_before_there_was_a_ping() -> None:
    duo = Duo()
    duo.client.hello(m.Hello("amrpc", (1, 1), "rc-x", features=()))
    duo.to_server()
    duo.now = 3.0
    duo.server.welcome(m.Welcome(**WELCOME), duo.now)
    duo.to_client()
    duo.client.ready(duo.now)
    duo.client.probe(duo.now, 1.0)
    assert tick_until(duo.client, 100.0) == pytest.approx(9.0, abs=0.01)


WELCOME: dict[str, Any] = {
    "version": 1, "session": b"session1", "epoch": 7, "seq": 0, "features": (), "limits": None, "source": "source",
    "names": ("A",), "schema": None, "hash": b"", "time": (0,), "queue_tick": 1, "machine_tick": 0,
}  # fmt: skip


def test_what_is_on_its_way_to_a_slow_network_goes_ahead_of_the_question() -> None:
    duo = ready()
    assert duo.client.counters.bytes_out < 1000
    duo.client.call("add", (0,), {"picture": random.Random(1).randbytes(320_000)}, None, 0.0)
    duo.client.probe(0.0, 1.0)
    found = tick_until(duo.client, 100.0)
    assert found is not None
    assert 10.5 < found < 11.5


# Calls


def calling(duo: Duo, at: float) -> None:
    duo.now = at
    duo.client.call("add", (0,), None, None, at)
    duo.to_server()


def doubting() -> Duo:
    duo = ready()
    duo.client._doubt = Doubt(1.0)
    return duo


def test_a_call_without_an_answer_shows_after_two_seconds_that_the_source_is_gone() -> None:
    duo = doubting()
    calling(duo, 10.0)
    assert tick_until(duo.client, 100.0) == pytest.approx(12.0, abs=0.01)


def test_a_source_that_takes_its_time_is_asked_less_and_less() -> None:
    duo = doubting()
    calling(duo, 0.0)
    asked: list[float] = []
    while (due := duo.client.deadline) is not None and due < 55:
        duo.now = due
        assert not gone(duo.client.tick(due))
        pings = [message for message in sent(duo.client) if isinstance(message, m.Ping)]
        asked += [due] * len(pings)
        for ping in pings:
            duo.client.receive(encode(m.Pong(ping.nonce, ping.time, 1)), due)
    assert len([due for due in asked if due < 10]) <= 6
    assert len(asked) <= 11


def test_a_source_that_talks_is_not_asked() -> None:
    doubt = Doubt(1.0)
    doubt.called(0.0)
    assert not doubt.looks(1.0, 0.6, waiting=True)
    assert doubt.at == 1.6
    assert doubt.looks(1.6, 0.6, waiting=True)


def test_nothing_is_due_once_all_calls_are_answered() -> None:
    doubt = Doubt(1.0)
    doubt.called(0.0)
    assert not doubt.looks(1.0, 0.0, waiting=False)
    assert doubt.at == float("inf")
    duo = doubting()
    idle = duo.client.deadline
    calling(duo, 0.0)
    duo.client.receive(encode(m.Result(1)), 0.0)
    assert duo.client.deadline == idle


def test_who_acts_again_waits_no_longer_than_the_first_time() -> None:
    doubt = Doubt(1.0)
    doubt.called(0.0)
    for _ in range(10):
        assert doubt.looks(doubt.at, -100.0, waiting=True)
    last = doubt.at
    assert not doubt.looks(last - 1, -100.0, waiting=True)
    doubt.called(last - 10)
    assert doubt.at == last - 9
    assert doubt.looks(last - 9, last - 10, waiting=True)
    assert last <= 1 + 2 + 4 + 8 + 16 + 6 * LONGEST_DOUBT


def test_programs_ask_by_the_keep_alive_pages_when_somebody_waits() -> None:
    assert NATIVE.doubt is None
    assert BROWSER.doubt == 1.0
    assert BROWSER.towards(Peer("websocket", "ws://one/")).doubt == 1.0
    # A worker, or another tab: what is busy there is not gone.
    assert BROWSER.towards(Peer("port")).doubt is None
    assert ClientSession(0.0, BROWSER).deadline == 15.0


# The client


class Line:
    """One end of a network: frames take their time, and nothing passes while it is `dark`, which nobody is told."""

    def __init__(self, inner: MemoryTransport, net: Network) -> None:
        self.peer = Peer("websocket", "line")
        self._inner = inner
        self._net = net

    @property
    def closed(self) -> bool:
        return self._inner.closed

    async def send(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        delay = self._net.answers if isinstance(decode(data), m.Result) else self._net.delay
        if not self._net.dark:
            loop.call_later(delay, lambda: self._net.begin(self._arrive(data)))

    async def _arrive(self, data: bytes) -> None:
        if not (self.closed or self._net.dark):
            await self._inner.send(data)

    async def recv(self) -> bytes:
        return await self._inner.recv()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        if self._net.dark:
            self._inner._inbox.end(code, reason)  # of which the other end hears nothing
        else:
            await self._inner.close(code, reason)


class Network:
    """Frames take `delay` seconds, answers to calls `answers`."""

    def __init__(self, delay: float = 0.0, answers: float = 0.0) -> None:
        self.delay = delay
        self.answers = max(answers, delay)
        self.dark = False
        self.made = 0
        self._arriving: set[asyncio.Task[None]] = set()
        self._serving: list[asyncio.Task[Any]] = []

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    async def connection(self) -> tuple[Transport, Transport]:
        while self.dark:
            await asyncio.sleep(0.1)
        self.made += 1
        near, far = ends()
        return Line(near, self), Line(far, self)

    @asynccontextmanager
    async def page(self) -> AsyncIterator[tuple[rpc.Client[Any], am.Machine[Any]]]:
        """A client as pages have them, which is ready, and its source."""
        source: am.Machine[Any] = am.Machine(STATES, id="source")
        server = rpc.Server(source, "native", push_interval=0.001)

        async def dial() -> Transport:
            near, far = await self.connection()
            self._serving.append(asyncio.create_task(server.serve(near)))
            return far

        client = rpc.Client(dial, STATES, timing=BROWSER, backoff=BACKOFF)
        client.start()
        await client.when_ready()
        yield client, source
        await client.stop()
        await server.stop()
        await asyncio.gather(*self._serving)


STATES = {"A": am.State(multi=True), "B": am.State(multi=True)}


def seconds_until_stale(doubtful: Callable[[rpc.Client[Any]], object]) -> float:
    """How long after a cut that tells nobody, and this, a page's mirror counts as stale. Then it comes back."""
    found: list[float] = []

    async def body() -> None:
        net, loop = Network(), asyncio.get_running_loop()
        async with net.page() as (client, source):
            await asyncio.sleep(20)
            net.dark = True
            cut = loop.time()
            doubtful(client)
            await client.machine.when_not(C.Ready)
            found.append(loop.time() - cut)
            assert isinstance(client.machine.err, rpc.PeerSilent)
            net.dark = False
            await client.when_ready()
            assert (await client.netmach.add("A")).executed
            assert client.netmach.time() == source.time()

    run(body())
    return found[0]


def test_a_cut_that_tells_nobody_shows_after_a_minute_if_nobody_asks() -> None:
    assert 50 < seconds_until_stale(lambda client: None) <= 75.5


def test_it_shows_within_a_second_of_a_question() -> None:
    assert seconds_until_stale(lambda client: client.probe()) == pytest.approx(1.0, abs=0.01)
    assert seconds_until_stale(lambda client: client.probe(0.2)) == pytest.approx(0.2, abs=0.01)


def test_it_shows_within_a_second_when_the_page_wakes() -> None:
    assert seconds_until_stale(lambda client: client.retry_now()) == pytest.approx(1.0, abs=0.01)


def test_it_shows_within_two_seconds_of_a_call() -> None:
    assert seconds_until_stale(lambda client: client.netmach.add("B")) == pytest.approx(2.0, abs=0.01)
    assert seconds_until_stale(lambda client: client.netmach.add_ns("B")) == pytest.approx(2.0, abs=0.01)


def test_a_server_that_waits_to_be_called_asks_too() -> None:
    async def body() -> None:
        net = Network()
        source = am.Machine({"A": {}}, id="source")
        server = rpc.Server(source, "page", timing=BROWSER, backoff=BACKOFF)
        called: asyncio.Queue[Transport] = asyncio.Queue()

        async def dial() -> Transport:
            near, far = await net.connection()
            called.put_nowait(far)
            return near

        server.listen(dial)
        client = rpc.Client(called.get, {"A": am.State()})
        client.start()
        await client.when_ready()
        await asyncio.sleep(1)  # all has arrived
        net.dark = True
        cut = asyncio.get_running_loop().time()
        server.retry_now()
        await server.machine.when_not(S.ClientConnected)
        assert asyncio.get_running_loop().time() - cut == pytest.approx(1.0, abs=0.01)
        await client.stop()
        await server.stop()

    run(body())


@pytest.mark.parametrize("delay", [0.2, 0.45, 2.0])
def test_a_slow_network_is_not_cut(delay: float) -> None:
    async def body() -> None:
        net = Network(delay)
        async with net.page() as (client, _):
            for _ in range(20):
                client.retry_now()
                assert (await client.netmach.add("A")).executed
            assert net.made == 1

    run(body())


def test_a_slow_answer_is_waited_for_with_a_few_bytes() -> None:
    async def body() -> None:
        net = Network(0.05, answers=20.0)
        async with net.page() as (client, _):
            before = client.statistics.bytes_out
            assert (await client.netmach.add("A")).executed
            assert net.made == 1
            assert client.statistics.bytes_out - before < 200

    run(body())


def test_who_is_idle_asks_nobody_and_sets_no_timer() -> None:
    async def body() -> None:
        net = Network()
        async with net.page() as (client, _):
            await client.netmach.add("A")
            await asyncio.sleep(20)  # the native side has asked
            before, link = client.statistics.bytes_out, client._connections.connection
            assert link is not None
            assert link._due - link.now > 10
            await asyncio.sleep(10)
            assert client.statistics.bytes_out == before

    run(body())
