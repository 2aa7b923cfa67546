"""Pipes over a channel that all hear: calls find whoever leads, and pipes to a leader that is gone are lost at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from asyncmachine.rpc.transport import Transport, TransportClosed
from asyncmachine.rpc.transport.channel import Channel


class Air:
    """Carries each message to all others, in order."""

    def __init__(self) -> None:
        self.ears: list[Ear] = []

    def page(self) -> Channel:
        ear = Ear(self)
        self.ears.append(ear)
        return Channel(ear, "page")


class Ear:
    def __init__(self, air: Air) -> None:
        self.air = air
        self.arrived: Callable[[bytes | None], None] = lambda _: None

    def listen(self, arrived: Callable[[bytes | None], None]) -> None:
        self.arrived = arrived

    def post(self, message: bytes) -> None:
        for other in self.air.ears:
            if other is not self:
                asyncio.get_running_loop().call_soon(other.arrived, message)

    def close(self) -> None:
        self.air.ears.remove(self)


def test_a_call_reaches_the_leader_and_no_other_page() -> None:
    async def story() -> None:
        air, taken = Air(), list[Transport]()
        leader, one, two = air.page(), air.page(), air.page()
        leader.lead(taken.append)
        a, b = await one.dial(), await two.dial()
        await a.send(b"from one")
        await b.send(b"from two")
        assert [await pipe.recv() for pipe in taken] == [b"from one", b"from two"]
        await taken[1].send(b"to two")
        assert await b.recv() == b"to two"
        for channel in (one, two, leader):
            channel.close()

    asyncio.run(story())


def test_a_call_waits_for_a_leader() -> None:
    async def story() -> None:
        air, taken = Air(), list[Transport]()
        page = air.page()
        calling = asyncio.ensure_future(page.dial())
        await asyncio.sleep(0)
        assert not calling.done()
        leader = air.page()
        leader.lead(taken.append)
        pipe = await calling
        await pipe.send(b"hello")
        assert await taken[0].recv() == b"hello"
        page.close()
        leader.close()

    asyncio.run(story())


@pytest.mark.parametrize("says_so", [True, False])
def test_pipes_to_a_leader_that_is_gone_are_lost(says_so: bool) -> None:
    async def story() -> None:
        air = Air()
        page, first, second = air.page(), air.page(), air.page()
        kept = list[Transport]()
        first.lead(kept.append)
        pipe = await page.dial()
        if says_so:
            first.resign()
        else:
            air.ears.remove(air.ears[1])  # it crashed
            second.lead(kept.append)
        with pytest.raises(TransportClosed, match="led is gone"):
            await pipe.recv()
        if says_so:
            with pytest.raises(TransportClosed, match="leads no more"):
                await kept[0].recv()
        else:
            await kept[0].close()
        page.close()
        second.close()

    asyncio.run(story())


def test_who_knows_that_the_leader_is_gone_tells_all() -> None:
    async def story() -> None:
        air, kept = Air(), list[Transport]()
        page, other, leader = air.page(), air.page(), air.page()
        leader.lead(kept.append)
        pipes = [await page.dial(), await other.dial()]
        page.leader_gone()
        for pipe in pipes:
            with pytest.raises(TransportClosed, match="led is gone"):
                await pipe.recv()
        for channel in (page, other, leader):
            channel.close()

    asyncio.run(story())


def test_a_leader_that_was_ousted_while_it_stood_still_answers_nobody_and_ends_nothing() -> None:
    async def story() -> None:
        air, before, after = Air(), list[Transport](), list[Transport]()
        old, page, new = air.page(), air.page(), air.page()
        old.lead(before.append)
        await page.dial()
        new.lead(after.append)
        pipe = await page.dial()
        assert (len(before), len(after)) == (1, 1)
        with pytest.raises(TransportClosed, match="another page leads"):
            await before[0].recv()
        old.close()
        await pipe.send(b"to the new one")
        assert await after[0].recv() == b"to the new one"
        for channel in (page, new):
            channel.close()

    asyncio.run(story())


def test_a_page_that_goes_ends_its_pipes_and_its_calls() -> None:
    async def story() -> None:
        air, taken = Air(), list[Transport]()
        leader, page, waiting = air.page(), air.page(), air.page()
        leader.lead(taken.append)
        await page.dial()
        page.close()
        with pytest.raises(TransportClosed, match="was left"):
            await taken[0].recv()
        leader.close()
        calling = asyncio.ensure_future(waiting.dial())
        await asyncio.sleep(0)
        waiting.close()
        with pytest.raises(TransportClosed, match="was left"):
            await calling

    asyncio.run(story())


def test_noise_is_not_heard() -> None:
    async def story() -> None:
        air, taken = Air(), list[Transport]()
        leader, page = air.page(), air.page()
        leader.lead(taken.append)
        for noise in (None, b"", b"\x02short", b"\x04nobody12 content", b"\x63whatever "):
            leader._arrived(noise)
            page._arrived(noise)
        assert taken == []
        page.close()
        leader.close()

    asyncio.run(story())
