"""Who may come in: pure rules, no sockets, no clock.

A request first passes the `Door`: its Host and Origin must equal an entry, letter by letter. A tunnel then needs an id
and a target of the right shape (`check_id`, `check_target`) and a token (`tokens`). Whatever is refused is refused with
a `Reason`, and each reason knows how a WebSocket is closed for it and how an HTTP request is answered.

A page cannot read why an upgrade failed over HTTP. Tunnels are therefore accepted first and closed with code and
reason; only a foreign Host or Origin is turned away before that, since such a page has nothing to learn here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import TypeVar
from urllib.parse import urlsplit

from asyncmachine import AmError, InvalidArgs
from asyncmachine.machine import names

T = TypeVar("T")

MAX_ID = 128
MAX_TARGET = 255
MAX_CLOSE_REASON = 123
"""Bytes of UTF-8 that fit into a WebSocket close frame beside its code."""

_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}", re.ASCII)
_HOST = re.compile(r"(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_FORWARDING = re.compile(
    r"forward"  # Forwarded, X-Forwarded-…, X-Original-Forwarded-For, Max-Forwards
    r"|(?:client|real|remote|connecting|socket)[-_]?ip"
    r"|[-_](?:ip(?:v[46])?|addr(?:ess)?|via)(?= |$)"
    r"|true[-_]client|original[-_]|proxy|envoy"
    r"|(?:^| )(?:via|cdn[-_]loop|cf[-_])"
)
"""Names of headers, in lower case and with blanks between them, as proxies make them up and no browser does."""
_FEW = 1024
"""Characters of names that are worth remembering."""


class Op(StrEnum):
    """What a page wants: be listened for (`listen`), or call in (`dial`)."""

    LISTEN = "listen"
    DIAL = "dial"


class Reason(Enum):
    """Why a tunnel or request ends. `close_code` goes to a WebSocket, `status` to an HTTP request."""

    AUTH = (4401, 401)
    FORBIDDEN = (4403, 403)
    TARGET = (4404, 404)
    DUPLICATE = (4409, 409)
    LIMIT = (4429, 429)
    BAD_FRAME = (4400, 400)
    DEADLINE = (4408, 408)
    TOO_LARGE = (1009, 413)
    TEXT = (1003, 415)
    SHUTDOWN = (1001, 503)
    EXPIRED = (1001, 410)
    AWAY = (1013, 503)
    UNREACHABLE = (1011, 502)
    BROKEN = (1011, 504)
    INTERNAL = (1011, 500)

    def __init__(self, close_code: int, status: int) -> None:
        self.close_code = close_code
        self.status = status


class Refused(AmError):
    """The peer asked for what it may not have, or broke a rule. `hint` says what to do; it never repeats a secret."""

    def __init__(self, reason: Reason, hint: str) -> None:
        self.reason = reason
        self.hint = hint
        super().__init__(f"{reason.name}: {hint}")

    @property
    def close_reason(self) -> str:
        """The text of the close frame, cut to what fits into one."""
        return clip(str(self))


class RelayConfigError(AmError):
    """The relay was given settings that cannot be; the message names the setting and the cure.

    `field` is the setting's name in its record, where it is one of a record, or the way to it from the whole of all
    settings, as "targets.1.name". `needs` are others that the rule looks at: while those are wrong, it says nothing.
    """

    def __init__(self, message: str, *, field: str = "", needs: Iterable[str] = ()) -> None:
        self.field = field
        self.needs = frozenset(needs)
        super().__init__(message)


def several(texts: Iterable[T], field: str) -> tuple[T, ...]:
    """The texts of a setting. Raises `RelayConfigError` for a single one, which would be read letter by letter."""
    try:
        return names.several(texts, field)
    except InvalidArgs as error:
        raise RelayConfigError(str(error), field=field) from None


def clip(text: str, size: int = MAX_CLOSE_REASON) -> str:
    """The longest start of `text` that takes at most `size` bytes of UTF-8."""
    return text.encode()[:size].decode(errors="ignore")


def origin(text: str) -> str:
    """An origin as browsers write it: `scheme://host` plus the port unless it is the scheme's own.

    Raises `RelayConfigError` for anything else: a path, a wildcard, `null`, another scheme.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    host = parts.hostname or ""
    rest = parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password
    if parts.scheme not in _DEFAULT_PORTS or not re.fullmatch(r"[a-z0-9.:-]+", host) or rest:
        raise RelayConfigError(f"origin {text!r} is no origin: write scheme, host and port, as http://127.0.0.1:8080")
    name = f"{parts.scheme}://[{host}]" if ":" in host else f"{parts.scheme}://{host}"
    return name if port in {None, _DEFAULT_PORTS[parts.scheme]} else f"{name}:{port}"


