"""Payloads until their fate is known: kept and sent again on the server's side, taken once on the client's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from typing import Final

from asyncmachine.machine.result import Outcome
from asyncmachine.rpc.chunks import Parcel
from asyncmachine.rpc.errors import CallRefused, DeliveryFailed, TooLarge
from asyncmachine.rpc.limits import sendable
from asyncmachine.rpc.messages import NAME
from asyncmachine.rpc.remote_result import Delivery

MAX_KEPT: Final = 1024
"""Payloads that may wait for their acknowledgement."""

MAX_KEPT_BYTES: Final = 64 << 20
"""Bytes that they may take together, beside one of the largest."""

REMEMBERED: Final = 1024
"""Tokens a client remembers, to know a second copy."""


@dataclass(eq=False, slots=True)
class Kept:
    """One payload. `destination` is the only client that may have it, empty for any.

    A large one has its data in a `parcel`, and its `frame` announces them. It fails if it is not consumed `within` so
    many seconds, which is `due` at that time of the loop; the `timer` of whoever keeps it tells. `number` grows from
    one to the next, whatever server they are given to.
    """

    token: bytes
    name: str
    frame: bytes
    destination: str
    result: Delivery
    parcel: Parcel | None = None
    within: float | None = None
    due: float | None = None
    timer: asyncio.TimerHandle | None = None
    number: int = field(default_factory=count().__next__)

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return len(self.frame) + (self.parcel.size if self.parcel is not None else 0)

    def stop(self) -> None:
        """Stops the timer: it is settled, or goes to somebody else."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def settle(self, error: DeliveryFailed | None) -> None:
        """Tells the result what has become of it."""
        self.stop()
        if error is None:
            self.result.acknowledged = self.result.size
            self.result._settle(Outcome.EXECUTED)
        else:
            self.result._fail(error)


class Outbox:
    """The server's payloads without an acknowledgement, in the order they were given; `limit` is in bytes."""

    __slots__ = ("_bytes", "_kept", "_limit")

    def __init__(self, limit: int = MAX_KEPT_BYTES) -> None:
        self._limit = limit
        self._kept: dict[bytes, Kept] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, kept: Kept) -> None:
        """Keeps a payload until it is settled. Raises `TooLarge` when there is no room for it."""
        if len(self._kept) >= MAX_KEPT or self._bytes + kept.size > self._limit:
            raise TooLarge(
                f"{len(self._kept)} payloads ({self._bytes} bytes) wait for their acknowledgement; "
                f"the limits are {MAX_KEPT} and {self._limit} bytes: await some of them first"
            )
        self.adopt(kept)

    def adopt(self, kept: Kept) -> None:
        """Keeps a payload that there was room for at another server."""
        self._kept[kept.token] = kept
        self._bytes += kept.size

    def release(self, kept: Kept) -> None:
        """Lets go of a payload that somebody else keeps from now on."""
        del self._kept[kept.token]
        self._bytes -= kept.size
        kept.stop()

    def get(self, token: bytes) -> Kept | None:
        """The one with this token, if it waits."""
        return self._kept.get(token)

    def of(self, client: str) -> Iterator[Kept]:
        """What is to be sent to this client once it is ready."""
        return (kept for kept in self.all() if kept.destination in ("", client))

    def all(self) -> tuple[Kept, ...]:
        """Everything that waits."""
        return tuple(self._kept.values())

    def settle(self, token: bytes, error: DeliveryFailed | None = None) -> Kept | None:
        """Forgets a payload that was consumed or has failed, and tells its result. None the second time."""
        kept = self._kept.pop(token, None)
        if kept is not None:
            self._bytes -= kept.size
            kept.settle(error)
        return kept


class Known(Enum):
    """What a client knows of a payload's token."""

    NEW = "new"
    PENDING = "pending"
    CONSUMED = "consumed"
    REFUSED = "refused"


class Inbox:
    """The client's memory of the last payloads, over all its sessions with one server."""

    __slots__ = ("_tokens",)

    def __init__(self) -> None:
        self._tokens: dict[bytes, Known | CallRefused] = {}

    def known(self, token: bytes) -> Known:
        """What is known of a payload of which the data have not come yet."""
        found = self._tokens.get(token, Known.NEW)
        return Known.REFUSED if isinstance(found, CallRefused) else found

    def refusal(self, token: bytes) -> CallRefused | None:
        """Why it was refused. None for one that was not."""
        found = self._tokens.get(token)
        return found if isinstance(found, CallRefused) else None

    def receive(self, token: bytes) -> Known:
        """Notes the arrival. Only a payload that is new goes to the consumer."""
        known = self.known(token)
        self._note(token, self._tokens.get(token, Known.PENDING))
        return known

    def settle(self, token: bytes, refused: CallRefused | None = None) -> None:
        """Notes what has become of it: consumed, or refused for good. Its copies are answered alike."""
        self._note(token, Known.CONSUMED if refused is None else sendable(refused, NAME))

    def _note(self, token: bytes, what: Known | CallRefused) -> None:
        self._tokens.pop(token, None)
        self._tokens[token] = what  # behind all others
        while len(self._tokens) > REMEMBERED:
            del self._tokens[next(iter(self._tokens))]
