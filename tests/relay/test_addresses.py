"""Which addresses a target may have, whatever name led there."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmachine.rpc.transport.shares import plain
from asyncmachine_relay.addresses import METADATA, check_address, networks
from asyncmachine_relay.policy import Refused, RelayConfigError

EVERYTHING = networks(("0.0.0.0/0", "::/0"))


@pytest.mark.parametrize(
    "address",
    [
        *map(str, sorted(METADATA, key=str)),
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "240.0.0.1",
        "0.0.0.0",
        "::",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "::ffff:0.0.0.0",
    ],
)
def test_some_addresses_are_never_connected_to_not_even_when_listed(address: str) -> None:
    with pytest.raises(Refused, match="TARGET"):
        check_address(address, EVERYTHING)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "127.8.9.1",
            "::1",
            "10.0.0.1",
            "172.16.3.4",
            "192.168.1.1",
            "100.64.0.1",
            "fd00::1",
            "192.0.2.1",
        ),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1"),
    ],
)
def test_private_addresses_have_to_be_listed(address: str) -> None:
    with pytest.raises(Refused, match="private address that its entry does not list"):
        check_address(address, networks(("10.9.0.0/16", "fd11::/16")))
    check_address(address, EVERYTHING)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_need_no_listing(address: str) -> None:
    assert check_address(address) == ip_address(address)


def test_an_address_within_a_listed_network_is_the_one_that_was_judged() -> None:
    assert str(check_address("10.9.1.2", networks(("10.9.0.0/16",)))) == "10.9.1.2"
    with pytest.raises(Refused):
        check_address("10.10.1.2", networks(("10.9.0.0/16",)))


@given(st.ip_addresses(v=4))
def test_an_address_inside_of_another_is_judged_as_itself(inner: object) -> None:
    number = int(inner)  # type: ignore[call-overload]

    def allowed(text: str) -> bool:
        try:
            check_address(text)
        except Refused:
            return False
        return True

    outer = {f"::ffff:{inner}", f"64:ff9b::{number >> 16:x}:{number & 0xFFFF:x}"}
    assert {allowed(text) for text in outer} <= {allowed(str(inner)), False}


@pytest.mark.parametrize("text", ["", "localhost", "1.2.3", "2130706433x", "1.2.3.4.5", "[::1]", "0x7f.1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="no IP address"):
        check_address(text, EVERYTHING)


def test_a_network_is_written_as_one() -> None:
    with pytest.raises(RelayConfigError, match=r"'10.0.0.1/8' is no network: .*; write an address or a network"):
        networks(("10.0.0.1/8",))


def test_an_ordinary_address_stands_for_itself() -> None:
    [network] = networks(("2001:db8::1",))
    assert plain(network.network_address) == network.network_address
