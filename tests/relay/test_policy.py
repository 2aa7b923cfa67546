"""Who may come in: the pure rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncmachine_relay import Reason, Refused, Relay, RelayConfigError, Target
from asyncmachine_relay.cluster_config import Cluster
from asyncmachine_relay.config import Debug, Server
from asyncmachine_relay.policy import (
    MAX_CLOSE_REASON,
    Door,
    check_id,
    check_origin_present,
    check_target,
    clip,
    is_direct_loopback,
    origin,
)

DOOR = Door.of(["http://127.0.0.1:8080", "https://app.example"], hosts=["relay.internal:8080"])


@pytest.mark.parametrize("text", ["https://x", "x/", "x:", "x y", "*.x", "", "X.example", "x:123456"])
def test_a_host_that_no_browser_sends_is_no_entry(text: str) -> None:
    with pytest.raises(RelayConfigError, match="is no Host header: write name or name:port, as "):
        Door.of([], hosts=[text])


@pytest.mark.parametrize("text", ["localhost", "my_relay:8080", "127.0.0.1", "[::1]:80", "relay.internal"])
def test_a_host_has_a_name_and_perhaps_a_port(text: str) -> None:
    Door.of([], hosts=[text]).check([text], [])


FOREIGN_ORIGINS = [
    "null",
    "",
    "http://127.0.0.1:8081",
    "http://127.0.0.1",
    "https://127.0.0.1:8080",
    "http://127.0.0.1:80800",
    "http://127.0.0.1:8080.evil.example",
    "http://127.0.0.1:8080@evil.example",
    "http://evil.example/http://127.0.0.1:8080",
    "http://127.0.0.1:8080/",
    "HTTP://127.0.0.1:8080",
    " http://127.0.0.1:8080",
    "http://localhost:8080",
    "https://app.example.evil.example",
    "https://evilapp.example",
    "https://APP.example",
    "https://app.example:443",
    "http://app.example",
    "*",
]


@pytest.mark.parametrize("foreign", FOREIGN_ORIGINS)
def test_an_origin_that_only_looks_like_ours_is_foreign(foreign: str) -> None:
    with pytest.raises(Refused, match="foreign Origin") as refused:
        DOOR.check(["127.0.0.1:8080"], [foreign])
    assert refused.value.reason is Reason.FORBIDDEN


@pytest.mark.parametrize(
    "foreign", ["evil.example", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:8080.", "localhost:8080", "", "app.example:443"]
)
def test_a_host_that_is_not_listed_is_foreign_whatever_the_origin(foreign: str) -> None:
    with pytest.raises(Refused, match="foreign Host"):
        DOOR.check([foreign], ["http://127.0.0.1:8080"])


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "app.example", "relay.internal:8080"])
def test_listed_hosts_and_origins_come_in(host: str) -> None:
    DOOR.check([host], [])
    DOOR.check([host], ["https://app.example"])


def test_a_header_that_comes_twice_is_refused() -> None:
    ours = "http://127.0.0.1:8080"
    with pytest.raises(Refused, match="foreign Host"):
        DOOR.check(["127.0.0.1:8080", "127.0.0.1:8080"], [])
    with pytest.raises(Refused, match="foreign Origin"):
        DOOR.check(["127.0.0.1:8080"], [ours, ours])


def test_no_host_is_foreign() -> None:
    with pytest.raises(Refused, match="foreign Host"):
        DOOR.check([], [])


def test_the_refusal_names_an_address_that_works() -> None:
    with pytest.raises(Refused, match=r"open http://127\.0\.0\.1:8080"):
        DOOR.check(["localhost:8080"], [])


def test_a_relay_that_knows_no_origin_lets_nobody_in() -> None:
    with pytest.raises(Refused, match="the relay knows no origin yet"):
        Door.of([]).check(["127.0.0.1:8080"], [])


@settings(deadline=None)
@given(st.text(max_size=60))
def test_only_what_is_listed_comes_in(text: str) -> None:
    for hosts, origins in (([text], []), (["app.example"], [text])):
        listed = text in (DOOR.hosts if not origins else DOOR.origins)
        try:
            DOOR.check(hosts, origins)
        except Refused:
            assert not listed
        else:
            assert listed


@pytest.mark.parametrize(
    ("given_text", "written"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("https://App.Example:443", "https://app.example"),
        ("https://app.example/", "https://app.example"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_configured_origin_is_written_as_browsers_do(given_text: str, written: str) -> None:
    assert origin(given_text) == written


@pytest.mark.parametrize(
    "text",
    [
        *("", "*", "null", "app.example", "ws://app.example", "file:///x", "https://", "http://[::1"),
        *("https://*.example", "https://app.example/path", "https://app.example?x", "https://user@app.example"),
        *("https://app.example:port", "https://app.example:99999"),
    ],
)
def test_a_configured_origin_that_cannot_be_is_a_mistake(text: str) -> None:
    with pytest.raises(RelayConfigError, match="is no origin: write scheme, host and port"):
        origin(text)


def test_a_page_cannot_leave_its_origin_out() -> None:
    check_origin_present([], direct=True)
    check_origin_present(["https://app.example"], direct=False)
    with pytest.raises(Refused, match="no Origin"):
        check_origin_present([], direct=False)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_loopback_speaks_for_itself(peer: str) -> None:
    assert is_direct_loopback(peer, "host origin user-agent")


@pytest.mark.parametrize(
    "peer", ["10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1", "localhost", "", "127.0.0.1:80", "0.0.0.0"]
)
def test_anything_else_does_not(peer: str) -> None:
    assert not is_direct_loopback(peer, "")


OF_PROXIES = """
forwarded via x-real-ip x-forwarded-for x-forwarded-proto x-forwarded x-forward-for x-client-ip client-ip true-client-ip
x-cluster-client-ip fastly-client-ip fly-client-ip wl-proxy-client-ip x-original-forwarded-for x-original-url
x-original-host x-envoy-external-address x-envoy-peer-metadata cf-connecting-ip cf-connecting-ipv6 cf-pseudo-ipv4 cf-ray
cdn-loop do-connecting-ip x-remote-ip x-remote-addr x-remote-address x-azure-clientip x-azure-socketip x-proxyuser-ip
x-appengine-user-ip x-nf-client-connection-ip cloudfront-viewer-address x-bluecoat-via max-forwards proxy-connection
x_forwarded_for x_real_ip client_ip x_remote_addr cf_connecting_ip
"""

OF_BROWSERS = """
host connection pragma cache-control user-agent accept accept-encoding accept-language accept-charset origin referer
cookie dnt te range if-range if-match if-none-match if-modified-since content-type content-length upgrade purpose
upgrade-insecure-requests sec-websocket-version sec-websocket-key sec-websocket-protocol sec-websocket-extensions
sec-ch-ua sec-ch-ua-arch sec-ch-ua-bitness sec-ch-ua-form-factors sec-ch-ua-full-version-list sec-ch-ua-mobile
sec-ch-ua-model sec-ch-ua-platform sec-ch-ua-platform-version sec-ch-ua-wow64 sec-ch-dpr sec-ch-width
sec-ch-viewport-width sec-ch-device-memory sec-ch-prefers-color-scheme sec-ch-prefers-reduced-motion sec-fetch-site
sec-fetch-mode sec-fetch-dest sec-fetch-user sec-fetch-storage-access sec-gpc sec-purpose sec-browsing-topics
sec-speculation-tags priority save-data device-memory dpr width viewport-width downlink ect rtt early-data
service-worker service-worker-navigation-preload last-event-id access-control-request-method
access-control-request-headers access-control-request-private-network attribution-reporting-eligible x-requested-with
authorization keep-alive
"""


@pytest.mark.parametrize("header", OF_PROXIES.split())
def test_behind_a_proxy_loopback_is_a_stranger(header: str) -> None:
    many = " ".join(f"x-{number}" for number in range(1000))
    for names in (header, f"host {header}", f"{header} host", f"host {header} {many}"):
        assert not is_direct_loopback("127.0.0.1", names)


@pytest.mark.parametrize("header", OF_BROWSERS.split())
def test_no_header_of_a_browser_makes_it_a_stranger(header: str) -> None:
    assert is_direct_loopback("127.0.0.1", header)


def test_a_browser_with_all_its_headers_is_no_stranger() -> None:
    assert is_direct_loopback("127.0.0.1", " ".join(OF_BROWSERS.split()))


@pytest.mark.parametrize("text", ["a", "browser1", "A.b_c-9", "x" * 128, "...a", "-"])
def test_ids(text: str) -> None:
    assert check_id(text) == text


@pytest.mark.parametrize(
    "text", ["", ".", "..", "...", "x" * 129, "a/b", "a b", "é", "a\n", "a\0", "../etc", "a%2e", "٣"]
)
def test_no_ids(text: str) -> None:
    with pytest.raises(Refused, match="FORBIDDEN: an id is"):
        check_id(text)


@settings(deadline=None)
@given(st.text(max_size=140))
def test_whatever_passes_as_an_id_is_a_plain_file_name(text: str) -> None:
    try:
        check_id(text)
    except Refused:
        return
    assert 1 <= len(text) <= 128
    assert text.isascii()
    assert not set(text) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
    assert text not in {".", ".."}


def test_targets_have_a_length() -> None:
    assert check_target("x" * 255) == "x" * 255
    for text in ("", "x" * 256):
        with pytest.raises(Refused, match="TARGET: a target is"):
            check_target(text)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (Relay, "origins"),
        (Relay, "hosts"),
        (Relay, "proxies"),
        (Server, "origins"),
        (Server, "hosts"),
        (Server, "proxies"),
        (Debug, "forward"),
        (Cluster, "nats"),
        (Target, "ops"),
        (Target, "networks"),
    ],
)
def test_a_text_in_place_of_several_is_refused_with_the_cure(make: Callable[..., Any], field: str) -> None:
    needed = {"name": "a", "host": "127.0.0.1", "port": 1} if make is Target else {}
    with pytest.raises(RelayConfigError, match=rf"{field} takes several texts .*: write \('10\.0\.0\.1',\)") as caught:
        make(**needed, **{field: "10.0.0.1"})
    assert caught.value.field == field


def test_every_reason_knows_how_to_close() -> None:
    codes = {reason.name: (reason.close_code, reason.status) for reason in Reason}
    assert codes == {
        "AUTH": (4401, 401),
        "FORBIDDEN": (4403, 403),
        "TARGET": (4404, 404),
        "DUPLICATE": (4409, 409),
        "LIMIT": (4429, 429),
        "BAD_FRAME": (4400, 400),
        "DEADLINE": (4408, 408),
        "TOO_LARGE": (1009, 413),
        "TEXT": (1003, 415),
        "SHUTDOWN": (1001, 503),
        "EXPIRED": (1001, 410),
        "AWAY": (1013, 503),
        "UNREACHABLE": (1011, 502),
        "BROKEN": (1011, 504),
        "INTERNAL": (1011, 500),
    }


@settings(deadline=None)
@given(st.text(max_size=200))
def test_a_close_reason_fits_into_its_frame(text: str) -> None:
    text = text.encode(errors="replace").decode()
    assert len(clip(text).encode()) <= MAX_CLOSE_REASON
    assert text.startswith(clip(text))
    assert Refused(Reason.AUTH, text).close_reason.startswith("AUTH: ")
