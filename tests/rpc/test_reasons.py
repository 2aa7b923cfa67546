"""Why a source has canceled a mutation, as its clients are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.codec import decode
from asyncmachine.rpc.messages import Result
from tests.rpc.test_repeaters import Link


class Till(rpc.StateSource):
    Open = am.state()
    Paid = am.state(require=Open)
    Secret = am.state()
    Audited = am.state(require=Secret)


class Cashier:
    def PaidEnter(self, e: am.Event) -> bool:
        if e.raw_args.get("broken"):
            raise OSError("no room in /srv/till")
        return not e.raw_args.get("veto")


@asynccontextmanager
async def told(*levels: rpc.Grants | None) -> AsyncIterator[tuple[am.Machine[Any], Link]]:
    """A till, and the last of mirrors of mirrors of it, with what each may do."""
    till: am.Machine[Any] = am.Machine(Till, Cashier(), id="till")
    links: list[Link] = []
    for level, grants in enumerate(levels):
        allow = None if grants is None else lambda *_, grants=grants: grants
        source: Any = links[-1].mirror if links else till
        links.append(Link(source, f"l{level}", None, allow=allow))
        await links[-1].start()
    yield till, links[-1]
    for link in reversed(links):
        await link.stop()


async def test_a_mirror_tells_which_relation_or_handler_was_in_the_way() -> None:
    async with told(None) as (till, link):
        result = link.mirror.add("Paid")
        assert (await result).reason == result.reason == "Paid requires Open"
        till.add("Open")
        assert (await link.mirror.add("Paid", veto=True)).reason == "PaidEnter vetoed"
        assert (await link.mirror.add("Paid")).reason == ""


async def test_what_an_error_says_stays_at_the_source() -> None:
    async with told(None) as (till, link):
        till.add("Open")
        assert (await link.mirror.add("Paid", broken=True)).reason == "PaidEnter raised OSError"
        assert till.add("Paid", broken=True).reason == "PaidEnter raised OSError: no room in /srv/till"


async def test_a_mirror_shows_that_its_source_has_an_error_and_not_which() -> None:
    async with told(None) as (till, link):
        till.add_err(OSError("no room in /srv/till"))
        await link.mirror.when_err()
        assert link.mirror.is_err()
        assert link.mirror.err is None
        here = ValueError("of this side")
        await link.mirror.add_err(here)
        assert link.mirror.err is here


async def test_whoever_may_not_read_all_is_told_no_reason() -> None:
    async with told(rpc.Grants(read=("Open", "Paid", "Audited", "E*"))) as (_, link):
        for state in ("Audited", "Paid"):
            assert await link.mirror.add(state) == am.Result.refused("")
            assert (await link.mirror.add(state)).reason == ""


async def test_a_reason_comes_through_repeaters_as_far_as_everybody_may_read_it() -> None:
    some = rpc.Grants(read=("Open", "Paid", "Audited", "E*"))
    async with told(None, None) as (_, link):
        assert (await link.mirror.add("Audited")).reason == "Audited requires Secret"
    async with told(some, None) as (_, link):
        assert (await link.mirror.add("Audited")).reason == ""
    async with told(None, some) as (_, link):
        assert (await link.mirror.add("Audited")).reason == ""


async def test_an_answer_that_was_lost_is_given_again_with_its_reason() -> None:
    class Losing(Link):
        lost = False

        def _fault(self, frame: Any) -> list[bytes]:
            if self.lost or not isinstance(decode(frame.data), Result):
                return [frame.data]
            self.lost = True
            asyncio.get_running_loop().call_soon(self.cut)
            return []

    till: am.Machine[Any] = am.Machine(Till, id="till")
    link = Losing(till, "losing", Till)
    await link.start()
    assert (await link.mirror.add("Paid")).reason == "Paid requires Open"
    assert link.lost
    await link.stop()
