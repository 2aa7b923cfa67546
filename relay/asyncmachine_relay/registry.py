"""Who holds which id, over all relays: entries of a NATS bucket that change by comparing revisions.

An entry is free when there is none, when it is of this relay and no tunnel of ours has it any more, or when its relay
is dead. Its owner, who proves it with the resume secret, may take it over at any time; the relay that had it is asked
to end its tunnel. Each entry is sealed with the relays' secret and its own name, so that whoever can write to NATS can
remove an entry, but not make one.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

import msgspec

from asyncmachine_relay.agreement import Hold, Key, away
from asyncmachine_relay.policy import Op, Reason, Refused
from asyncmachine_relay.tokens import Tokens

TRIES = 5
"""How often an entry may change under our hands before we say so."""


class Entry(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A taken id. `relay` is the one that has it, `url` where others reach it."""

    relay: str
    url: str
    target: str
    owner: bytes
    mark: bytes


class Bucket(Protocol):
    """What is used of a NATS key-value bucket."""

    async def get(self, key: str) -> Any:
        """`value` and `revision`. Raises `KeyNotFoundError`."""

    async def create(self, key: str, value: bytes) -> int:
        """The revision. Raises `KeyWrongLastSequenceError` when it is there."""

    async def update(self, key: str, value: bytes, last: int | None = None) -> int:
        """The new revision. Raises `KeyWrongLastSequenceError` when it has changed."""

    async def delete(self, key: str, last: int | None = None) -> bool:
        """Raises `KeyWrongLastSequenceError` when it has changed."""


class Registry:
    """The entries, as one relay sees them. `is_dead` judges other relays."""

    def __init__(
        self,
        bucket: Bucket,
        tokens: Tokens,
        *,
        relay: str,
        url: str,
        is_dead: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._bucket = bucket
        self._tokens = tokens
        self._relay = relay
        self._url = url
        self._is_dead = is_dead
        self.holds: dict[Key, Hold] = {}
        """What is ours."""

    async def claim(self, hold: Hold) -> Entry | None:
        """Takes an id; returns whose it was, if it was another relay's. Raises `Refused` when it may not be taken."""
        from nats.js.errors import KeyWrongLastSequenceError

        name, value = _name(hold.key), self._value(hold)
        for _ in range(TRIES):
            found = await self._find(name)
            before = None if found is None else _readable(found[0])
            if before is not None:
                await self._judge(hold, before)
            try:
                hold.revision = await self._put(name, value, found)
            except KeyWrongLastSequenceError:
                continue
            self.holds[hold.key] = hold
            return None if before is None or before.relay == self._relay else before
        raise away()

    async def free(self, hold: Hold) -> None:
        """Removes the entry of an id that was given back, unless it is another's by now."""
        from nats.js.errors import KeyWrongLastSequenceError

        name = _name(hold.key)
        found = await self._find(name)
        if found is not None and found[0] is not None and found[0].mark == hold.mark:
            with suppress(KeyWrongLastSequenceError):
                await self._bucket.delete(name, last=found[1])

    async def confirm(self, hold: Hold) -> bool:
        """Says again, after we could not be heard, that the id is ours. False: it is another's now."""
        from nats.js.errors import KeyWrongLastSequenceError

        name, value = _name(hold.key), self._value(hold)
        try:
            hold.revision = await self._bucket.update(name, value, last=hold.revision)
        except KeyWrongLastSequenceError:
            found = await self._find(name)
            if found is not None and found[0] is not None and found[0].mark != hold.mark:
                return False
            try:
                hold.revision = await self._put(name, value, found)
            except KeyWrongLastSequenceError:
                return False
        return True

    async def find(self, target: str, id: str) -> Entry | None:
        """The entry of who listens there under this id, if another relay has it."""
        found = await self._find(_name((Op.LISTEN, id)))
        entry = None if found is None else _readable(found[0])
        return None if entry is None or entry.target != target or entry.relay == self._relay else entry

    async def _judge(self, hold: Hold, entry: Entry) -> None:
        """Raises `Refused` unless the id may be taken."""
        if entry.relay == self._relay:
            ours = self.holds.get(hold.key)
            if ours is None or ours.mark != entry.mark:
                return  # given back, and not removed yet
        if hmac.compare_digest(entry.owner, hold.owner):
            return
        if entry.relay == self._relay or not await self._is_dead(entry.relay):
            raise Refused(Reason.DUPLICATE, "this id is taken; close its other tab, or use another id")

    async def _find(self, name: str) -> tuple[Entry | None, int] | None:
        """The entry, None for one that no relay of ours has made, and its revision; None when there is none."""
        from nats.js.errors import KeyNotFoundError

        try:
            found = await self._bucket.get(name)
        except KeyNotFoundError:
            return None
        try:
            body = self._tokens.unseal(found.value or b"", b"entry " + name.encode())
            return msgspec.msgpack.decode(body, type=Entry), found.revision
        except (Refused, msgspec.MsgspecError):
            return None, found.revision

    async def _put(self, name: str, value: bytes, found: tuple[Entry | None, int] | None) -> int:
        """Writes over what was found, and nothing else; returns the revision."""
        if found is None:
            return await self._bucket.create(name, value)
        return await self._bucket.update(name, value, last=found[1])

    def _value(self, hold: Hold) -> bytes:
        entry = Entry(self._relay, self._url, hold.target, hold.owner, hold.mark)
        return self._tokens.seal(msgspec.msgpack.encode(entry), b"entry " + _name(hold.key).encode())


def _readable(entry: Entry | None) -> Entry:
    """Raises `Refused` for an entry that no relay of ours has made: nobody can tell whose the id is."""
    if entry is None:
        raise away()
    return entry


def _name(key: Key) -> str:
    """Ids may have dots at places where names of entries may not."""
    return f"{key[0]}.{urlsafe_b64encode(key[1].encode()).decode().rstrip('=')}"
