"""Whom a proxy speaks for: only proxies that the configuration names are believed, and only what they say themselves.

X-Forwarded-For is a list to which each proxy adds whom it got the request from, at the end. So it is read from its end:
addresses of trusted proxies are passed over, and the first other one is the client. What stands before that, the client
may have written itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from asyncmachine.rpc.transport.shares import plain
from asyncmachine_relay.addresses import Address, Network
from asyncmachine_relay.policy import Reason, Refused

MAX_HOPS = 16


def is_trusted(peer: str, proxies: Sequence[Network]) -> bool:
    """Whether the direct peer is one of the proxies."""
    if not proxies:
        return False
    try:
        address = plain(ip_address(peer))
    except ValueError:
        return False
    return _within(address, proxies)


def client_of(forwarded: Sequence[str], proxies: Sequence[Network]) -> str:
    """The client's address, from the values of X-Forwarded-For that a trusted proxy sent.

    Raises `Refused` when it does not say, or says what is no address.
    """
    hops = [hop.strip() for value in forwarded for hop in value.split(",")]
    if not hops or len(hops) > MAX_HOPS:
        raise Refused(Reason.FORBIDDEN, "the proxy must set X-Forwarded-For to whom it speaks for")
    address: Address | None = None
    for hop in reversed(hops):
        try:
            # Behind a % any text may stand, which would be told in logs.
            address = plain(ip_address(hop.partition("%")[0]))
        except ValueError:
            raise Refused(Reason.FORBIDDEN, "X-Forwarded-For must be a list of IP addresses, without ports") from None
        if not _within(address, proxies):
            break
    return str(address)


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
