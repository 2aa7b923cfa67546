"""Tokens for several tunnels: what goes into one request, and what becomes of each."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any

import pytest

from asyncmachine.rpc.transport import TransportClosed
from asyncmachine.rpc.transport.tunnel_tokens import MOST, Tokens


class Relay:
    """Answers as told, by default each wish with its own id."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answers: deque[tuple[int, str] | TransportClosed] = deque()
        self.hold: asyncio.Event | None = None
        self.tokens = Tokens(self.post)

    async def post(self, path: str, body: str) -> tuple[int, str]:
        assert path == "token"
        said = json.loads(body)
        self.asked.append(said)
        if self.hold is not None:
            await self.hold.wait()
        if self.answers:
            answer = self.answers.popleft()
            if isinstance(answer, TransportClosed):
                raise answer
            return answer
        given = [{"token": each["id"]} for each in said] if isinstance(said, list) else {"token": said["id"]}
        return 200, json.dumps(given)

    async def all(self, *ids: str) -> list[Any]:
        return await asyncio.gather(*(self.tokens.ask({"id": each}) for each in ids), return_exceptions=True)


async def test_what_is_opened_together_asks_together() -> None:
    relay = Relay()
    assert await relay.all("a", "b", "c") == [(200, {"token": each}) for each in "abc"]
    assert relay.asked == [[{"id": "a"}, {"id": "b"}, {"id": "c"}]]


async def test_one_alone_sends_no_list() -> None:
    relay = Relay()
    assert await relay.tokens.ask({"id": "a"}) == (200, {"token": "a"})
    assert await relay.tokens.ask({"id": "b"}) == (200, {"token": "b"})
    assert relay.asked == [{"id": "a"}, {"id": "b"}]


async def test_more_than_a_relay_gives_out_at_a_time_is_asked_for_in_turns() -> None:
    relay = Relay()
    ids = [str(number) for number in range(2 * MOST + 1)]
    assert await relay.all(*ids) == [(200, {"token": each}) for each in ids]
    assert [len(asked) if isinstance(asked, list) else 1 for asked in relay.asked] == [MOST, MOST, 1]


async def test_each_is_refused_for_itself() -> None:
    relay = Relay()
    refusal = {"status": 404, "code": "TARGET", "message": "nothing here"}
    relay.answers.append((200, json.dumps([{"token": "a"}, refusal])))
    assert await relay.all("a", "b") == [(200, {"token": "a"}), (404, refusal)]


async def test_what_concerns_the_request_concerns_all() -> None:
    relay = Relay()
    relay.answers.append((401, '{"code": "AUTH", "message": "log in first"}'))
    assert await relay.all("a", "b") == [(401, {"code": "AUTH", "message": "log in first"})] * 2
    relay.answers.append(TransportClosed(1006, "no network"))
    assert [str(error) for error in await relay.all("a", "b")] == [str(TransportClosed(1006, "no network"))] * 2


@pytest.mark.parametrize("status", [400, 413])
async def test_a_relay_that_takes_no_list_is_asked_one_by_one(status: int) -> None:
    relay = Relay()
    relay.answers.append((status, "{}"))
    for _ in range(2):
        assert await relay.all("a", "b") == [(200, {"token": "a"}), (200, {"token": "b"})]
    assert relay.asked == [[{"id": "a"}, {"id": "b"}], *[{"id": "a"}, {"id": "b"}] * 2]


async def test_a_list_that_is_too_long_is_halved_and_not_given_up() -> None:
    relay = Relay()
    relay.answers.append((413, "{}"))
    for _ in range(2):
        assert await relay.all(*"abcd") == [(200, {"token": each}) for each in "abcd"]
    assert [len(asked) for asked in relay.asked] == [4, 2, 2, 2, 2]


@pytest.mark.parametrize("text", ["<html>", "{}", "[]", '[{"token": "a"}]', "[1, 2, 3]"])
async def test_an_answer_that_fits_no_list_is_no_answer(text: str) -> None:
    relay = Relay()
    relay.answers.append((200, text))
    assert await relay.all("a", "b") == [(200, None), (200, None)]


async def test_who_waits_no_more_disturbs_nobody() -> None:
    relay = Relay()
    relay.hold = asyncio.Event()
    first, second = (asyncio.create_task(relay.tokens.ask({"id": each})) for each in "ab")
    while not relay.asked:
        await asyncio.sleep(0)
    first.cancel()
    relay.hold.set()
    assert await second == (200, {"token": "b"})


async def test_a_request_that_nobody_waits_for_is_given_up() -> None:
    relay = Relay()
    relay.hold = asyncio.Event()
    waiting = [asyncio.create_task(relay.tokens.ask({"id": each})) for each in "ab"]
    while not relay.asked:
        await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    while relay.tokens._asking:
        await asyncio.sleep(0)
    relay.hold = None
    assert await relay.tokens.ask({"id": "c"}) == (200, {"token": "c"})
