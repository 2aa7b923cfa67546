"""Several tokens for one request: each is judged, counted, bound and used up as if it had been asked for alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.requests import Request

from asyncmachine_relay import EVERY_TUNNEL, Limits, Match, TunnelGrants
from asyncmachine_relay.admission import MAX_WISHES
from asyncmachine_relay.policy import Reason
from tests.relay.support import QUICK, Answer, Running, echo, ending, http, opened, running

FEW = Limits(leave=0.02, opens_per_second=0.001, opens_burst=5)
ANY = Match(r"page-\d+", target="orchestrator", serve=echo)


def wish(id: str, op: str = "dial", target: str = "orchestrator", **more: str) -> dict[str, str]:
    return {"op": op, "id": id, "target": target, **more}


async def ask(run: Running, *wishes: Any) -> Answer:
    headers = [("content-type", "application/json"), ("origin", run.origin)]
    return await http(run, "/token", method="POST", body=json.dumps(wishes).encode(), headers=headers)


async def test_one_request_gives_each_tunnel_a_token_of_its_own() -> None:
    asked = 0

    def authorize(request: Request) -> TunnelGrants:
        nonlocal asked
        asked += 1
        return EVERY_TUNNEL

    async with running(authorize=authorize) as run:
        answer = await ask(run, wish("browser1"), wish("browser2"), wish("browser1", "listen"))
        assert (answer.status, answer.headers["cache-control"], asked) == (200, "no-store", 1)
        assert [set(each) for each in answer.json] == [{"token", "resume", "expires_in"}] * 3
        one, two, three = (each["token"] for each in answer.json)
        async with (
            opened(run, "browser1", using=one) as first,
            opened(run, "browser2", using=two) as second,
            opened(run, "browser1", "listen", using=three) as third,
        ):
            for page in (first, second, third):
                await page.send(b"x")
                assert await page.recv() == b"x"


async def test_a_token_of_a_list_is_good_for_its_tunnel_only_and_once() -> None:
    async with running() as run:
        one, two = (each["token"] for each in (await ask(run, wish("browser1"), wish("browser2"))).json)
        async with opened(run, "browser1", using=two) as thief:
            assert await ending(thief) == (4401, "AUTH")
            assert "of another tunnel" in str(thief.close_reason)
        async with opened(run, "browser1", using=one), opened(run, "browser1", using=one) as thief:
            assert await ending(thief) == (4401, "AUTH")
            assert "was used" in str(thief.close_reason)


async def test_what_is_not_used_expires() -> None:
    async with running(limits=Limits(token=1e-9)) as run:
        for each in (await ask(run, wish("browser1"), wish("browser2"))).json:
            async with opened(run, "browser1", using=each["token"]) as page:
                assert (await ending(page))[0] == 4401


async def test_an_id_is_taken_over_with_its_own_secret_only() -> None:
    async with running() as run:
        one, two = (await ask(run, wish("browser1"), wish("browser2"))).json
        assert one["resume"] != two["resume"]
        async with opened(run, "browser1", using=one["token"]) as page:
            foreign, own = (
                await ask(run, wish("browser1", secret=two["resume"]), wish("browser1", secret=one["resume"]))
            ).json
            async with opened(run, "browser1", using=foreign["token"]) as thief:
                assert await ending(thief) == (4409, "DUPLICATE")
            async with opened(run, "browser1", using=own["token"]) as owner:
                assert await ending(page) == (4409, "DUPLICATE")
                await owner.send(b"x")
                assert await owner.recv() == b"x"


async def test_each_is_judged_for_itself() -> None:
    def authorize(request: Request) -> TunnelGrants:
        return TunnelGrants(ids=("browser*", "..", "other"), targets=("orchestrator",))

    async with running(authorize=authorize) as run:
        answer = await ask(run, wish("browser1"), wish("mine"), wish(".."), wish("other"), wish("browser2"))
        assert answer.status == 200
        assert [each.get("code", "given") for each in answer.json] == [
            "given",
            "FORBIDDEN",
            "FORBIDDEN",
            "TARGET",
            "given",
        ]
        assert answer.json[3] == {
            "status": 404,
            "code": "TARGET",
            "message": "nothing here answers dial for the id 'other' and the target 'orchestrator'",
        }
        assert run.relay.counts.refused == {Reason.FORBIDDEN: 2, Reason.TARGET: 1}


async def test_what_is_not_offered_is_repeated_quoted_and_not_at_length() -> None:
    async with running() as run:
        answer = await ask(run, wish("a" * 41, target="<b>\n" + "é" * 60))
        (told,) = answer.json
        assert told["message"] == (
            f"nothing here answers dial for the id '{'a' * 40}…' and the target '<b>\\n{'é' * 36}…'"
        )


async def test_a_list_counts_as_many() -> None:
    async with running(dial=[ANY], limits=FEW) as run:
        wishes = [wish(f"page-{number}") for number in range(4)]
        assert ["token" in each for each in (await ask(run, *wishes)).json] == [True] * 4
        answer = await ask(run, *wishes)
        assert [each.get("code") for each in answer.json] == [None, "LIMIT", "LIMIT", "LIMIT"]
        assert (await ask(run, *wishes)).status == 429


async def test_who_is_not_let_in_is_told_once() -> None:
    async with running(authorize=lambda request: None) as run:
        answer = await ask(run, wish("browser1"), wish("browser2"))
        assert (answer.status, answer.json["code"]) == (401, "AUTH")


@pytest.mark.parametrize(
    "wishes",
    [
        [wish(f"page-{number}") for number in range(MAX_WISHES + 1)],
        [[wish("page-1")]],
        [wish("page-1"), {"op": "dial"}],
        [wish("page-1"), None],
    ],
    ids=["too many", "a list in a list", "one that is none", "nothing"],
)
async def test_a_list_that_is_none(wishes: list[Any]) -> None:
    async with running(dial=[ANY]) as run:
        answer = await ask(run, *wishes)
        assert (answer.status, answer.json["code"]) == (400, "BAD_FRAME")
        assert "a list of 1 to 16" in answer.json["message"]


async def test_the_longest_list_is_taken() -> None:
    async with running(dial=[ANY], limits=QUICK) as run:
        answer = await ask(run, *(wish(f"page-{number}") for number in range(MAX_WISHES)))
        assert len({each["token"] for each in answer.json}) == MAX_WISHES
