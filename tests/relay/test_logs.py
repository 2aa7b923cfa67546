"""What the relay's logs hold, and never hold."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.relay.support import RawSocket, ask_token, ending, http, opened, raw, running, upgrade


async def test_no_token_and_no_secret_is_ever_logged(caplog: pytest.LogCaptureFixture) -> None:
    """At the most talkative level, whatever goes wrong: neither the relay nor a library below it shows one."""
    secrets: set[str] = set()
    with caplog.at_level(logging.DEBUG):
        for name in ("uvicorn.error", "uvicorn.access", "websockets.server", "asyncmachine.relay"):
            logging.getLogger(name).setLevel(logging.DEBUG)
        async with running() as run:
            answer = (await ask_token(run)).json
            secrets |= {answer["token"], answer["resume"]}
            async with opened(run, using=answer["token"]) as page:
                again = (await ask_token(run, secret=answer["resume"])).json
                secrets.add(again["token"])
                async with opened(run, using=answer["token"]) as thief:
                    assert await ending(thief) == (4401, "AUTH")
                async with opened(run, using=again["token"]) as owner:
                    assert await ending(page) == (4409, "DUPLICATE")
                    await owner.send("text")
                    assert await ending(owner) == (1003, "TEXT")
            token = (await ask_token(run)).json["token"]
            secrets.add(token)
            async with opened(run, using=token[:-4] + "AAAA") as page:
                assert await ending(page) == (4401, "AUTH")
            await raw(
                run, upgrade(run, "/dial/browser1/orchestrator", token, headers=[("origin", "http://evil.example")])
            )
            await raw(run, upgrade(run, "/dial/browser1/orchestrator", token).replace(b"version: 13", b"version: 12"))
            await raw(run, upgrade(run, "/other", token))
            paths = (
                f"/dial/browser1/amtok.{token}",
                f"/dial/amtok.{token}/orchestrator",
                f"/dial/x/AmTok%2e{token}",
                f"/dial/browser1/{token}",
                f"/dial/{token}/orchestrator",
                f"/dial/{answer['resume']}/orchestrator",
                f"/dial/browser1/{answer['resume'][:-1]}",
                f"/listen/x.{answer['resume']}/orchestrator",
            )
            await asyncio.gather(*(raw(run, upgrade(run, path)) for path in paths))
            await ask_token(run, op="drop", secret=answer["resume"])
            await ask_token(run, secret=answer["resume"], padding="x" * 5000)
            async with RawSocket.opened(run) as page2:
                page2.send(3)
                await page2.ending()
    # Our own client logs what it sends; that is none of the relay's doing.
    logged = "\n".join(record.getMessage() for record in caplog.records if record.name != "websockets.client")
    assert "TunnelUp" in logged  # it did log
    for secret in secrets:
        for size in (len(secret), 20):
            assert secret[:size] not in logged
            assert secret[-size:] not in logged


async def test_a_long_name_in_a_path_can_still_be_recognised(caplog: pytest.LogCaptureFixture) -> None:
    """What might be a secret is cut to what gives none of it away; a name of an ordinary length stays whole."""
    with caplog.at_level(logging.INFO, logger="asyncmachine.relay"):
        async with running() as run:
            name = "worker-550e8400-e29b-41d4-a716-446655440000"
            await raw(run, upgrade(run, f"/dial/{name}/orchestrator.of-the-second-floor"))
    (line,) = [record.getMessage() for record in caplog.records if record.name == "asyncmachine.relay"]
    assert "'/dial/worker-5…/orchestrator.of-the-second-floor'" in line


async def test_what_strangers_send_is_quoted_and_cut(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="asyncmachine.relay"):
        async with running() as run:
            await http(run, "/dial/%0aforged%20line/" + "x" * 3000, headers=[("host", "evil.example")])
    (line,) = [record.getMessage() for record in caplog.records if record.name == "asyncmachine.relay"]
    assert "forged line" in line
    assert "\n" not in line
    assert len(line) < 400
