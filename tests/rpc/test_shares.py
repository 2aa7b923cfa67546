"""By what strangers are counted, and how they queue: whoever comes in masses waits for himself."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from asyncmachine.rpc.transport import backlog, handshakes
from asyncmachine.rpc.transport.backlog import Backlog
from asyncmachine.rpc.transport.handshakes import Handshakes
from asyncmachine.rpc.transport.memory import pair
from asyncmachine.rpc.transport.shares import FairQueue, host_of, share_of


def test_callers_of_ipv6_are_counted_by_their_network() -> None:
    assert share_of("2001:db8:1:2:3:4:5:6") == share_of("2001:db8:1:2:ffff::1") != share_of("2001:db8:1:3::1")
    assert share_of("203.0.113.9") == share_of("::ffff:203.0.113.9") == "203.0.113.9"
    assert share_of("fe80::1%eth0") == "fe80::/64"
    assert share_of("testclient") == "testclient"


@pytest.mark.parametrize(
    ("address", "host"),
    [("127.0.0.1:80", "127.0.0.1"), ("[::1]:80", "::1"), ("/run/source.sock", "/run/source.sock"), ("", "")],
)
def test_the_host_of_an_address(address: str, host: str) -> None:
    assert host_of(address) == host


def test_each_share_has_its_turn_and_its_order() -> None:
    queue: FairQueue[int] = FairQueue()
    for number in range(4):
        queue.put("many", number)
    queue.put("few", 10)
    assert len(queue) == 5
    assert list(iter(queue.get, None)) == [("many", 0), ("few", 10), ("many", 1), ("many", 2), ("many", 3)]
    assert len(queue) == 0


def test_a_share_that_may_not_is_passed_over() -> None:
    queue: FairQueue[int] = FairQueue()
    queue.put("a", 1)
    queue.put("b", 2)
    assert queue.get(lambda share: share != "a") == ("b", 2)
    assert queue.get(lambda share: share != "a") is None
    assert queue.get() == ("a", 1)


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    made = [socket.socket() for _ in range(6)]
    yield made
    for each in made:
        each.close()


def test_if_too_many_wait_for_their_handshakes_the_flood_loses_its_last(
    sockets: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "IN_LINE", 3)
    line = Handshakes()
    first, second, third, fourth, other, another = sockets
    for connected in (first, second, third, fourth):
        line.arrived(connected, "203.0.113.1")
    assert fourth.fileno() == -1
    line.arrived(other, "203.0.113.2")
    assert third.fileno() == -1
    line.arrived(another, "2001:db8::1")
    assert second.fileno() == -1
    assert [connected for _, connected in iter(line.next, None)] == [first, other, another]


def test_an_address_has_its_share_of_handshakes_and_more_when_one_is_done(
    sockets: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "SHARE", 2)
    monkeypatch.setattr(handshakes, "AT_ONCE", 3)
    line = Handshakes()
    for connected in sockets[:4]:
        line.arrived(connected, "203.0.113.1")
    assert (line.next(), line.next(), line.next()) == (("203.0.113.1", sockets[0]), ("203.0.113.1", sockets[1]), None)
    for connected in sockets[4:]:
        line.arrived(connected, "203.0.113.2")
    assert (line.next(), line.next()) == (("203.0.113.2", sockets[4]), None)
    line.done("203.0.113.1")
    assert line.next() == ("203.0.113.1", sockets[2])
    line.done("203.0.113.1")
    assert line.next() == ("203.0.113.2", sockets[5])
    line.close()
    assert sockets[3].fileno() == -1


async def test_a_backlog_that_is_full_turns_its_last_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MAX_WAITING", 2)
    waiting = Backlog()
    first, second, third = (pair()[0] for _ in range(3))
    assert [waiting.put(each) for each in (first, second, third)] == [None, None, third]
    assert [await waiting.get(), await waiting.get()] == [first, second]
    await waiting.end()
    assert waiting.put(third) is third
