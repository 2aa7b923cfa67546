"""What operators need: is it alive, does it take new tunnels, what has it done, and new settings without a restart."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import websockets

import asyncmachine as am
from asyncmachine.telemetry import dbg
from asyncmachine.telemetry.dbg.codec import encode
from asyncmachine_relay import Config, Limits, Match, Relay, RelayConfigError, RelayStates, Target, Tunnel, TunnelGrants
from asyncmachine_relay.config import Operation, Pages, Server
from asyncmachine_relay.meetings import Meeting
from asyncmachine_relay.policy import Reason
from asyncmachine_relay.service import reload
from tests.relay.support import ECHO, ask_token, ending, http, opened, running, token
from tests.relay.tcp_support import backend, echo_bytes
from tests.telemetry.hearing import HELLO
from tests.telemetry.messages import a_batch, a_machine

WORD = b"an operator's word of some length"


def samples(text: str) -> dict[str, float]:
    """Name with labels -> value."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def test_ready_until_it_drains_and_alive_all_the_time() -> None:
    async with running() as run:
        assert (await http(run, "/readyz")).json == {"status": "ready"}
        async with opened(run) as page:
            await page.send(b"x")
            draining = asyncio.create_task(run.relay.drain(30))
            await run.relay.machine.when(RelayStates.Draining)
            assert (await http(run, "/readyz")).status == 503
            assert (await http(run, "/healthz")).status == 200
            assert (await ask_token(run)).json["code"] == "SHUTDOWN"
            assert await page.recv() == b"x"  # it goes on
            await page.send(b"y")
            assert await page.recv() == b"y"
            assert not draining.done()
        await draining  # long before its time is over


async def test_a_plain_tunnel_hears_nothing_of_a_drain_and_a_matcher_that_does_can_end_it_in_order() -> None:
    """What goes through it is its ends' own, so the relay puts in no word of its own."""
    relays: list[Relay] = []

    async def serve(tunnel: Tunnel) -> None:
        await relays[0].machine.when(RelayStates.Draining)
        await tunnel.transport.send(b"bye")

    async with running(dial=[Match("leaves", "orchestrator", serve), ECHO], limits=Limits(hello=60)) as run:
        relays.append(run.relay)
        async with opened(run, "leaves") as leaves, opened(run) as stays:
            draining = asyncio.create_task(run.relay.drain(60))
            assert await leaves.recv() == b"bye"
            assert await ending(leaves) == (1000, "")
            await stays.send(b"x")
            assert await stays.recv() == b"x"  # and nothing but that
            assert not draining.done()
        await draining


async def test_who_does_not_leave_is_not_waited_for_for_ever() -> None:
    async with running() as run, opened(run) as page:
        await page.send(b"x")
        await run.relay.drain(0.05)
        await run.server.stop()
        assert await ending(page) == (1001, "SHUTDOWN")


async def test_metrics_tell_what_happened() -> None:
    async with running(limits=Limits(leave=0.02, hello=60)) as run:
        async with opened(run) as page:
            await page.send(b"12345")
            await page.recv()
            await ask_token(run, target="nobody")
            answer = await http(run, "/metrics")
            assert answer.headers["content-type"].startswith("text/plain")
            found = samples(answer.body.decode())
            assert found['am_relay_tunnels{op="dial"}'] == 1
            assert found['am_relay_tunnels_opened_total{op="dial"}'] == 1
            assert found['am_relay_refused_total{reason="TARGET"}'] == 1
            assert found['am_relay_bytes_total{direction="in"}'] == 5
            assert found['am_relay_frames_total{direction="out"}'] == 1
        await run.relay.tunnels.emptied()
        await run.relay.machine.when(RelayStates.TunnelDown)
        found = samples((await http(run, "/metrics")).body.decode())
        assert found['am_relay_tunnels{op="dial"}'] == 0
        assert found['am_relay_bytes_total{direction="out"}'] == 5


async def test_labels_come_from_closed_lists() -> None:
    async with running() as run:
        before = set(samples((await http(run, "/metrics")).body.decode()))
        for name in ("evil\nname", '"}', "x" * 200):
            await ask_token(run, id=name)
            await ask_token(run, target=name)
        assert set(samples((await http(run, "/metrics")).body.decode())) == before
    assert len([name for name in before if name.startswith("am_relay_refused_total")]) == len(Reason)


