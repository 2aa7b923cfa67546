"""The table of targets: what a URL may name, and what it never means."""

from __future__ import annotations

from typing import Any

import pytest

from asyncmachine_relay import Op, RelayConfigError, Target
from asyncmachine_relay.targets import check_names

BACKEND = Target("backend", "127.0.0.1", 14000, ids="browser[1-4]")
BOTH = (Op.DIAL, Op.LISTEN)


@pytest.mark.parametrize("target", ["backend", "127.0.0.1:14000", "backend:14000"])
def test_an_entry_is_named_or_written_out(target: str) -> None:
    assert BACKEND.fits(Op.DIAL, "browser1", target)


@pytest.mark.parametrize(
    "target",
    [
        *("127.0.0.1:14001", "127.0.0.1", "127.1:14000", "localhost:14000", "2130706433:14000", "0x7f.1:14000"),
        *("127.0.0.1:014000", "127.0.0.1:14000 ", " 127.0.0.1:14000", "127.0.0.1:+14000", "127.0.0.1:١٤٠٠٠"),
        *("evil.example:14000", "127.0.0.1.evil.example:14000", "Backend", "backend/", "/backend", "backend%00"),
        *("127.0.0.1:14000/../x", "[::ffff:127.0.0.1]:14000", "user@127.0.0.1:14000", "169.254.169.254:80", ":14000"),
    ],
)
def test_whatever_else_a_url_holds_is_no_target(target: str) -> None:
    assert not BACKEND.fits(Op.DIAL, "browser1", target)


@pytest.mark.parametrize("id", ["browser5", "browser11", "xbrowser1", "browser1\n", ""])
def test_an_entry_is_for_its_ids(id: str) -> None:
    assert not BACKEND.fits(Op.DIAL, id, "backend")


def test_an_entry_is_for_its_ops() -> None:
    assert not BACKEND.fits(Op.LISTEN, "browser1", "backend")


def test_a_range_is_dialled_by_port_and_listened_on_by_name() -> None:
    pool = Target("pool", "127.0.0.1", "14100-14102", ops=BOTH)
    assert pool.ports_for(Op.DIAL, "pool") is None
    assert pool.ports_for(Op.DIAL, "pool:14101") == range(14101, 14102)
    assert pool.ports_for(Op.DIAL, "127.0.0.1:14103") is None
    assert pool.ports_for(Op.LISTEN, "pool") == range(14100, 14103)


def test_an_address_of_ipv6_is_written_in_brackets() -> None:
    six = Target("six", "::1", 14000)
    assert six.ports_for(Op.DIAL, "[::1]:14000") == range(14000, 14001)


@pytest.mark.parametrize(
    ("settings", "field", "says"),
    [
        ({"name": "a/b"}, "name", "must have 1 to 255 characters"),
        ({"name": ""}, "name", "must have 1 to 255 characters"),
        ({"host": "http://x"}, "host", "must be a host's name or an IP address"),
        ({"host": "a b"}, "host", "must be a host's name"),
        ({"ids": "("}, "ids", "is no regular expression"),
        ({"ops": ()}, "ops", 'must name "dial"'),
        ({"port": 0}, "port", "0 alone is any free one"),
        ({"port": "0-2", "ops": (Op.LISTEN,)}, "port", "0 alone"),
        ({"port": 65536}, "port", "up to 65535"),
        ({"port": "2-1"}, "port", "ends before it begins"),
        ({"port": "1-x"}, "port", "up to 65535"),
        ({"port": -1}, "port", "up to 65535"),
        ({"networks": ("10.0.0.1/8",)}, "networks", "is no network"),
        ({"connections": -1}, "connections", "must be 0 or more"),
        ({"host": "0.0.0.0", "ops": (Op.LISTEN,)}, "host", "set public = true"),
        ({"host": "10.0.0.1", "ops": BOTH}, "host", "set public = true"),
        *(
            ({"host": host}, "host", "is an address that is never connected to")
            for host in ("169.254.169.254", "224.0.0.1", "0.0.0.0", "::ffff:169.254.0.1", "fe80::1", "240.0.0.1")
        ),
        ({"host": "some.host", "ops": (Op.LISTEN,)}, "host", "set public = true"),
    ],
)
def test_an_entry_that_cannot_be(settings: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(RelayConfigError, match=says) as error:
        Target(**{"name": "x", "host": "127.0.0.1", "port": 1, **settings})
    assert error.value.field == field


def test_listening_where_others_can_reach_it_has_to_be_wanted() -> None:
    assert Target("x", "0.0.0.0", 1, ops=(Op.LISTEN,), public=True).public
    assert Target("x", "localhost", 0, ops=(Op.LISTEN,)).ports == range(1)


def test_an_address_lists_itself_and_a_name_lists_nothing() -> None:
    assert [str(network) for network in Target("x", "10.0.0.1", 1).listed] == ["10.0.0.1/32"]
    assert [str(network) for network in Target("x", "localhost", 1).listed] == ["127.0.0.0/8", "::1/128"]
    assert Target("x", "db.internal", 1).listed == ()


def test_two_entries_of_one_name_are_a_mistake_unless_their_ids_differ() -> None:
    check_names([Target("x", "127.0.0.1", 1, ids="a"), Target("x", "127.0.0.1", 2, ids="b")])
    with pytest.raises(RelayConfigError, match="'x' is there twice for dial"):
        check_names([Target("x", "127.0.0.1", 1), Target("x", "127.0.0.1", 2)])
