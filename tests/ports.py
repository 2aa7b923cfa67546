"""Ports for a server that a test starts later, or again.

A port that the system gave and that was let go may be given to anybody meanwhile, another test's connections too. These
lie outside the range that the system gives from.
"""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from pathlib import Path

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST = 10_000


def free_ports(count: int) -> range:
    """Ports of the loopback that follow each other and that nobody has."""
    given_from = int(RANGE.read_text().split()[0]) if RANGE.exists() else 32_768
    # Where the system gives from nearly all, chance has to do.
    lowest, highest = (LOWEST, given_from - count) if given_from > 2 * LOWEST else (LOWEST, 65_536 - count)
    for _ in range(1000):
        first = random.SystemRandom().randrange(lowest, highest)
        found = range(first, first + count)
        with ExitStack() as held:
            try:
                for port in found:
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return found
    raise AssertionError(f"no {count} free ports in a row from {lowest} to {highest}")


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
