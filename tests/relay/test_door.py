"""Foreign Hosts and Origins are turned away before anything is accepted. Real requests to a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncmachine_relay import RelayStates
from asyncmachine_relay.guard import Caller
from tests.relay.support import Running, ask_token, http, opened, parse, raw, running, token, upgrade
from tests.relay.test_policy import FOREIGN_ORIGINS

WRITABLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)


def ports(run: Running, text: str) -> str:
    """The foreign origins of the pure tests, made to look like this relay's."""
    return text.replace("8080", str(run.port)).replace("8081", str(run.port + 1))


async def test_foreign_origins_are_turned_away_before_accept() -> None:
    async with running() as run:
        using = await token(run)
        for text in FOREIGN_ORIGINS:
            if not text.strip():
                continue
            foreign = ("origin", ports(run, text).strip())
            if foreign[1] == run.origin:
                continue
            answer = parse(await raw(run, upgrade(run, "/dial/browser1/orchestrator", using, headers=[foreign])))
            assert answer.status == 403, text
            assert (await ask_token(run, headers=[foreign])).status == 403
        async with opened(run, using=using) as page:  # none of them used the token up
            await page.send(b"x")
            assert await page.recv() == b"x"


async def test_foreign_hosts_are_turned_away_on_every_route() -> None:
    async with running() as run:
        for host in ("evil.example", f"localhost:{run.port}", "127.0.0.1", f"127.0.0.1:{run.port + 1}"):
            foreign = ("host", host)
            answer = parse(await raw(run, upgrade(run, "/dial/browser1/orchestrator", headers=[foreign])))
            assert answer.status == 403
            for path in ("/", "/healthz", "/token", "/nothing"):
                answer = await http(run, path, headers=[foreign])
                assert answer.status == 403
                assert f"open {run.origin}" in answer.body.decode()


async def test_a_person_who_typed_another_name_of_the_address_gets_a_link() -> None:
    async with running() as run:
        headers = [("host", f"localhost:{run.port}"), ("accept", "text/html,application/xhtml+xml,*/*;q=0.8")]
        answer = await http(run, '/"><script>', headers=headers)
        assert answer.status == 403
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert f'<a href="{run.origin}/">' in answer.body.decode()
        assert b"script" not in answer.body
        answer = await http(run, headers=[("host", "evil.example"), ("accept", "*/*")])
        assert answer.headers["content-type"].startswith("text/plain")


async def test_a_request_without_host_is_turned_away() -> None:
    async with running() as run:
        assert parse(await raw(run, b"GET / HTTP/1.0\r\n\r\n")).status == 403
        assert parse(await raw(run, b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")).status == 400


async def test_two_origins_are_none() -> None:
    async with running() as run:
        twice = [("origin", run.origin), ("origin", run.origin)]
        answer = parse(await raw(run, upgrade(run, "/dial/browser1/orchestrator", headers=twice)))
        assert answer.status == 400  # the WebSocket library was first
        assert (await ask_token(run, headers=twice)).status == 403


async def test_a_native_program_on_this_machine_may_leave_the_origin_out() -> None:
    async with running() as run:
        answer = await ask_token(run, headers=[("origin", "")])
        assert answer.status == 403  # an empty one is one
        body = b'{"op": "dial", "id": "browser1", "target": "orchestrator"}'
        answer = await http(run, "/token", method="POST", body=body, headers=[("content-type", "application/json")])
        assert answer.status == 200
        async with opened(run, using=answer.json["token"], origin=None) as program:
            await program.send(b"x")
            assert await program.recv() == b"x"


@pytest.mark.parametrize("header", ["forwarded", "x-forwarded-for", "via", "x-real-ip"])
async def test_behind_a_proxy_nobody_may(header: str) -> None:
    async with running() as run:
        forged = [(header, "127.0.0.1"), ("origin", "")]
        wanted = upgrade(run, "/dial/browser1/orchestrator", headers=forged)
        assert b"origin:" not in wanted
        assert parse(await raw(run, wanted)).status == 403


async def test_a_stranger_behind_a_local_proxy_gets_no_token() -> None:
    async with running() as run:
        for name in ("x-forwarded-for", "X_Forwarded_For", "X-Original-Forwarded-For", "Fastly-Client-IP"):
            answer = await ask_token(run, headers=[(name, "203.0.113.9")])
            assert (answer.status, answer.json["code"]) == (401, "AUTH")


async def test_configured_origins_count_instead_of_the_own_one() -> None:
    async with running(origins=["https://app.example"]) as run:
        assert (await http(run)).status == 403
        public = [("host", "app.example"), ("origin", "https://app.example")]
        assert (await http(run, "/healthz", headers=public)).status == 200
        assert (await ask_token(run, headers=public)).status == 200
        assert (await ask_token(run, headers=[("host", "app.example"), ("origin", run.origin)])).status == 403


async def test_further_hosts_may_be_listed() -> None:
    async with running(hosts=["relay.internal"]) as run:
        assert (await http(run, "/healthz", headers=[("host", "relay.internal")])).status == 200


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(WRITABLE, min_size=1, max_size=40), min_size=1, max_size=10))
async def test_whatever_the_headers_hold_only_ours_comes_in(texts: list[str]) -> None:
    async with running() as run:
        for text in texts:
            host = await http(run, "/healthz", headers=[("host", text)])
            origin = await http(run, "/healthz", headers=[("origin", text)])
            assert host.status in {400, 403}
            assert origin.status == 403


