"""Payloads as values: what a server sends beside its states, for expressions and lists to read.

Payloads come to a consumer, a machine with the state `ServerPayload` that was given to a client. Each feed takes those
of one name, whatever other handlers do with them. A name that nobody asks for is told, once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from asyncmachine import Event
from asyncmachine.machine.handlers import Slot
from asyncmachine.machine.view import View
from asyncmachine_web.page.bindings import BindingError
from asyncmachine_web.page.reads import T, Value

if TYPE_CHECKING:
    from asyncmachine.rpc import ServerPayload

PAYLOAD: Final = "ServerPayload"
FEEDS: Final = "page-feeds"
"""The one binding of all feeds of a consumer."""
GRACE: Final = 5.0
"""Seconds in which the page may still ask for a payload that has come."""

logger = logging.getLogger("asyncmachine.web")


class Received(Value[T]):
    """What comes from elsewhere: where a page shows a mirror, it is as stale as that."""


class Asked:
    """All feeds of one consumer."""

    def __init__(self) -> None:
        self.uses: dict[str, list[Callable[[ServerPayload], None]]] = {}
        """By name, what takes its payloads."""
        self._noted: set[str] = set()
        """Names that nothing asked for when they came."""

    def arrived(self, e: Event) -> None:
        from asyncmachine.rpc import ServerPayload

        payload = e.args_or_none(ServerPayload)
        if payload is None:
            return
        if payload.name in self.uses:
            e.remove(PAYLOAD)
            for use in tuple(self.uses[payload.name]):
                use(payload)
        elif payload.name not in self._noted and len(self._noted) < 100:
            self._noted.add(payload.name)
            asyncio.get_running_loop().call_later(GRACE, self._tell, e.machine, payload.name)

    def _tell(self, consumer: View[Any], name: str) -> None:
        """Unless somebody takes it after all: a misspelt name is a value that never comes."""
        if self.uses and name not in self.uses and not _has_others(consumer):
            asked = ", ".join(map(repr, self.uses))
            told = "%s gets the payload %r, which nothing asks for: a page asks for %s"
            logger.warning(told, consumer.id, name[:40], asked)


_ASKED: Final[WeakKeyDictionary[View[Any], Asked]] = WeakKeyDictionary()


def take(consumer: View[Any], name: str, use: Callable[[ServerPayload], None]) -> Callable[[], None]:
    """Call `use` with each payload of that name; what is returned ends it."""
    if not consumer.has(PAYLOAD):
        raise BindingError(f"{consumer.id} gets no payloads: let its states inherit from rpc.Consumer")
    asked = _ASKED.get(consumer)
    if asked is None:
        asked = _ASKED[consumer] = Asked()
        consumer.bind({f"{PAYLOAD}State": asked.arrived}, id=FEEDS)
    asked.uses.setdefault(name, []).append(use)

    def end() -> None:
        asked.uses[name].remove(use)
        if not asked.uses[name]:
            del asked.uses[name]
        if not asked.uses:
            del _ASKED[consumer]
            consumer.detach(FEEDS)

    return end


def _has_others(consumer: View[Any]) -> bool:
    """Whether payloads are taken by handlers of the application's own."""
    table = consumer._table
    turn = None if table is None else table.turn(Slot("State", consumer.index(PAYLOAD)))
    return turn is not None and any(call.binding != FEEDS for call in turn.calls)


class Rows:
    """The last rows that came, each with a number of its own as `id` unless it has one.

    Numbers are beyond those of rows that the page puts there, as those that it had kept. What is sent again after a
    cut needs one: two rows without it are two rows. Those of a source end when the same client gets the first row of
    another one: after a restart numbers mean other rows.
    """

    def __init__(self, value: Value[list[dict[str, object]]], last: int, newest_first: bool) -> None:
        self._value = value
        self._last = last
        self._newest_first = newest_first
        self._number = 0
        self._epochs: dict[str, int] = {}
        """By client, which source it had when its last rows came."""
        self._of: dict[object, str] = {}
        """The client of each row, by its `id`."""

    def add(self, payload: ServerPayload) -> None:
        """One row or several, oldest first. A row whose `id` is there already takes its place."""
        data, client = payload.data, payload.client
        ended = set()
        if self._epochs.get(client) != payload.epoch:
            self._epochs[client] = payload.epoch
            ended = {row for row, of in self._of.items() if of == client}
        shown = self._oldest_first(self._value.get())
        put_back = [row["id"] for row in shown if isinstance(row["id"], int) and row["id"] not in self._of]
        self._number = max([self._number, *put_back])
        rows = {row["id"]: row for row in shown if row["id"] not in ended}
        for row in [data] if isinstance(data, Mapping) else data:
            self._number = next(number for number in count(self._number + 1) if number not in rows)
            numbered = {"id": self._number, **row}
            rows[numbered["id"]] = numbered
            self._of[numbered["id"]] = client
        kept = list(rows.values())[-self._last :]
        self._of = {row["id"]: self._of[row["id"]] for row in kept if row["id"] in self._of}
        self._value.set(self._oldest_first(kept))

    def _oldest_first(self, rows: list[dict[str, object]]) -> list[dict[str, object]]:
        """From the shown order and back."""
        return rows[::-1] if self._newest_first else rows
