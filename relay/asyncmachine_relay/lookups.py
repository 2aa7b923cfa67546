"""Do the names of targets lead to where tunnels may go? Asked of this computer once, for `am relay check`.

It is a doubt and no mistake: where the relay will run, or when it will, a name may mean something else.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from threading import Thread
from time import monotonic

from asyncmachine_relay.addresses import check_address
from asyncmachine_relay.config import Config
from asyncmachine_relay.policy import Op, Refused
from asyncmachine_relay.reading import Where
from asyncmachine_relay.resolving import each_once
from asyncmachine_relay.targets import Target

PATIENCE = 2.0
"""Seconds for all names together: the check also stands before each start, when the network may not be there yet."""

Lookup = Callable[[str], Sequence[str]]
"""The IP addresses of a name. Raises `OSError`."""


def system_lookup(host: str) -> list[str]:
    """What the system says, in its order."""
    return each_once(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))


def doubtful_names(
    config: Config, lookup: Lookup = system_lookup, patience: float = PATIENCE
) -> list[tuple[Where, str]]:
    """One warning each for a name that leads nowhere, or where no tunnel of its target may go."""
    asked = [
        (("targets", n, "host"), target, _Asked(target.host, lookup))
        for n, target in enumerate(config.targets)
        if target.literal is None
    ]
    end = monotonic() + patience
    found: list[tuple[Where, str]] = []
    for where, target, answer in asked:
        answer.join(max(0.0, end - monotonic()))
        what = f"is not found within {patience:g} s" if answer.is_alive() else _doubt(target, answer.addresses)
        if what:
            found.append((where, f"warning: target {target.name!r}: host {target.host!r} {what}"))
    return found


class _Asked(Thread):
    """A name that is being looked up. Neither the other names nor the end of the program wait for it."""

    def __init__(self, host: str, lookup: Lookup) -> None:
        super().__init__(daemon=True)
        self.addresses: Sequence[str] = ()
        self._host = host
        self._lookup = lookup
        self.start()

    def run(self) -> None:
        try:
            self.addresses = self._lookup(self._host)
        except (OSError, UnicodeError):
            return


def _doubt(target: Target, addresses: Sequence[str]) -> str:
    """What is wrong with it, empty if nothing is."""
    if not addresses:
        return "is not known on this computer"
    if Op.DIAL not in target.ops:
        return ""
    for address in addresses:
        try:
            check_address(address, target.listed)
        except Refused as refused:
            cure = "" if "does not list" not in refused.hint else f': write networks = ["{address}"], or its network'
            return f"means {address} here; {refused.hint}{cure}"
    return ""
