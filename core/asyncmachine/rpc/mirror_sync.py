"""The mirror and its source: what HELLO asks for, and what WELCOME, clocks and growth make of the mirror."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from asyncmachine.machine.errors import InvalidArgs
from asyncmachine.machine.names import several
from asyncmachine.machine.schema import Schema
from asyncmachine.rpc import events as e
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.calling import Calling
from asyncmachine.rpc.codec import encode
from asyncmachine.rpc.errors import ForeignSource, HandshakeFailed
from asyncmachine.rpc.exposure import begin_anew
from asyncmachine.rpc.features import KNOWN
from asyncmachine.rpc.netmach import SOURCE, NetworkMachine
from asyncmachine.rpc.schemas import difference, missing, schema_told

logger = logging.getLogger("asyncmachine.rpc")


class MirrorSync:
    """Keeps a mirror like its source, over all sessions of one client.

    `given` is the schema that the client knows, `wanted` what it would like to follow. `calling` gets the numbers that
    states have in the session.
    """

    __slots__ = ("_calling", "_epoch", "_given", "_mirror", "_wanted", "grants")

    def __init__(self, mirror: NetworkMachine[Any], given: Schema | None, wanted: m.Sync, calling: Calling) -> None:
        self._mirror = mirror
        self._given = given
        self._wanted = wanted
        self._calling = calling
        self._epoch: int | None = None
        self.grants: m.GrantList | None = None
        if given is not None:
            given.hash  # noqa: B018 (kept by the schema; of a huge one it takes longer than a handler may)

    @property
    def epoch(self) -> int:
        """Which source is mirrored; 0 before there is one."""
        return self._epoch or 0

    def hello(self, id: str, token: str, resume: m.Resume | None, features: tuple[str, ...]) -> m.Hello:
        """What a connection begins with."""
        knows = self._given is not None or resume is not None
        known = bytes.fromhex(self._mirror.schema.hash) if knows or not self._wanted.schema else b""
        versions = (m.VERSION, m.VERSION)
        return m.Hello(m.MAGIC, versions, id, token, replace(self._wanted, hash=known), resume, features)

    def welcomed(self, event: e.WelcomeReceived) -> None:
        """Takes the names, the schema and the clock over.

        Raises `HandshakeFailed` if they do not fit together, `ForeignSource` if states of the given schema are missing.
        """
        welcome, mirror = event.welcome, self._mirror
        names = mirror.names if welcome.names is None else welcome.names
        if len(names) != len(welcome.time) or len(set(names)) != len(names):
            raise HandshakeFailed(f"the source has {len(welcome.time)} states, the names given are {len(set(names))}")
        if self._given is not None and (lacking := missing(self._given, names, self._wanted, welcome.grants)):
            raise ForeignSource(welcome.source, lacking)
        schema = schema_told(welcome.source, welcome.schema)
        if self._given is not None and (found := difference(self._given, schema)):
            text = "%s: the client's states are defined otherwise than those of %r, whose count: %s"
            logger.warning(text, mirror.id, welcome.source, found)
        restarted = self._epoch not in (None, welcome.epoch)
        self._epoch = welcome.epoch
        if restarted:
            begin_anew(mirror)
        self.grants = welcome.grants
        mirror._tags = ("rpc-netmach", f"{SOURCE}{welcome.source}")
        self._install(names, schema)
        mirror._show(event.clock, restarted=restarted)

    def grew(self, event: e.SourceGrew) -> None:
        """Positions of the session do not move; what is new stands behind. Raises `HandshakeFailed` if they do."""
        places = self._calling.places
        if event.names[: len(places)] != tuple(places) or len(set(event.names)) != len(event.names):
            raise HandshakeFailed("the states of the session changed their numbers when the source grew")
        self._install(event.names, schema_told("the source", event.schema))
        self._mirror._show(event.clock)

    def show(self, event: e.ClockChanged) -> None:
        """Shows a clock, or one transition of the source."""
        step, mirror = event.step, self._mirror
        if step is None:
            mirror._show(event.clock)
        else:
            mirror._show(event.clock, mutation=mirror._called(step.kind, step.called), accepted=step.accepted)

    def _install(self, names: tuple[str, ...], schema: Schema) -> None:
        self._mirror._install(names, schema)
        self._calling.places = self._mirror._numbers()


def sync_wanted(
    id: str,
    token: str,
    schema: bool,
    allowed: Iterable[str] | None,
    skipped: Iterable[str] | None,
    *,
    shallow: bool,
    steps: bool,
) -> m.Sync:
    """What a client's HELLO asks for.

    Raises `InvalidArgs` for what goes ill together, `Unsendable` for what no HELLO can hold, and `TooLarge` for what is
    too much for one.
    """
    if shallow and steps:
        raise InvalidArgs("a shallow mirror counts no ticks, so it cannot show steps: choose one of the two")
    followed = None if allowed is None else several(allowed, "allowed")
    wanted = m.Sync(schema, b"", followed, several(skipped or (), "skipped"), shallow, steps)
    most = 2**64 - 1
    largest, resume = replace(wanted, hash=bytes(8)), m.Resume(bytes(64), most, most)
    encode(m.Hello(m.MAGIC, (m.VERSION, m.VERSION), id, token, largest, resume, KNOWN))
    return wanted
