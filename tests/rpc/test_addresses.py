"""Addresses that a program is given, and those that are none."""

from __future__ import annotations

import ssl

import pytest

from asyncmachine.rpc.transport.addresses import Address, AddressError, dial, listen


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp://127.0.0.1:4567", Address("tcp", "127.0.0.1", 4567)),
        ("tls://example.org:1", Address("tls", "example.org", 1)),
        ("tcp://[::1]:0", Address("tcp", "::1", 0)),
        ("unix:///run/app.sock", Address("unix", path="/run/app.sock")),
        ("ws://localhost:80/rpc", Address("ws", "localhost", 80, "/rpc")),
        ("wss://localhost:80/", Address("wss", "localhost", 80, "/")),
    ],
)
def test_addresses_are_read_and_written(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert str(address) == text


def test_a_websocket_without_a_path_has_the_root() -> None:
    assert str(Address.parse("ws://localhost:80")) == "ws://localhost:80/"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected one of tcp://"),
        ("127.0.0.1:80", "expected one of tcp://"),
        ("http://localhost:80", "expected one of tcp://"),
        ("tcp://localhost", "host:port"),
        ("tcp://:80", "host:port"),
        ("tcp://localhost:99999", "ort"),
        ("tcp://localhost:80/path", "has no paths"),
        ("tcp://user@localhost:80", "users"),
        ("ws://localhost:80/?token=secret", "queries"),
        ("unix://host/run/app.sock", "unix:///path"),
        ("unix://", "unix:///path"),
    ],
)
def test_what_is_no_address_is_told(text: str, told: str) -> None:
    with pytest.raises(AddressError, match=told):
        dial(text)
    with pytest.raises(AddressError, match=told):
        listen(text)


def test_certificates_go_with_encrypted_addresses_only() -> None:
    context = ssl.create_default_context()
    with pytest.raises(AddressError, match="not encrypted"):
        dial("tcp://localhost:1", ssl=context)
    with pytest.raises(AddressError, match="no other scheme"):
        listen("ws://localhost:1", ssl=context)
    with pytest.raises(AddressError, match=r"needs a certificate, and none is given: .*listen\(address, ssl=context\)"):
        listen("tls://localhost:1")
    assert callable(dial("wss://localhost:1"))
