"""What faults of the connection do to a mirror and its source: exactly this."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc import messages as m
from asyncmachine.rpc import unheard
from asyncmachine.rpc.codec import decode, encode
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.states import ServerStates as S
from asyncmachine.rpc.transport import Transport, TransportClosed
from asyncmachine.rpc.transport.memory import Cut, Fault, Frame, MemoryTransport, pair
from tests.rpc.behaviour import HANG, QUICK, Basic, Net, Pair, Taking, paired
from tests.rpc.time_loop import run


class FaultyNet:
    """Connections of which the first goes through `fault`; later ones are whole."""

    def __init__(self, fault: Fault) -> None:
        self.faults: list[Fault | None] = [fault]
        self.newest: MemoryTransport | None = None
        self.made = 0

    async def connect(self) -> tuple[Transport, Transport]:
        self.newest, far = pair(self.faults.pop(0) if self.faults else None)
        self.made += 1
        return self.newest, far

    def cut(self) -> None:
        assert self.newest is not None
        self.newest.cut()


def message(frame: Frame) -> m.AnyMessage:
    return decode(frame.data)


def passing(frame: Frame) -> Iterable[bytes]:
    return (frame.data,)


def losing(*kinds: type[m.Message], times: int = 1) -> Fault:
    """Loses the first messages of these kinds."""
    left = times

    def fault(frame: Frame) -> Iterable[bytes]:
        nonlocal left
        if left and isinstance(message(frame), kinds):
            left -= 1
            return ()
        return (frame.data,)

    return fault


async def test_a_lost_push_is_noticed_with_the_next_one_and_mended() -> None:
    net = FaultyNet(losing(m.ClockPush))
    async with paired(net) as pair:
        pair.source.add("A")
        await asyncio.sleep(0)
        pair.source.add("B")
        await pair.mirror.when("A", "B")
        pair.assert_equal()
        assert pair.client.statistics.out_of_step == 1
        assert pair.client.statistics.full_syncs == 1
        assert net.made == 1, "the connection was not given up for it"


async def test_a_lost_push_is_noticed_with_the_next_answer_whose_outcome_waits_for_the_mirror() -> None:
    net = FaultyNet(losing(m.ClockPush))
    async with paired(net) as pair:
        pair.source.add("A")
        await asyncio.sleep(0)
        assert (await pair.mirror.add("B")).executed
        assert pair.mirror.is_("A", "B")
        pair.assert_equal()


async def test_a_wrong_checksum_is_mended() -> None:
    def corrupt(frame: Frame) -> Iterable[bytes]:
        found = message(frame)
        if isinstance(found, m.ClockPush) and found.seq == 1:
            return (encode(m.ClockPush(found.seq, found.queue, found.machine, (0, 7), found.hash)),)
        return (frame.data,)

    async with paired(FaultyNet(corrupt)) as pair:
        pair.source.add("A")
        await pair.mirror.when("A")
        pair.assert_equal()
        assert pair.client.statistics.out_of_step == 1


async def test_a_push_that_comes_twice_counts_once() -> None:
    def twice(frame: Frame) -> Iterable[bytes]:
        return (frame.data,) * (2 if isinstance(message(frame), m.ClockPush) else 1)

    async with paired(FaultyNet(twice)) as pair:
        pair.source.add("A")
        await pair.mirror.when("A")
        await pair.mirror.add("B")
        pair.assert_equal()
        assert pair.client.statistics.duplicates == 1
        assert pair.client.statistics.full_syncs == 0


async def test_pushes_in_the_wrong_order_are_mended() -> None:
    held: list[bytes] = []

    def swap(frame: Frame) -> Iterable[bytes]:
        if isinstance(message(frame), m.ClockPush):
            if not held:
                held.append(frame.data)
                return ()
            if held[0]:
                first, held[0] = held[0], b""
                return (frame.data, first)
        return (frame.data,)

    async with paired(FaultyNet(swap)) as pair:
        pair.source.add("A")
        await asyncio.sleep(0)
        pair.source.add("B")
        await pair.mirror.when("A", "B")
        pair.assert_equal()


async def test_full_syncs_that_are_asked_for_are_counted_by_the_machines_of_both_sides() -> None:
    async with paired(FaultyNet(losing(m.ClockPush))) as pair:
        counted = pair.client.machine.when_ticks(C.MetricSync, 3)
        await pair.client.sync()
        pair.source.add("A")
        await asyncio.sleep(0)
        pair.source.add("B")
        await counted
        await pair.client.machine.when_not(C.MetricSync)
        # One for the caller, and one for the mirror that was out of step. Each comes and goes.
        assert pair.client.machine.tick(C.MetricSync) == pair.server.machine.tick(S.MetricSync) == 4


async def test_a_full_sync_that_is_lost_is_asked_for_again() -> None:
    pushes, fulls = losing(m.ClockPush), losing(m.Full)

    def both(frame: Frame) -> Iterable[bytes]:
        return [data for first in pushes(frame) for data in fulls(Frame(frame.sender, frame.index, first))]

    async with paired(FaultyNet(both), timing=rpc.Timing(sync=0.01)) as pair:
        pair.source.add("A")
        await asyncio.sleep(0)
        pair.source.add("B")
        await pair.mirror.when("A", "B")
        pair.assert_equal()


async def test_a_full_sync_that_comes_once_more_later_does_not_turn_the_mirror_back() -> None:
    pushes = losing(m.ClockPush)
    late: list[bytes] = []

    def once_more(frame: Frame) -> Iterable[bytes]:
        found = message(frame)
        if isinstance(found, m.Full):
            late.append(frame.data)
        elif isinstance(found, m.ClockPush) and late:
            return (frame.data, late.pop())
        return pushes(frame)

    async with paired(FaultyNet(once_more)) as pair:
        waiting = pair.mirror.when_queue(10_000)
        pair.source.add("A")
        await asyncio.sleep(0)
        pair.source.add("B")
        await pair.mirror.when("A", "B")
        pair.source.add("C")
        await pair.mirror.when("C")
        while not pair.client.statistics.duplicates:
            await asyncio.sleep(0)
        pair.assert_equal()
        assert not waiting.done(), "nothing has begun anew"


def test_a_lost_push_before_a_silence_is_noticed_by_the_next_ping() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        async with patient(FaultyNet(losing(m.ClockPush))) as pair:
            pair.source.add("A")
            await pair.mirror.when("A")
            assert loop.time() == pytest.approx(15.0, abs=0.1)
            pair.assert_equal()

    run(body())


@pytest.mark.parametrize("lost", [m.Add, m.Result])
async def test_a_call_that_a_cut_meets_is_answered_after_it_and_has_run_once(lost: type[m.Message]) -> None:
    def cut(frame: Frame) -> Iterable[bytes]:
        if isinstance(message(frame), lost):
            raise Cut
        return (frame.data,)

    async with paired(FaultyNet(cut)) as pair:
        retrying = pair.client.machine.when_ticks(C.RetryingCall, 1)
        assert (await pair.mirror.add("A")).executed
        assert retrying.done()
        assert C.RetryingCall not in pair.client.machine
        assert pair.source.tick("A") == pair.mirror.tick("A") == 1
        assert (pair.client.statistics.retries, pair.client.statistics.drops) == (1, 1)
        assert pair.server.statistics()["rc-test"].calls == 1
        pair.assert_equal()


@pytest.mark.parametrize("lost", [m.Add, m.Result])
async def test_a_call_whose_message_is_lost_without_a_cut_is_asked_for_and_has_run_once(lost: type[m.Message]) -> None:
    async with paired(FaultyNet(losing(lost)), timing=rpc.Timing(retry=0.01)) as pair:
        results = [pair.mirror.add("Ask", n=n) for n in range(3)]
        assert all([(await result).executed for result in results])
        assert pair.source.tick("Ask") == 5
        assert pair.server.statistics()["rc-test"].calls == 3
        assert pair.client.machine.tick(C.RetryingCall) == 2
        pair.assert_equal()


async def test_a_wait_reaches_the_source_before_the_calls_that_are_sent_again() -> None:
    """One of them may be what it waits for."""
    net = FaultyNet(losing(m.WhenArgs, m.Add, times=2))
    async with paired(net) as pair:
        waiting = pair.mirror.when_args("Ask", n=1)
        call = pair.mirror.add("Ask", n=1)
        for _ in range(5):
            await asyncio.sleep(0)
        net.cut()
        assert (await call).executed
        async with asyncio.timeout(HANG):
            await waiting


async def test_messages_that_come_twice_are_run_once() -> None:
    def twice(frame: Frame) -> Iterable[bytes]:
        return (frame.data, frame.data) if isinstance(message(frame), m.Add | m.AddUnanswered) else (frame.data,)

    async with paired(FaultyNet(twice)) as pair:
        await pair.mirror.add("Ask")
        pair.mirror.add_ns("Ask")
        await pair.mirror.add("Ask")
        assert pair.source.tick("Ask") == 5
        await pair.client.sync()
        pair.assert_equal()
        assert pair.server.statistics()["rc-test"].repeats == 3


async def test_notifications_that_are_lost_are_sent_again() -> None:
    async with paired(FaultyNet(losing(m.AddUnanswered)), timing=rpc.Timing(retry=0.01)) as pair:
        for _ in range(5):
            pair.mirror.add_ns("Ask")
        await pair.source.when_time(["Ask"], [9])
        await pair.mirror.when_time(["Ask"], [9])
        assert pair.source.tick("Ask") == 9
        await pair.client.machine.when_not(C.RetryingCall)
        assert pair.client.statistics.open_calls == 0


async def test_nothing_is_tried_again_any_more_once_a_welcome_tells_that_notifications_have_come() -> None:
    """The cut meets what tells that."""
    async with paired(FaultyNet(cutting(m.Pong)), timing=rpc.Timing(retry=0.01)) as pair:
        retrying = pair.client.machine.when_ticks(C.RetryingCall, 1)
        pair.mirror.add_ns("A")
        await retrying
        await pair.client.when_ready()
        assert C.RetryingCall not in pair.client.machine
        assert (pair.source.tick("A"), pair.client.statistics.open_calls) == (1, 0)


async def test_nothing_is_tried_again_any_more_once_the_answer_comes_that_is_too_late() -> None:
    async with paired(FaultyNet(losing(m.Add)), errors=True, timing=rpc.Timing(retry=0.05)) as pair:
        retrying = pair.client.machine.when_ticks(C.RetryingCall, 1)
        with pytest.raises(rpc.CallTimedOut):
            await pair.mirror.within(0.01).add("A")
        await retrying
        await pair.client.machine.when_not(C.RetryingCall)
        assert pair.client.statistics.open_calls == 0


async def test_a_notification_that_is_lost_with_its_server_is_an_error_at_its_client() -> None:
    """It was held back for the next connection, of which the server knows nothing of it."""
    never = rpc.Backoff(first=1000.0, cap=1000.0)
    async with paired(FaultyNet(cutting(m.AddUnanswered)), errors=True, backoff=never) as pair:
        failed = pair.client.machine.when_ticks(C.Exception, 2)  # the first is the cut
        assert (await pair.mirror.add_ns("A")).executed, "it was sent"
        await pair.client.machine.when(C.RetryingConn)
        old = pair.server
        pair.server = rpc.Server(pair.source, "again", push_interval=0.001)
        await old.stop()
        pair.client.retry_now()
        await pair.client.when_ready()
        await failed
        assert isinstance(pair.client.machine.err, rpc.UnknownOutcome)
        assert pair.source.tick("A") == 0
        old.machine.dispose()


async def test_a_notification_whose_client_gives_up_is_an_error_there_and_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unheard, "_told", {})
    never = rpc.Backoff(tries=0)
    async with paired(FaultyNet(cutting(m.AddUnanswered)), errors=True, backoff=never) as pair:
        pair.mirror.add_ns("A")
        await pair.client.machine.when_not(C.Start)
        assert isinstance(pair.client.machine.err, rpc.UnknownOutcome)
        assert "rc-test: nobody awaited a notification, whose outcome is unknown" in caplog.text


def cutting(lost: type[m.Message]) -> Fault:
    def cut(frame: Frame) -> Iterable[bytes]:
        if isinstance(message(frame), lost):
            raise Cut
        return (frame.data,)

    return cut


async def test_a_server_that_was_replaced_does_not_know_and_nothing_is_run_again() -> None:
    async with paired(FaultyNet(cutting(m.Result)), backoff=rpc.Backoff(first=1000.0, cap=1000.0)) as pair:
        result = pair.mirror.add("A")
        await pair.client.machine.when(C.RetryingCall)
        old = pair.server
        pair.server = rpc.Server(pair.source, "again", push_interval=0.001)
        await old.stop()
        pair.client.retry_now()
        with pytest.raises(rpc.UnknownOutcome):
            await result
        await pair.client.when_ready()
        assert pair.source.tick("A") == 1
        pair.assert_equal()
        old.machine.dispose()


async def test_calls_in_flight_that_nobody_awaits_become_an_error_state() -> None:
    never = rpc.Backoff(tries=0)
    async with paired(FaultyNet(cutting(m.Result)), errors=True, backoff=never) as pair:
        failed = pair.client.machine.when_ticks(C.ErrNetwork, 1)
        pair.mirror.add("A")
        await failed
        assert isinstance(pair.client.machine.err, rpc.UnknownOutcome)
        assert C.RetryingCall not in pair.client.machine


def test_a_call_expires_while_there_is_no_connection() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        net = FaultyNet(cutting(m.Add))
        never = rpc.Backoff(first=1000.0, cap=1000.0, total=None)
        async with paired(net, errors=True, backoff=never, timing=rpc.Timing(call=10.0)) as pair:
            made = loop.time()
            hurried, patient = pair.mirror.within(2.0).add("A"), pair.mirror.add("B")
            with pytest.raises(rpc.CallTimedOut):
                await hurried
            assert loop.time() - made == pytest.approx(2.0)
            with pytest.raises(rpc.CallTimedOut):
                await patient
            assert loop.time() - made == pytest.approx(10.0)
            assert pair.client.machine.tick(C.CallRetryFailed) > 0
            # What nobody waits for any more is not run, and what comes behind it is.
            pair.client.retry_now()
            await pair.client.when_ready()
            assert (await pair.mirror.add("C")).executed
            assert (pair.source.tick("A"), pair.source.tick("B")) == (0, 0)

    run(body())


@pytest.mark.parametrize("lost", [m.Payload, m.PayloadAck])
async def test_a_cut_with_an_unacknowledged_payload_delivers_it_exactly_once(lost: type[m.Message]) -> None:
    def cut(frame: Frame) -> Iterable[bytes]:
        if isinstance(message(frame), lost):
            raise Cut
        return (frame.data,)

    taking = Taking()
    consumer: am.Machine[Any] = am.Machine(Basic, taking, id="consumer")
    async with paired(FaultyNet(cut), consumer=consumer) as pair:
        sent = [pair.server.send_payload("result", n) for n in range(3)]
        assert all([(await result).executed for result in sent])
        assert [got.data for got in taking.got] == [0, 1, 2]


async def test_a_payload_is_not_acknowledged_while_its_consumer_has_not_decided() -> None:
    """The connection drops while the consumer is busy: the second copy is neither taken nor lost."""
    frames: list[m.AnyMessage] = []

    def watch(frame: Frame) -> Iterable[bytes]:
        frames.append(message(frame))
        return (frame.data,)

    consumer: am.Machine[Any] = am.Machine(Basic, id="consumer")
    taking = Taking()
    consumer.bind(taking)
    net = FaultyNet(watch)
    net.faults.append(watch)
    async with paired(net, consumer=consumer) as pair:
        arrived = pair.client.machine.when_ticks(C.ServerPayload, 1)
        results: list[am.Result] = []

        def busy(e: am.Event) -> None:
            # Within a handler of the consumer everything else for it waits in its queue.
            results.append(consumer.add("ServerPayload", rpc.ServerPayload("own", 0)))

        consumer.bind({"AState": busy})
        sent = pair.server.send_payload("result", 1)
        await arrived
        consumer.add("A")
        assert (await sent).executed
        assert sorted(got.name for got in taking.got) == ["own", "result"]
        assert sum(isinstance(found, m.PayloadAck) for found in frames) == 1


# Half open


class SplicedNet:
    """Each connection is two pairs, with something in between that carries messages until it `dies` without a word."""

    def __init__(self) -> None:
        self.pumps: list[asyncio.Task[None]] = []

    async def connect(self) -> tuple[Transport, Transport]:
        near, left = pair()
        right, far = pair()
        self.pumps = [asyncio.create_task(carry(left, right)), asyncio.create_task(carry(right, left))]
        return near, far

    def cut(self) -> None:
        for pump in self.pumps:
            pump.cancel()

    die = cut


async def carry(source: Transport, target: Transport) -> None:
    """Messages, and the end, one way."""
    try:
        while True:
            await target.send(await source.recv())
    except TransportClosed as closed:
        await target.close(closed.code, closed.reason)


def test_a_half_open_connection_is_noticed_by_both_sides_and_replaced() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        net = SplicedNet()
        async with patient(net) as pair:
            began = loop.time()
            net.die()
            gone = pair.server.machine.when_not(S.ClientConnected)
            lost = pair.client.machine.when_not(C.Connected)
            await gone
            assert loop.time() - began == pytest.approx(45.0, abs=0.1)
            await lost
            assert pair.client.machine.tick(C.ErrNetworkTimeout) > 0
            await pair.client.when_ready()
            assert (await pair.mirror.add("A")).executed
            assert loop.time() - began < 60

    run(body())


def test_a_peer_that_neither_reads_nor_speaks_is_given_up_once() -> None:
    """Though the goodbye waits three seconds for what was to be sent before."""

    async def body() -> None:
        loop, net, failed = asyncio.get_running_loop(), SplicedNet(), []
        async with patient(net) as pair:
            pair.server.machine.bind({"ExceptionState": lambda e: failed.append((loop.time(), e.machine.err))})
            began = loop.time()
            net.die()
            more_than_fits = [pair.server.send_payload("filler", bytes(700_000)) for _ in range(3)]
            await pair.server.machine.when_not(S.ClientConnected)
            ((gave_up, error),) = failed
            assert isinstance(error, rpc.PeerSilent)
            assert gave_up - began == pytest.approx(45.0, abs=0.1)
            await pair.client.when_ready()
        for delivery in more_than_fits:
            with pytest.raises(rpc.DeliveryFailed):
                await delivery

    run(body())


def test_an_idle_connection_is_kept_by_pings_for_hours() -> None:
    async def body() -> None:
        net = FaultyNet(passing)
        async with patient(net) as pair:
            await asyncio.sleep(3 * 3600)
            assert net.made == 1
            assert pair.client.machine.is_(C.Ready)
            # One ping of the server every fifteen seconds, and WELCOME.
            assert pair.client.statistics.frames_in == 3 * 3600 // 15

    run(body())


def test_a_page_never_asks_itself_while_the_native_side_does() -> None:
    async def body() -> None:
        kinds: list[tuple[str, str]] = []

        def watch(frame: Frame) -> Iterable[bytes]:
            kinds.append((frame.sender, type(message(frame)).__name__))
            return (frame.data,)

        async with patient(FaultyNet(watch), timing=rpc.Timing(silence=45.0, dead=75.0)):
            kinds.clear()
            await asyncio.sleep(610)
        assert kinds[:80] == [("a", "Ping"), ("b", "Pong")] * 40

    run(body())


def test_a_client_that_comes_back_replaces_its_own_half_open_connection() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        net = SplicedNet()
        async with patient(net) as pair:
            began = loop.time()
            net.die()
            # Only the client notices, for instance because its network changed.
            again = pair.client.machine.when_ticks(C.HandshakeDone, 2)
            pair.client.machine.add(C.Disconnected)
            await again
            assert loop.time() - began < 5
            assert (await pair.mirror.add("A")).executed
            pair.source.add("B")
            await pair.mirror.when("A", "B")
            pair.assert_equal()
            assert len(pair.source.tracers) == 1
            assert pair.server.client_ids == ("rc-test",)

    run(body())


@asynccontextmanager
async def patient(net: Net, timing: rpc.Timing | None = None) -> AsyncIterator[Pair]:
    """As `paired`, for hours of pretended time. `timing` is the client's."""
    source: am.Machine[Any] = am.Machine(Basic, id="source")
    pair = Pair(net, source, rpc.Server(source, "test"), None)  # type: ignore[arg-type]
    pair.client = rpc.Client(pair.dial, Basic, id="test", backoff=QUICK, timing=timing)
    pair.client.start()
    await pair.client.when_ready()
    await pair.server.machine.when(S.Ready)
    yield pair
    await pair.client.stop()
    await pair.server.stop()
    while pair.serving:
        await asyncio.wait(pair.serving)
