"""Which IP addresses a target may have: pure rules, applied to what its name resolves to.

A name is resolved once; every address it resolves to is judged here, and the one that was judged is the one that is
connected to. So a name that suddenly points to this machine, to a neighbour, or to a cloud's metadata service opens
nothing, and there is no moment between check and use.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from asyncmachine.rpc.transport.shares import plain
from asyncmachine_relay.policy import Reason, Refused, RelayConfigError, several

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

METADATA = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",  # most clouds
            "169.254.170.2",  # containers on one of them
            "fd00:ec2::254",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
        ),
    )
)
"""Services that tell whoever asks from inside a cloud its machine's secrets."""


def networks(texts: Iterable[str], *, field: str = "networks") -> tuple[Network, ...]:
    """Networks as `10.0.0.0/8`, or single addresses. Raises `RelayConfigError`."""
    found: list[Network] = []
    for text in several(texts, field):
        try:
            found.append(ip_network(text))
        except ValueError as error:
            wrong = f"{text!r} is no network: {error}; write an address or a network, as 10.1.0.0/16"
            raise RelayConfigError(wrong, field=field) from None
    return tuple(found)


@lru_cache(maxsize=1024)
def check_address(text: str, listed: tuple[Network, ...] = ()) -> Address:
    """The address itself if a target may have it; `listed` are the networks that its entry names.

    Link-local, metadata, multicast, reserved and unspecified ones never may. Loopback and private ones may when they
    are listed, public ones always. Raises `Refused`, which does not repeat the address: it is nobody's business.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        raise Refused(Reason.TARGET, "the target's name resolves to no IP address") from None
    real = plain(address)
    if is_never(real):
        raise Refused(Reason.TARGET, "the target resolves to an address that is never connected to")
    if any(real in network or address in network for network in listed):
        return address
    if not real.is_global:
        raise Refused(Reason.TARGET, "the target resolves to a private address that its entry does not list")
    return address


def is_never(address: Address) -> bool:
    """Whether it may not be connected to, listed or not."""
    real = plain(address)
    return real in METADATA or real.is_link_local or real.is_multicast or real.is_unspecified or _is_reserved(real)


def _is_reserved(address: Address) -> bool:
    # ::1 lies in a reserved block too.
    return address.is_reserved and not address.is_loopback
