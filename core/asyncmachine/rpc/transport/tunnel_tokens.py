"""Asks the relay for tokens. Tunnels that are opened in one turn of the loop ask with one request.

Each has a token of its own all the same, and is refused for itself. Nothing is asked for in advance: a token that lies
around is one that can be stolen.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

MOST: Final = 16
"""Tokens that a relay gives out in one request."""
TOO_LONG: Final = 413
"""What a relay answers that takes no list of that length."""
NO_LISTS: Final = 400
"""What one answers that knows none."""

Post = Callable[[str, str], Awaitable[tuple[int, str]]]
"""Sends a text to a path; status and text of the answer. Raises `TransportClosed` when there is none."""
Answer = tuple[int, Any]
"""A status, and what the body says; None for one that is no JSON."""


class Tokens:
    """See the module. One for all tunnels to one relay."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._due: list[_Wish] = []
        self._most = MOST
        self._asking: set[asyncio.Task[None]] = set()

    async def ask(self, wish: Mapping[str, str]) -> Answer:
        """What the relay says to this wish. Raises what `post` raises."""
        mine = _Wish(wish)
        self._due.append(mine)
        if len(self._due) == 1:
            task = asyncio.create_task(self._ask_all(), name="tokens")
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        return await mine.answer

    async def _ask_all(self) -> None:
        await asyncio.sleep(0)  # whoever is about to open a tunnel too comes along
        due, self._due = self._due, []
        while wishes := [wish for wish in due if not wish.answer.done()][: self._most]:
            asking = asyncio.ensure_future(self._request(wishes))
            for wish in wishes:
                wish.answer.add_done_callback(partial(_cancel_unwanted, wishes, asking))
            await asyncio.wait({asking})

    async def _request(self, wishes: Sequence[_Wish]) -> None:
        alone = len(wishes) == 1
        try:
            said = wishes[0].said if alone else [wish.said for wish in wishes]
            status, text = await self._post("token", json.dumps(said))
        except Exception as error:  # noqa: BLE001 (it is for those who wait)
            for wish in wishes:
                wish.fail(error)
            return
        if status in (TOO_LONG, NO_LISTS) and not alone:
            self._most = len(wishes) // 2 if status == TOO_LONG else 1  # and they are asked for again
            return
        answer = _decoded(text)
        if alone or status != 200:
            for wish in wishes:
                wish.settle((status, answer))
            return
        found = answer if isinstance(answer, list) and len(answer) == len(wishes) else [None] * len(wishes)
        for wish, each in zip(wishes, found, strict=True):
            wish.settle((each.get("status", 200) if isinstance(each, dict) else 200, each))


class _Wish:
    """A wish, and whoever waits for its answer."""

    def __init__(self, said: Mapping[str, str]) -> None:
        self.said = dict(said)
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def settle(self, answer: Answer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


def _cancel_unwanted(wishes: Sequence[_Wish], asking: asyncio.Future[None], _: object) -> None:
    """Nobody waits any more."""
    if all(wish.answer.done() for wish in wishes):
        asking.cancel()


def reason_in(text: str) -> tuple[str, str]:
    """The name and the hint of a refusal that is told as `NAME: hint`; an empty name for any other text."""
    name, colon, hint = text.partition(": ")
    return (name, hint) if colon and name.isupper() else ("", text)


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        # The relay's door answers so, before anything has looked at the request.
        name, hint = reason_in(text)
        return {"code": name, "message": hint} if name else None