def host(text: str) -> str:
    """A Host header as browsers write it: `name` or `name:port`. Raises `RelayConfigError` for anything else."""
    if not _HOST.fullmatch(text):
        found = _HOST.search(text.lower().rpartition("//")[2])
        example = found[0] if found else "relay.internal:12733"
        raise RelayConfigError(f"host {text!r} is no Host header: write name or name:port, as {example}")
    return text


@dataclass(frozen=True)
class Door:
    """The Origins and Hosts that may come in. Comparison is exact: no patterns, no suffixes, no letter case.

    Empty sets let nobody in.
    """

    origins: frozenset[str]
    hosts: frozenset[str]

    @classmethod
    def of(cls, origins: Iterable[str], hosts: Iterable[str] = ()) -> Door:
        """A door for these origins, their hosts, and further `hosts` (`name` or `name:port`)."""
        listed = frozenset(origin(text) for text in several(origins, "origins"))
        own = frozenset(name.partition("://")[2] for name in listed)
        return cls(listed, own | frozenset(host(text) for text in several(hosts, "hosts")))

    def check(self, hosts: Sequence[str], origins: Sequence[str]) -> None:
        """Judges the values of a request's Host and Origin headers.

        Raises `Refused` unless Host equals an entry, and Origin too, where there is one.
        """
        if len(hosts) != 1 or hosts[0] not in self.hosts:
            raise Refused(Reason.FORBIDDEN, f"foreign Host; {self._cure}")
        if origins and (len(origins) != 1 or origins[0] not in self.origins):
            raise Refused(Reason.FORBIDDEN, f"foreign Origin; {self._cure}")

    @property
    def address(self) -> str:
        """Where to come in; empty while nobody may."""
        return min(self.origins, default="")

    @property
    def _cure(self) -> str:
        if not self.address:
            return "the relay knows no origin yet: pass origins=[…], or run it with RelayServer"
        return f"open {self.address}"


def check_origin_present(origins: Sequence[str], *, direct: bool) -> None:
    """Refuses a request without Origin, unless it is `direct`: from this very machine, with nothing in between.

    A page always sends an Origin with what opens a tunnel; only a native program may leave it out. Raises `Refused`.
    """
    if not origins and not direct:
        raise Refused(Reason.FORBIDDEN, "no Origin; send one that the relay lists")


def is_direct_loopback(peer: str, header_names: str) -> bool:
    """True when the peer itself, an address without port, is loopback and speaks for itself.

    A header that looks like one of a proxy means that one on this machine speaks for a stranger. `header_names` are in
    lower case, with blanks between them. Whether what it says is believed is the matter of `forwarding`.
    """
    return _is_loopback(peer) and not (_is_forwarded if len(header_names) <= _FEW else _find)(header_names)


def _find(header_names: str) -> bool:
    return _FORWARDING.search(header_names) is not None


# A browser sends the same names again and again.
_is_forwarded = lru_cache(maxsize=1024)(_find)


@lru_cache(maxsize=4096)
def _is_loopback(peer: str) -> bool:
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


def check_id(text: str) -> str:
    """The id itself when it is one: 1 to 128 letters, digits, `_`, `.`, `-`, not dots alone. Raises `Refused`.

    Ids may become part of a file name, so nothing that names a directory passes.
    """
    if not _ID.fullmatch(text) or not text.strip("."):
        raise Refused(Reason.FORBIDDEN, "an id is 1 to 128 characters of A-Z a-z 0-9 _ . - and not dots alone")
    return text


def check_target(text: str) -> str:
    """The target's name when it has a possible length. Whether it exists is the matchers' to say. Raises `Refused`."""
    if not 1 <= len(text) <= MAX_TARGET:
        raise Refused(Reason.TARGET, f"a target is 1 to {MAX_TARGET} characters; ask for one that the relay lists")
    return text
