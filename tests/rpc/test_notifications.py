"""Calls that want no answer: what their client knows of them when it asks for something else, and when it leaves."""

from __future__ import annotations

import asyncio
import logging

import pytest

from asyncmachine import rpc
from asyncmachine.rpc import messages as m
from asyncmachine.rpc import unheard
from asyncmachine.rpc.connections import PARTING
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.transport.memory import Frame
from tests.rpc.behaviour import Pair, paired
from tests.rpc.nets import MemoryNet
from tests.rpc.test_faults import FaultyNet, losing, message
from tests.rpc.time_loop import run

CLIENT = "b"


def frames(pair: Pair) -> tuple[int, int]:
    counts = pair.client.statistics
    return counts.frames_out, counts.frames_in


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(unheard, "_told", {})
    caplog.set_level(logging.WARNING, "asyncmachine.rpc")
    return caplog


async def test_a_notification_a_sync_and_a_stop_leave_nothing_unknown(heard: pytest.LogCaptureFixture) -> None:
    async with paired(MemoryNet(), push_interval=0.0) as pair:
        pair.mirror.add_ns("A")
        before = frames(pair)
        await pair.client.sync()
        assert frames(pair) == (before[0] + 1, before[1] + 1), "it asks for nothing but the clock"
        await pair.client.stop()
        assert frames(pair) == (before[0] + 3, before[1] + 2), "PING and BYE, PONG"
        assert pair.source.tick("A") == 1
        assert pair.client.statistics.open_calls == 0
    assert not heard.records


async def test_a_sync_does_not_take_a_notification_for_arrived_that_was_lost() -> None:
    """Its answer comes, though the connection has lost what was sent before."""
    async with paired(FaultyNet(losing(m.AddUnanswered)), timing=rpc.Timing(retry=0.05)) as pair:
        pair.mirror.add_ns("A")
        await pair.client.sync()
        assert (pair.source.tick("A"), pair.client.statistics.open_calls) == (0, 1)
        await pair.source.when("A")


def test_a_client_that_stops_hears_first_that_its_notifications_have_come(heard: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        async with paired(MemoryNet()) as pair:
            for _ in range(3):
                pair.mirror.add_ns("Ask")
            begun = asyncio.get_running_loop().time()
            await pair.client.stop()
            assert asyncio.get_running_loop().time() == begun, "it waits no longer than for the answer"
            assert pair.source.tick("Ask") == 5
            assert pair.client.statistics.open_calls == 0

    run(body())
    assert not heard.records


async def test_a_client_that_stops_asks_nothing_when_all_has_come() -> None:
    sent: list[m.AnyMessage] = []

    def noted(frame: Frame) -> list[bytes]:
        if frame.sender == CLIENT:
            sent.append(message(frame))
        return [frame.data]

    async with paired(FaultyNet(noted)) as pair:
        pair.mirror.add_ns("A")
        await pair.mirror.add("B")
        await pair.client.stop()
    assert [type(each) for each in sent[-2:]] == [m.Add, m.Bye]


def test_a_client_that_stops_waits_a_second_for_a_source_that_does_not_tell(heard: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        async with paired(FaultyNet(losing(m.Pong)), errors=True) as pair:
            pair.mirror.add_ns("A")
            begun = asyncio.get_running_loop().time()
            await pair.client.stop()
            assert asyncio.get_running_loop().time() - begun == pytest.approx(PARTING)
            assert isinstance(pair.client.machine.err, rpc.UnknownOutcome)

    run(body())
    [line] = heard.messages
    assert "rc-test: nobody awaited a notification, whose outcome is unknown: the connection ended before" in line


async def test_a_client_that_stops_takes_the_answers_that_still_come_and_shows_what_they_tell() -> None:
    async with paired(MemoryNet()) as pair:
        added = pair.mirror.add("A")
        pair.mirror.add_ns("B")
        stopped = pair.client.stop()
        assert (await added).executed
        assert "A" in pair.mirror
        await stopped


async def test_a_client_that_starts_again_before_it_has_heard_goes_on_with_its_session() -> None:
    async with paired(FaultyNet(losing(m.Pong))) as pair:
        session = pair.client.statistics
        pair.mirror.add_ns("A")
        pair.client.stop()
        pair.client.start()
        await pair.client.when_ready()
        assert pair.client.statistics.open_calls == 0, "the welcome tells that it has come"
        assert pair.client.statistics.notifies == session.notifies + 1, "which a new session would not count"
        assert (await pair.mirror.add("B")).executed
        assert C.RetryingCall not in pair.client.machine
        assert pair.source.is_("A", "B")
