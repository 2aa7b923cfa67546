"""Whom a proxy speaks for; and strangers who say so themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmachine.rpc.transport.shares import share_of
from asyncmachine_relay import Limits
from asyncmachine_relay.addresses import networks
from asyncmachine_relay.forwarding import client_of, is_trusted
from asyncmachine_relay.policy import Refused
from tests.relay.support import ask_token, http, running

PROXIES = networks(("127.0.0.1", "10.0.0.0/8"))


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["1.2.3.4, 203.0.113.9"], "203.0.113.9"),  # the first one the client wrote itself
        (["127.0.0.1, 203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9, 10.1.2.3"], "203.0.113.9"),
        (["203.0.113.9", "10.1.2.3"], "203.0.113.9"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["2001:db8::1"], "2001:db8::1"),
        (["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
        (["fe80::1%eth0"], "fe80::1"),
        (["fe80::1%\x9b31m and any text"], "fe80::1"),
    ],
)
def test_the_last_address_that_is_no_proxy_is_the_client(forwarded: list[str], client: str) -> None:
    assert client_of(forwarded, PROXIES) == client


@pytest.mark.parametrize(
    "forwarded",
    [[], [""], ["unknown"], ["203.0.113.9:80"], ["203.0.113.9,"], ["_hidden"], ["1.1.1.1," * 20 + "1.1.1.1"]],
)
def test_a_proxy_that_does_not_say_is_not_believed(forwarded: list[str]) -> None:
    with pytest.raises(Refused, match="FORBIDDEN"):
        client_of(forwarded, PROXIES)


@given(st.lists(st.text(max_size=30), max_size=5))
def test_whatever_is_forwarded_is_an_address_or_refused(forwarded: list[str]) -> None:
    try:
        client = client_of(forwarded, PROXIES)
    except Refused:
        return
    assert share_of(client)


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("127.0.0.1", True),
        ("::ffff:127.0.0.1", True),
        ("10.3.2.1", True),
        ("127.0.0.2", False),
        ("", False),
        ("x", False),
    ],
)
def test_only_listed_peers_are_proxies(peer: str, trusted: bool) -> None:
    assert is_trusted(peer, PROXIES) is trusted
    assert not is_trusted(peer, ())


async def test_without_configuration_nobody_is_believed() -> None:
    async with running(limits=Limits(opens_burst=2, opens_per_second=0.001)) as run:
        for number in range(4):
            answer = await ask_token(run, headers=[("x-forwarded-for", f"203.0.113.{number}")])
            assert answer.json["code"] == ("AUTH" if number < 2 else "LIMIT")  # all are counted as one


async def test_behind_a_proxy_each_client_is_counted_for_itself_and_nobody_is_on_this_machine() -> None:
    async with running(proxies=["127.0.0.1"], limits=Limits(opens_burst=1, opens_per_second=0.001)) as run:
        for number in range(3):
            answer = await ask_token(run, headers=[("x-forwarded-for", f"203.0.113.{number}")])
            assert answer.json["code"] == "AUTH"
        answer = await ask_token(run, headers=[("x-forwarded-for", "203.0.113.1")])
        assert answer.json["code"] == "LIMIT"
        forged = await ask_token(run, headers=[("x-forwarded-for", "127.0.0.1")])
        assert forged.json["code"] == "AUTH"


async def test_a_proxy_that_hides_its_client_is_turned_away() -> None:
    async with running(proxies=["127.0.0.1"]) as run:
        assert (await http(run, "/healthz")).status == 403
        assert (await http(run, "/healthz", headers=[("x-forwarded-for", "nonsense")])).status == 403
        assert (await http(run, "/healthz", headers=[("x-forwarded-for", "203.0.113.9")])).status == 200
