"""Payloads as values: what a server sends beside its states, for expressions and lists to read.

Payloads come to a consumer, a machine with the state `ServerPayload` that was given to a client. Each feed takes those
of one name, whatever other handlers do with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from asyncmachine import Event
from asyncmachine.machine.view import View
from asyncmachine_web.page.bindings import BindingError
from asyncmachine_web.page.reads import Value

PAYLOAD = "ServerPayload"


def take(consumer: View[Any], name: str, use: Callable[[Any], None]) -> Callable[[], None]:
    """Call `use(data)` with the data of each payload of that name; what is returned ends it."""
    from asyncmachine.rpc import ServerPayload

    if not consumer.has(PAYLOAD):
        raise BindingError(f"{consumer.id} gets no payloads: let its states inherit from rpc.Consumer")

    def arrived(e: Event) -> None:
        payload = e.args_or_none(ServerPayload)
        if payload is not None and payload.name == name:
            e.remove(PAYLOAD)
            use(payload.data)

    bound = consumer.bind({f"{PAYLOAD}State": arrived})
    return lambda: consumer.detach(bound)


class Rows:
    """The last rows that came, each with a number of its own as `id` unless it has one.

    What is sent again after a cut needs one: two rows without it are two rows.
    """

    def __init__(self, value: Value[list[dict[str, object]]], last: int, newest_first: bool) -> None:
        self._value = value
        self._last = last
        self._newest_first = newest_first
        self._numbers = count(1)

    def add(self, data: Any) -> None:
        """One row or several, oldest first. A row whose `id` is there already takes its place."""
        rows = {row["id"]: row for row in self._oldest_first(self._value.get())}
        for row in [data] if isinstance(data, Mapping) else data:
            numbered = {"id": next(self._numbers), **row}
            rows[numbered["id"]] = numbered
        kept = list(rows.values())[-self._last :]
        self._value.set(self._oldest_first(kept))

    def _oldest_first(self, rows: list[dict[str, object]]) -> list[dict[str, object]]:
        """From the shown order and back."""
        return rows[::-1] if self._newest_first else rows