async def test_metrics_are_for_operators() -> None:
    stranger = [("x-forwarded-for", "203.0.113.9")]
    async with running(operator=WORD) as run:
        assert (await http(run, "/metrics")).status == 200
        assert (await http(run, "/metrics", headers=stranger)).status == 401
        for wrong in ("Bearer wrong", f"Basic {WORD.decode()}", "Bearer ", f"Bearer {WORD.decode()} "):
            answer = await http(run, "/metrics", headers=[*stranger, ("authorization", wrong)])
            assert answer.status == 401 or wrong.endswith(" ")
        right = ("authorization", f"Bearer {WORD.decode()}")
        assert (await http(run, "/metrics", headers=[*stranger, right])).status == 200
        assert (await http(run, "/metrics", headers=[*stranger, right, right])).status == 401
    async with running() as run:
        assert (await http(run, "/metrics", headers=[*stranger, ("authorization", "Bearer None")])).status == 401


async def test_metrics_tell_of_dumps_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    recorder = dbg.Recorder(dbg.RotatingDumps(tmp_path / "file"))
    inlet = recorder.connect()
    for message in (HELLO, a_machine(), a_batch()):
        inlet.receive(encode(message))
    async with running(recorder=recorder) as run:
        found = samples((await http(run, "/metrics")).body.decode())
        assert found["am_relay_dbg_records_total"] == 1
        assert found["am_relay_dbg_output_failures_total"] == 1


@pytest.mark.parametrize(
    ("frames", "limits", "state"),
    [
        ([b"no message"], dbg.RecorderLimits(), RelayStates.ErrGraph),
        ([encode(HELLO), encode(a_batch())], dbg.RecorderLimits(), RelayStates.ErrGraph),
        ([encode(HELLO), encode(a_machine())], dbg.RecorderLimits(machines=0), RelayStates.ErrLimit),
    ],
    ids=["no message", "of no machine", "too many"],
)
async def test_a_sender_that_does_wrong_shows_in_the_relay_s_machine(
    frames: list[bytes], limits: dbg.RecorderLimits, state: RelayStates
) -> None:
    async with running(recorder=dbg.Recorder(limits=limits)) as run:
        url = run.origin.replace("http", "ws") + "/dbg.ws"
        origin = websockets.Origin(run.origin)
        async with websockets.connect(url, origin=origin, proxy=None, compression=None) as sender:
            for frame in frames:
                await sender.send(frame)
            assert (await ending(sender))[0] in {4400, 4429}
        await run.relay.machine.when(state)
        assert run.relay.machine.tick(RelayStates.InitClient) == 1
        assert run.relay.machine.err is not None


