"""A relay on uvloop, which `am relay` takes where it is installed: ends are told from losses as on asyncio's loop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from asyncmachine_relay import Op
from asyncmachine_relay.loops import loop_factory
from tests.own_loop import checked
from tests.relay import test_dialled, test_frames, test_server
from tests.relay.support import BINARY
from tests.relay.test_torn import emptied, paged, tear

Story = Callable[[], Awaitable[None]]


@pytest.mark.parametrize(
    "story",
    [
        test_dialled.test_a_page_that_vanishes_tears_the_backend,
        test_dialled.test_a_backend_that_is_torn_is_told_from_one_that_ends,
        test_dialled.test_a_page_that_does_not_read_stops_the_backend_and_memory_stays_bounded,
        test_frames.test_a_slow_reader_gets_everything,
        test_frames.test_an_oversized_frame_is_refused_by_its_length_alone,
        test_frames.test_a_head_that_drips_is_dropped_all_the_same,
        test_server.test_a_tunnel_that_takes_nothing_does_not_hold_the_end_up,
    ],
    ids=lambda story: story.__name__,
)
def test_it_does_as_on_asyncio(story: Story) -> None:
    uvloop.run(checked(story(), limit=55))


def test_a_torn_page_is_no_matcher_that_failed(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with paged() as (run, page):
            page.send(BINARY, b"x")
            await page.frame()
            tear(page.writer)
            await emptied(run)
            assert run.relay.counts.torn == {Op.DIAL: 1}

    uvloop.run(checked(story(), limit=25))
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_uvloop_is_taken_where_it_is_installed() -> None:
    assert loop_factory() is uvloop.new_event_loop


def test_asyncio_is_taken_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_factory() is asyncio.new_event_loop


def test_asyncio_can_be_asked_for() -> None:
    assert loop_factory("asyncio") is asyncio.new_event_loop
