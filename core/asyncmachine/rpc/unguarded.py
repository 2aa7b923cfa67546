"""An address that others can reach, at which everybody may do everything: told to the log."""

from __future__ import annotations

import logging
from ipaddress import ip_address
from urllib.parse import urlsplit

logger = logging.getLogger("asyncmachine.rpc")


def warn_unguarded(who: str, address: str) -> None:
    """Warns if a server without `allow` listens beyond this computer.

    Not of tls and wss: their context may let in only those who show a certificate, which cannot be seen here.
    """
    if is_reachable(address):
        logger.warning(
            "%s listens at %s, beyond this computer, and has no allow: whoever reaches it may do everything. "
            "Give it allow= (see rpc.Grants), or listen at 127.0.0.1",
            who,
            address,
        )


def is_reachable(address: str) -> bool:
    """Whether it is one of the network, in the clear."""
    parts = urlsplit(address)
    if parts.scheme not in ("tcp", "ws") or not parts.hostname:
        return False
    try:
        return not ip_address(parts.hostname.partition("%")[0]).is_loopback
    except ValueError:
        return parts.hostname != "localhost"
