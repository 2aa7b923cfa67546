"""Payloads as values: what a server sends beside its states, for expressions and lists to read.

Payloads come to a consumer, a machine with the state `ServerPayload` that was given to a client. Each feed takes those
of one name, whatever other handlers do with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

from asyncmachine import Event
from asyncmachine.machine.view import View
from asyncmachine_web.page.bindings import BindingError
from asyncmachine_web.page.reads import T, Value

if TYPE_CHECKING:
    from asyncmachine.rpc import ServerPayload

PAYLOAD = "ServerPayload"


class Received(Value[T]):
    """What comes from elsewhere: where a page shows a mirror, it is as stale as that."""


def take(consumer: View[Any], name: str, use: Callable[[ServerPayload], None]) -> Callable[[], None]:
    """Call `use` with each payload of that name; what is returned ends it."""
    from asyncmachine.rpc import ServerPayload

    if not consumer.has(PAYLOAD):
        raise BindingError(f"{consumer.id} gets no payloads: let its states inherit from rpc.Consumer")

    def arrived(e: Event) -> None:
        payload = e.args_or_none(ServerPayload)
        if payload is not None and payload.name == name:
            e.remove(PAYLOAD)
            use(payload)

    bound = consumer.bind({f"{PAYLOAD}State": arrived})
    return lambda: consumer.detach(bound)


class Rows:
    """The last rows that came, each with a number of its own as `id` unless it has one.

    What is sent again after a cut needs one: two rows without it are two rows. Those of a source end when the same
    client gets the first row of another one: after a restart numbers mean other rows.
    """

    def __init__(self, value: Value[list[dict[str, object]]], last: int, newest_first: bool) -> None:
        self._value = value
        self._last = last
        self._newest_first = newest_first
        self._numbers = count(1)
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
        rows = {row["id"]: row for row in self._oldest_first(self._value.get()) if row["id"] not in ended}
        for row in [data] if isinstance(data, Mapping) else data:
            numbered = {"id": next(self._numbers), **row}
            rows[numbered["id"]] = numbered
            self._of[numbered["id"]] = client
        kept = list(rows.values())[-self._last :]
        self._of = {row["id"]: self._of[row["id"]] for row in kept if row["id"] in self._of}
        self._value.set(self._oldest_first(kept))

    def _oldest_first(self, rows: list[dict[str, object]]) -> list[dict[str, object]]:
        """From the shown order and back."""
        return rows[::-1] if self._newest_first else rows