@pytest.mark.parametrize("is_run", [False, True], ids=["nobody runs", "runs"])
async def test_a_recorder_that_nobody_runs_is_told_of(
    is_run: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = dbg.Recorder(dbg.SingleDump(tmp_path / "seen.amdbg"))
    async with AsyncExitStack() as stack:
        if is_run:
            await stack.enter_async_context(recorder.running())
        run = await stack.enter_async_context(running(recorder=recorder))
        for _ in range(2):
            async with websockets.connect(
                run.origin.replace("http", "ws") + "/dbg.ws", origin=websockets.Origin(run.origin), proxy=None
            ) as sender:
                for message in (HELLO, a_machine(), a_batch()):
                    await sender.send(encode(message))
        await run.relay.machine.when(RelayStates.ClientMsg)
    told = [record.message for record in caplog.records if "nobody runs the recorder" in record.message]
    assert len(told) == (0 if is_run else 1)
    recorder.close()
    assert (tmp_path / "seen.amdbg").exists()


async def test_metrics_can_be_turned_off() -> None:
    async with running(metrics=False) as run:
        assert (await http(run, "/metrics")).status == 404


async def test_targets_and_secrets_are_taken_over_without_dropping_a_tunnel(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the second secret of this relay")
    secret.chmod(0o600)
    async with backend(echo_bytes) as port:
        old = Target("old", "127.0.0.1", port, raw=True)
        new = Target("new", "127.0.0.1", port, raw=True)
        async with running(targets=[old], dial=[], secret=b"the first secret of this relay") as run:
            async with opened(run, target="old") as page:
                await page.send(b"1")
                assert await page.recv() == b"1"
                early = await token(run, id="early", target="old")
                run.relay.reload(Config(targets=(new,), server=Server(secret_file=secret)))
                await page.send(b"2")
                assert await page.recv() == b"2"
                assert (await ask_token(run, target="old")).json["code"] == "TARGET"
                async with opened(run, id="other", target="new") as other:
                    await other.send(b"3")
                    assert await other.recv() == b"3"
                async with opened(run, id="early", target="old", using=early) as late:
                    assert await ending(late) == (4404, "TARGET")  # the token counts, its target is gone
            absent = Config(targets=(old,), server=Server(secret_file=tmp_path / "absent"))
            with pytest.raises(RelayConfigError, match="No such file"):
                run.relay.reload(absent)
            assert (await ask_token(run, target="new")).status == 200


async def test_a_reload_names_what_needs_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the secret of this relay")
    secret.chmod(0o600)
    before = Config(server=Server(secret_file=secret))
    taken_over = Config(
        targets=(Target("new", "127.0.0.1", 1),),
        meetings=(Meeting("peers"),),
        server=Server(secret_file=secret),
        operation=Operation(token_file=secret),
    )
    changed = Config(
        name="edge",
        server=Server(origins=("https://app.example",)),
        limits=Limits(tunnels=7),
        pages=Pages(isolation=False),
    )
    async with running() as run:
        with caplog.at_level(logging.INFO, "asyncmachine.relay"):
            reload(run.relay, lambda: taken_over, before)
            assert "targets, meetings and secrets were read again" in caplog.text
            assert "restart" not in caplog.text
            reload(run.relay, lambda: changed, before)
        assert caplog.records[-1].getMessage() == (
            "a restart is needed for what has changed in "
            "name, server.origins, server.secret_file, pages.isolation, limits.tunnels"
        )


async def test_whatever_settings_raise_those_of_before_stay(caplog: pytest.LogCaptureFixture) -> None:
    def settings() -> Config:
        raise ZeroDivisionError("in a program's own settings")

    async with running() as run:
        reload(run.relay, settings, Config())
        assert (await ask_token(run)).status == 200
    assert "the settings of before stay" in caplog.text
    assert "ZeroDivisionError: in a program's own settings" in caplog.text


async def test_a_relay_is_made_of_its_settings(tmp_path: Path) -> None:
    word = tmp_path / "word"
    word.write_bytes(WORD)
    word.chmod(0o600)
    config = Config(
        name="edge",
        server=Server(origins=("https://app.example",), authorize="asyncmachine_relay.admission:own_machine"),
        operation=Operation(token_file=word, metrics=False),
        limits=Limits(tunnels=7),
    )
    relay = Relay.of(config)
    assert (relay.machine.id, relay.limits.tunnels) == ("relay-edge", 7)
    relay.dispose()
    with pytest.raises(RelayConfigError, match="No such file"):
        Relay.of(Config(server=Server(secret_file=tmp_path / "absent")))


@pytest.mark.parametrize("granted", [0.2, 30.0])
async def test_a_tunnel_ends_with_the_time_that_it_was_granted(granted: float) -> None:
    """Whichever is shorter, that or the limit: it is sealed into the token, and no page can have more."""
    grants = TunnelGrants(ids=("*",), targets=("*",), lifetime=granted)
    limits = Limits(lifetime=30 if granted < 1 else 0.2)
    async with running(limits=limits, authorize=lambda request: grants) as run, opened(run) as page:
        await page.send(b"x")
        assert await ending(page) == (1001, "EXPIRED")
        assert page.close_reason == "EXPIRED: a tunnel lives 0.2 s; dial again"


@pytest.mark.parametrize("lifetime", [0, -1, float("nan")])
def test_no_time_at_all_is_no_grant(lifetime: float) -> None:
    with pytest.raises(am.InvalidArgs, match=r"lifetime=.* must be above 0; for nothing at all return None"):
        TunnelGrants(lifetime=lifetime)


async def test_a_tunnel_has_its_time() -> None:
    async with running(limits=Limits(lifetime=0.2)) as run, opened(run) as page:
        await page.send(b"x")
        assert await ending(page) == (1001, "EXPIRED")
        assert RelayStates.Exception not in run.relay.machine
