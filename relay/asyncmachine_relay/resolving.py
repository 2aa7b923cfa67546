"""From a target's name to an address that may be connected to: resolved once, judged, used."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from asyncmachine_relay.addresses import Address, check_address
from asyncmachine_relay.policy import Reason, Refused
from asyncmachine_relay.targets import Target

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""The IP addresses of a name. Raises `OSError`."""


async def system_resolver(host: str) -> list[str]:
    """What the system says, in its order."""
    return each_once(await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM))


def each_once(found: Iterable[tuple[Any, ...]]) -> list[str]:
    """The addresses of an answer of `getaddrinfo`."""
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def addresses_of(target: Target, resolve: Resolve) -> list[Address]:
    """All addresses of the target, each of which may be connected to. One that may not spoils the name.

    Raises `Refused`.
    """
    try:
        # What is an address already needs no thread that looks it up.
        found = [target.literal] if target.literal is not None else list(await resolve(target.host))
    except (OSError, UnicodeError):
        found = []
    if not found:
        raise Refused(Reason.UNREACHABLE, "the target's name is not known; try again later")
    return [check_address(text, target.listed) for text in found]
