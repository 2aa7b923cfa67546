"""By what strangers are counted, and a queue in which a flood of one of them keeps nobody else out."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Generic, TypeVar

T = TypeVar("T")

_NAT64 = ip_network("64:ff9b::/96")
_COMPATIBLE = ip_network("::/96")


def plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one stands for (mapped, compatible, 6to4, Teredo, NAT64), else itself."""
    if isinstance(address, IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    if inner is None and (address in _NAT64 or (address in _COMPATIBLE and int(address) > 0xFFFF)):
        inner = IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address


@lru_cache(maxsize=4096)
def share_of(address: str) -> str:
    """By what callers are counted: an IPv4 address, or the /64 of an IPv6 one, within which anybody has any address."""
    try:
        found = plain(ip_address(address.partition("%")[0]))
    except ValueError:
        return address
    return str(IPv6Address(int(found) >> 64 << 64)) + "/64" if isinstance(found, IPv6Address) else str(found)


def host_of(address: str) -> str:
    """The host of `host:port`, without the brackets of IPv6. All of an address that has no port."""
    return address.rpartition(":")[0].strip("[]") or address


class FairQueue(Generic[T]):
    """Has a line for each share, and serves them in turn. What one share puts in stays in its order."""

    __slots__ = ("_lines", "_size")

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[T]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, share: str, item: T) -> None:
        """Takes an item in."""
        if share not in self._lines:
            self._lines[share] = deque()
        self._lines[share].append(item)
        self._size += 1

    def get(self, may: Callable[[str], bool] = lambda share: True) -> tuple[str, T] | None:
        """Takes the next one out, of a share that `may` have its turn. None if there is none."""
        share = next(filter(may, self._lines), None)
        if share is None:
            return None
        self._lines.move_to_end(share)
        return share, self._taken(share, self._lines[share].popleft())

    def drop(self) -> T:
        """Takes the newest one out of whoever has the longest line: that is the flood, if there is one."""
        share = max(self._lines, key=lambda share: len(self._lines[share]))
        return self._taken(share, self._lines[share].pop())

    def _taken(self, share: str, item: T) -> T:
        if not self._lines[share]:
            del self._lines[share]
        self._size -= 1
        return item