async def test_malformed_requests_are_answered_or_dropped_and_the_relay_goes_on() -> None:
    async with running() as run:
        for noise in (
            b"\r\n\r\n",
            b"GET\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 20_000 + b"\r\n\r\n",
            b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
            b"POST /token HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            upgrade(run, "/dial/browser1/orchestrator").replace(b"version: 13", b"version: 12"),
            upgrade(run, "/dial/browser1/orchestrator").replace(b"sec-websocket-key", b"x-key"),
            upgrade(run, "/dial/browser1/orchestrator", headers=[(f"x-{n}", "y") for n in range(200)]),
            upgrade(run, "/dial/browser1/orchestrator", headers=[("x-long", "y" * 9_000)]),
        ):
            answer = await asyncio.wait_for(raw(run, noise), 10)
            assert answer == b"" or 400 <= parse(answer).status < 500, noise
        assert (await http(run, "/healthz")).json == {"status": "ok"}


async def test_strangers_are_counted_as_errors() -> None:
    async with running() as run:
        await http(run, headers=[("host", "evil.example")])
        assert RelayStates.ErrAuth in run.relay.machine
        assert "foreign Host" in str(run.relay.machine.err)


def test_a_peer_without_an_address_is_not_on_this_machine() -> None:
    assert not Caller.of({"type": "http", "headers": [], "client": None}).direct


@pytest.mark.parametrize("pieces", [1, 2], ids=["whole", "in two pieces"])
@pytest.mark.parametrize("write", [str.lower, str.upper])
async def test_an_upgrade_is_judged_alike_however_it_is_written_and_cut(
    write: Callable[[str], str], pieces: int
) -> None:
    async with running() as run:

        async def status(damage: Callable[[bytes], bytes] = bytes, **more: str) -> int:
            given = {"host": run.host, "origin": run.origin, **more}
            headers = [(write(name.replace("_", "-")), value) for name, value in given.items()]
            whole = damage(upgrade(run, "/dial/browser1/orchestrator", headers=headers))
            for name in ("upgrade", "connection", "sec-websocket-version", "sec-websocket-key"):
                whole = whole.replace(f"{name}:".encode(), f"{write(name)}:".encode())
            reader, writer = await asyncio.open_connection("127.0.0.1", run.port)
            cut = 40 if pieces == 2 else 0
            writer.write(whole[:cut])
            await http(run, "/healthz")  # by then the first piece has been read
            writer.write(whole[cut:])
            head = await reader.readuntil(b"\r\n")
            writer.close()
            return int(head.split()[1])

        assert await status() == 101
        assert await status(origin="") == 101  # a program on this machine
        assert await status(origin="", x_forwarded_for="127.0.0.1") == 403
        assert await status(origin="", via="1.1 here") == 403
        assert await status(origin="https://evil.example") == 403
        assert await status(host="evil.example") == 403
        for wrong in (
            lambda whole: whole.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nx y: z\r\n"),
            lambda whole: whole.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nx : z\r\n"),
            lambda whole: whole.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nx: a\0b\r\n"),
            lambda whole: whole.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\n: z\r\n"),
            lambda whole: whole.replace(b"/browser1/", b"/browser\x7f1/"),
            lambda whole: whole.replace(b"/browser1/", b"/browser\xe91/"),
        ):
            assert await status(wrong) in {400, 426, 505}
