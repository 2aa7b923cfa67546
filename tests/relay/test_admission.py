"""How a tunnel comes to be opened, and all the ways in which it is not."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from asyncmachine_relay import EVERY_TUNNEL, Limits, Match, RelayStates, Tunnel, TunnelGrants
from tests.relay.support import (
    QUICK,
    Held,
    ask_token,
    ending,
    http,
    opened,
    parse,
    raw,
    running,
    token,
    upgrade,
)


async def test_a_token_opens_a_tunnel() -> None:
    held = Held()
    async with running(dial=[held.match]) as run:
        answer = await ask_token(run)
        assert set(answer.json) == {"token", "resume", "expires_in"}
        assert answer.headers["cache-control"] == "no-store"
        async with opened(run, using=answer.json["token"]) as page:
            tunnel = await held.tunnels.get()
            assert page.subprotocol == "amrpc.v1"
            assert (tunnel.op, tunnel.id, tunnel.target) == ("dial", "browser1", "orchestrator")
            peer = tunnel.transport.peer
            assert (peer.kind, peer.id, peer.grants) == ("websocket", "browser1", EVERY_TUNNEL)
            assert peer.address.startswith("127.0.0.1:")


@pytest.mark.parametrize("op", ["listen", "dial"])
async def test_both_ops_carry_messages_both_ways(op: str) -> None:
    async with running() as run, opened(run, op=op) as page:
        for data in (b"", b"x", bytes(range(256)) * 4096):
            await page.send(data)
            assert await page.recv() == data


async def test_a_missing_token_is_refused_with_a_reason_that_can_be_read() -> None:
    async with running() as run, opened(run, using="") as page:
        assert await ending(page) == (4401, "AUTH")
        assert page.close_reason == "AUTH: offer the subprotocols amrpc.v1 and amtok.<token from /token>"
        assert RelayStates.ErrAuth in run.relay.machine


async def test_no_subprotocol_at_all_is_refused_the_same_way() -> None:
    async with running() as run, opened(run, using="", subprotocols=None) as page:
        assert await ending(page) == (4401, "AUTH")


async def test_two_tokens_are_none() -> None:
    async with running() as run:
        using = await token(run)
        offered = ["amrpc.v1", f"amtok.{using}", f"amtok.{using}"]
        async with opened(run, using="", subprotocols=offered) as page:
            assert await ending(page) == (4401, "AUTH")


async def test_a_replayed_token_is_refused_and_disturbs_nobody() -> None:
    async with running() as run:
        using = await token(run)
        async with opened(run, using=using) as page:
            await page.send(b"x")
            async with opened(run, using=using) as thief:
                assert await ending(thief) == (4401, "AUTH")
                assert "was used" in str(thief.close_reason)
            assert await page.recv() == b"x"


async def test_an_expired_token_is_refused() -> None:
    async with running(limits=Limits(token=1e-9)) as run, opened(run) as page:
        assert await ending(page) == (4401, "AUTH")
        assert "has expired" in str(page.close_reason)


async def test_a_foreign_token_is_refused() -> None:
    async with running() as run, running() as other, opened(run, using=await token(other)) as page:
        assert await ending(page) == (4401, "AUTH")
        assert "not of this relay" in str(page.close_reason)


@pytest.mark.parametrize(
    ("id", "op", "target"),
    [("browser2", "dial", "orchestrator"), ("browser1", "listen", "orchestrator"), ("browser1", "dial", "other")],
)
async def test_the_token_of_another_tunnel_is_refused(id: str, op: str, target: str) -> None:
    async with running() as run, opened(run, id, op, target, using=await token(run)) as page:
        assert await ending(page) == (4401, "AUTH")
        assert "of another tunnel" in str(page.close_reason)


async def test_relays_with_one_secret_take_each_others_tokens() -> None:
    secret = b"a secret of both"
    async with running(secret=secret) as run, running(secret=secret) as other:
        using = await token(other)
        async with opened(run, using=using) as page:
            await page.send(b"x")
            assert await page.recv() == b"x"


@pytest.mark.parametrize("id", ["..", "a%20b", "x" * 129, "%2e%2e", "a%00", "caf%C3%A9"])
async def test_a_tunnel_needs_a_proper_id(id: str) -> None:
    async with running() as run, opened(run, id, using=await token(run)) as page:
        assert await ending(page) == (4403, "FORBIDDEN")
    async with running() as run:
        answer = await ask_token(run, "a/../b")
        assert (answer.status, answer.json["code"]) == (403, "FORBIDDEN")


@pytest.mark.parametrize("path", ["/dial/browser1", "/dial/", "/dial//x", "/other/browser1/orchestrator", "/"])
async def test_other_websockets_are_turned_away(path: str) -> None:
    async with running(static=None) as run:
        assert parse(await raw(run, upgrade(run, path, await token(run)))).status == 403


async def test_a_slash_in_an_id_makes_it_another_target() -> None:
    async with running() as run, opened(run, "a%2f..%2fb", using=await token(run)) as page:
        assert await ending(page) == (4401, "AUTH")


@pytest.mark.parametrize(
    ("id", "target"), [("browser9", "orchestrator"), ("browser1", "10.0.0.1:22"), ("xbrowser1", "x")]
)
async def test_a_target_that_nothing_answers(id: str, target: str) -> None:
    async with running() as run:
        answer = await ask_token(run, id, target=target)
        assert (answer.status, answer.json["code"]) == (404, "TARGET")
        assert RelayStates.ErrTarget in run.relay.machine


async def test_a_target_that_nothing_answers_any_more() -> None:
    """A token of a relay with the same secret and other matchers."""
    secret = b"a secret of both"
    wide = Match(r".*", target="orchestrator", serve=Held())
    async with running(secret=secret) as run, running(secret=secret, dial=[wide]) as other:
        using = await token(other, "browser9")
        async with opened(run, "browser9", using=using) as page:
            assert await ending(page) == (4404, "TARGET")


async def test_no_matcher_means_no_tunnel() -> None:
    async with running(listen=[], dial=[]) as run:
        assert (await ask_token(run)).status == 404


async def test_a_target_has_at_most_255_characters() -> None:
    async with running() as run:
        assert (await ask_token(run, target="x" * 256)).json["message"].startswith("a target is 1 to 255")


async def test_the_application_decides() -> None:
    seen = []

    async def authorize(request: Request) -> TunnelGrants | None:
        seen.append(request.headers.get("cookie"))
        return TunnelGrants(ids=("browser1",), targets=("orchestrator",), mutate=(), subject="Ann")

    held = Held()
    async with running(dial=[held.match], authorize=authorize) as run:
        assert (await ask_token(run, "browser2")).json["code"] == "FORBIDDEN"
        async with opened(run, using=await token(run, headers=[("cookie", "session=1")])):
            grants = (await held.tunnels.get()).transport.peer.grants
            assert grants == TunnelGrants(ids=("browser1",), targets=("orchestrator",), mutate=(), subject="Ann")
    assert seen == [None, "session=1"]


async def test_the_application_may_say_no() -> None:
    async with running(authorize=lambda request: None) as run:
        answer = await ask_token(run)
        assert (answer.status, answer.json) == (401, {"code": "AUTH", "message": "log in first"})


@pytest.mark.parametrize("wrong", [True, {"ids": ["*"]}, "yes"])
async def test_an_application_that_returns_anything_else_lets_nobody_in(wrong: Any) -> None:
    async with running(authorize=lambda request: wrong) as run:
        answer = await ask_token(run)
        assert (answer.status, answer.json["code"]) == (500, "INTERNAL")
        assert "authorize must return TunnelGrants or None" in str(run.relay.machine.err)


async def test_an_application_that_raises_lets_nobody_in() -> None:
    def authorize(request: Request) -> TunnelGrants:
        raise KeyError("a secret detail")

    async with running(authorize=authorize) as run:
        answer = await ask_token(run)
        assert (answer.status, answer.json["code"]) == (500, "INTERNAL")
        assert b"secret detail" not in answer.body


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b"\xff\xfe", b'"\\ud800"', b'{"op": "dial"}'),
        b'{"op": "drop", "id": "browser1", "target": "orchestrator"}',
        b'{"op": "dial", "id": 1, "target": "orchestrator"}',
    ],
)
async def test_a_token_request_that_is_none(body: bytes) -> None:
    async with running() as run:
        given_headers = [("content-type", "application/json"), ("origin", run.origin)]
        answer = await http(run, "/token", method="POST", body=body, headers=given_headers)
        assert (answer.status, answer.json["code"]) == (400, "BAD_FRAME")


@settings(max_examples=10, deadline=None)
@given(st.lists(st.binary(max_size=100), min_size=1, max_size=8))
async def test_noise_is_no_token_request(bodies: list[bytes]) -> None:
    async with running() as run:
        for body in bodies:
            given_headers = [("content-type", "application/json"), ("origin", run.origin)]
            answer = await http(run, "/token", method="POST", body=body, headers=given_headers)
            assert answer.json["code"] == "BAD_FRAME"


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/json5"])
async def test_a_form_of_another_site_cannot_ask(kind: str) -> None:
    async with running() as run:
        body = b'{"op": "dial", "id": "browser1", "target": "orchestrator"}'
        answer = await http(
            run, "/token", method="POST", body=body, headers=[("content-type", kind), ("origin", run.origin)]
        )
        assert answer.status == 400


async def test_a_body_has_a_limit_said_or_not() -> None:
    async with running() as run:
        assert (await ask_token(run, padding="x" * 5000)).json["code"] == "TOO_LARGE"
        head = f"POST /token HTTP/1.1\r\nhost: {run.host}\r\norigin: {run.origin}\r\ncontent-type: application/json\r\n"
        chunks = b"".join(b"400\r\n" + b" " * 1024 + b"\r\n" for _ in range(8))
        answer = await raw(run, head.encode() + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n" + chunks)
        assert parse(answer).status == 413


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async with running(limits=Limits(hello=0.05)) as run:
        head = f"POST /token HTTP/1.1\r\nhost: {run.host}\r\norigin: {run.origin}\r\ncontent-type: application/json\r\n"
        answer = parse(await raw(run, head.encode() + b"connection: close\r\ncontent-length: 100\r\n\r\n{"))
        assert (answer.status, json.loads(answer.body)["code"]) == (408, "DEADLINE")


async def test_a_body_that_is_cut_off_is_nobodys_error() -> None:
    async with running() as run:
        head = f"POST /token HTTP/1.1\r\nhost: {run.host}\r\norigin: {run.origin}\r\ncontent-type: application/json\r\n"
        _, writer = await asyncio.open_connection("127.0.0.1", run.port)
        writer.write(head.encode() + b"content-length: 100\r\n\r\n{")
        await writer.drain()
        writer.close()
        await run.relay.machine.when(RelayStates.Exception)
        assert "the body was cut off" in str(run.relay.machine.err)


async def test_only_post_asks_for_tokens() -> None:
    async with running() as run:
        assert (await http(run, "/token")).status == 405


async def test_opens_and_tokens_have_a_rate() -> None:
    slow = Limits(opens_per_second=0.001, opens_burst=2)
    async with running(limits=slow) as run:
        using = [await token(run), await token(run, "browser2")]
        answer = await ask_token(run)
        assert (answer.status, answer.json["code"]) == (429, "LIMIT")
        async with (
            opened(run, using=using[0]),
            opened(run, "browser2", using=using[1]),
            opened(run, using="x") as page,
        ):
            assert await ending(page) == (4429, "LIMIT")
        assert RelayStates.ErrLimit in run.relay.machine


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (Limits(tunnels=2), "the relay has 2 tunnels"),
        (Limits(tunnels_per_peer=2), "your address has 2 tunnels"),
    ],
)
async def test_there_are_only_so_many_tunnels(limits: Limits, says: str) -> None:
    async with running(limits=limits) as run:
        async with opened(run, "browser1"), opened(run, "browser2"), opened(run, "browser3") as page:
            assert await ending(page) == (4429, "LIMIT")
            assert says in str(page.close_reason)
        async with opened(run, "browser3") as page:  # the others have left
            await page.send(b"x")
            assert await page.recv() == b"x"


async def test_an_id_has_only_so_many_tunnels() -> None:
    one = Limits(tunnels_per_id=1)
    async with running(limits=one) as run, opened(run, op="listen"), opened(run, op="dial") as page:
        assert await ending(page) == (4429, "LIMIT")


async def test_a_matcher_is_chosen_in_order_by_the_whole_id_and_the_exact_target() -> None:
    chosen: list[str] = []

    def match(name: str, ids: str, target: str) -> Match:
        async def serve(tunnel: Tunnel) -> None:
            chosen.append(name)

        return Match(ids, target, serve)

    matches = [
        match("a", "browser", "x"),
        match("b", r"browser\d", "y"),
        match("c", r"browser\d", "x"),
        match("d", ".*", "x"),
    ]
    async with running(dial=matches, limits=QUICK) as run:
        for name, target in (("browser1", "x"), ("browser1", "y"), ("browser", "x"), ("other", "x")):
            using = (await ask_token(run, name, target=target)).json["token"]
            async with opened(run, name, target=target, using=using) as page:
                assert await ending(page) == (1000, "")
    assert chosen == ["c", "b", "a", "d"]
