"""TCP targets: the table of addresses that tunnels may lead to. Nothing else is ever dialled or bound.

    Target("backend", "127.0.0.1", 14000, ids="browser[1-4]")             # /dial/browser1/backend
    Target("repl", "127.0.0.1", "14100-14199", ops=("listen",), ids=r"repl-.+")

A tunnel names its target by the entry's name, or by `host:port` with exactly its host and one of its ports. The URL is
compared with the table and then forgotten: what is connected to is what the table says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address

from asyncmachine_relay.addresses import Network, is_never, networks
from asyncmachine_relay.patterns import pattern_of
from asyncmachine_relay.policy import MAX_TARGET, Op, RelayConfigError, several

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9_.:-]{1,253}", re.ASCII)
_LOOPBACK = networks(("127.0.0.0/8", "::1"))


@dataclass(frozen=True)
class Target:
    """One entry of the table.

    `port` is a number, or a range as "14100-14199": then `dial` has to name the port, and `listen` without one takes
    the first that is free. Port 0 (only for `listen`) is any free one. `ops` are what it is for. `ids` is a regular
    expression that must fit the whole id. `raw` carries bytes as they come instead of length-prefixed messages.
    `networks` are the private ones its name may resolve to; an address as `host` lists itself, `localhost` lists
    loopback. `public` lets `listen` bind an address that others can reach. `connections` are those at a time, of all
    tunnels together; 0 sets no limit beside those of tunnels.

    Raises `RelayConfigError`.
    """

    name: str
    host: str
    port: int | str
    ops: tuple[Op, ...] = (Op.DIAL,)
    ids: str = ".*"
    raw: bool = False
    networks: tuple[str, ...] = ()
    public: bool = False
    connections: int = 0
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _ports: range = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host):
            raise self._wrong("host", "must be a host's name or an IP address, without port or brackets")
        object.__setattr__(self, "_pattern", pattern_of(self.ids, f"target {self.name!r}: ids {self.ids!r}", "ids"))
        if not several(self.ops, "ops"):
            raise self._wrong("ops", 'must name "dial", "listen", or both')
        object.__setattr__(self, "_ports", self._read_ports())
        if Op.DIAL in self.ops and self.literal is not None and is_never(ip_address(self.literal)):
            what = "is an address that is never connected to: link-local, metadata, multicast, reserved or unspecified"
            raise self._wrong("host", what, needs=("ops",))
        if self.connections < 0:
            raise self._wrong("connections", "must be 0 or more")
        networks(self.networks)
        if Op.LISTEN in self.ops and not self.public and not self._is_loopback:
            what = "can be reached by others: listen on 127.0.0.1, or set public = true"
            raise self._wrong("host", what, needs=("ops", "public"))
        if not _NAME.fullmatch(self.name):
            raise self._wrong("name", f"must have 1 to {MAX_TARGET} characters of A-Z a-z 0-9 _ . -")

    @cached_property
    def listed(self) -> tuple[Network, ...]:
        """The networks that may be connected to though they are not public."""
        named = networks(self.networks)
        if self.host == "localhost":
            return (*named, *_LOOPBACK)
        return named if self.literal is None else (*named, *networks((self.literal,)))

    @cached_property
    def literal(self) -> str | None:
        """The host if it is an IP address; there is nothing to resolve."""
        try:
            return str(ip_address(self.host))
        except ValueError:
            return None

    @property
    def ports(self) -> range:
        return self._ports

    def fits(self, op: Op, id: str, target: str) -> bool:
        """True when a tunnel of this id that asks for `target` is for this entry."""
        return op in self.ops and self._pattern.fullmatch(id) is not None and self.ports_for(op, target) is not None

    def ports_for(self, op: Op, target: str) -> range | None:
        """The ports that `target` may mean: all of them for a bare name that listens. None: it is not this entry."""
        if target == self.name:
            return self._ports if op is Op.LISTEN or len(self._ports) == 1 else None
        name, _, port = target.rpartition(":")
        if name.removeprefix("[").removesuffix("]") not in {self.name, self.host} or not _is_port(port):
            return None
        number = int(port)
        return range(number, number + 1) if number in self._ports else None

    def _read_ports(self) -> range:
        first, _, last = str(self.port).partition("-")
        if not _is_port(first) or not _is_port(last or first):
            raise self._wrong("port", 'must be a number up to 65535, or a range as "14100-14199"')
        ports = range(int(first), int(last or first) + 1)
        if not ports:
            raise self._wrong("port", "ends before it begins")
        if 0 in ports and (len(ports) > 1 or Op.DIAL in self.ops):
            what = 'must be above 0; 0 alone is any free one, and only for ops = ["listen"]'
            raise self._wrong("port", what, needs=("ops",))
        return ports

    @property
    def _is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        return self.literal is not None and ip_address(self.literal).is_loopback

    def _wrong(self, name: str, what: str, *, needs: Iterable[str] = ()) -> RelayConfigError:
        wrong = f"target {self.name!r}: {name} {getattr(self, name)!r} {what}"
        return RelayConfigError(wrong, field=name, needs=needs)


def check_names(targets: Iterable[Target]) -> None:
    """Raises `RelayConfigError` for two entries of one name that a tunnel could not tell apart."""
    seen: set[tuple[str, Op, str]] = set()
    for number, target in enumerate(targets):
        for op in target.ops:
            key = (target.name, op, target.ids)
            if key in seen:
                wrong = f"target {target.name!r} is there twice for {op} and the same ids; rename one"
                raise RelayConfigError(wrong, field=f"targets.{number}.name")
            seen.add(key)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65535
