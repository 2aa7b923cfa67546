"""Several relays behind one address: tokens, ids and calls are of all of them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
import websockets
from nats.js.errors import KeyNotFoundError

from asyncmachine.rpc.transport import TransportClosed
from asyncmachine.rpc.transport.many import Many
from asyncmachine.rpc.transport.websocket import WebSocketTransport
from asyncmachine_relay import EVERY_TUNNEL, Limits, Match, Op, Relay, RelayConfigError, RelayStates, Tunnel
from asyncmachine_relay.cluster import NatsAgreement
from asyncmachine_relay.tokens import Claims, Tokens
from tests.nats_server import NatsServer
from tests.ports import free_port
from tests.relay.cluster_support import CALLER, FORWARDED, QUIET, SECRET, ask, through, together, waits
from tests.relay.support import Running, ending, http

DATA = os.urandom(3 << 20)


async def test_a_page_is_called_through_another_relay(tmp_path: Path) -> None:
    async with together(tmp_path) as all_of_them:
        here, there = all_of_them.relays
        async with through(here, "page", "listen", "peers") as page:
            await waits(here, "page")
            async with through(there, "tool", target="peers:page") as tool:
                await tool.send(b"question")
                assert await page.recv() == b"question"
                await page.send(b"answer")
                assert await tool.recv() == b"answer"
                legs = [tunnel for tunnel in here.relay.tunnels if "~" in tunnel.id]
                assert [leg.transport.peer.address.partition(":")[0] for leg in legs] == [CALLER]
                await page.close(3000, "enough")
                assert await ending(tool) == (3000, "enough")
        for run in all_of_them.relays:
            await run.relay.tunnels.emptied()


async def test_large_streams_pass_whole_both_ways(tmp_path: Path) -> None:
    limits = Limits(leave=0.05, hello=60, bytes_per_second=1 << 30, frames_per_second=10**6)
    async with together(tmp_path, limits=limits) as all_of_them:
        here, there = all_of_them.relays
        async with through(here, "page", "listen", "peers") as page:
            await waits(here, "page")
            async with through(there, "tool", target="peers:page") as tool:
                for source, sink in ((tool, page), (page, tool)):
                    sending = asyncio.create_task(source.send(DATA[: 1 << 20]))
                    found = await sink.recv()
                    await sending
                    assert isinstance(found, bytes)
                    assert hashlib.sha256(found).digest() == hashlib.sha256(DATA[: 1 << 20]).digest()


async def test_connections_inside_of_tunnels_keep_their_halves(tmp_path: Path) -> None:
    async with together(tmp_path) as all_of_them:
        here, there = all_of_them.relays
        async with (
            through(here, "page", "listen", "peers", many=True) as near,
            Many(WebSocketTransport(near), dialled=True) as page,
        ):
            await waits(here, "page")
            async with (
                through(there, "tool", target="peers:page", many=True) as far,
                Many(WebSocketTransport(far), dialled=True) as tool,
            ):
                calls = [tool.open() for _ in range(3)]
                for number, call in enumerate(calls):
                    await call.send(b"%d" % number)
                    call.finish()
                answers = [await page.accept() for _ in calls]
                for answer in answers:
                    asked = await answer.recv()
                    with pytest.raises(TransportClosed, match="1000"):
                        await answer.recv()
                    await answer.send(b"the other half of " + asked)
                    answer.finish()
                for number, call in enumerate(calls):
                    assert await call.recv() == b"the other half of %d" % number
                    with pytest.raises(TransportClosed, match="1000"):
                        await call.recv()
                while any("~" in tunnel.id for tunnel in here.relay.tunnels):
                    await asyncio.sleep(0)


async def test_a_reader_that_stops_stops_the_writer_over_both_relays(tmp_path: Path) -> None:
    limits = Limits(leave=0.05, hello=60, buffer_high=64 << 10, buffer_low=16 << 10, bytes_per_second=1 << 30)
    async with together(tmp_path, limits=limits) as all_of_them:
        here, there = all_of_them.relays
        async with through(here, "page", "listen", "peers", max_queue=1) as page:
            await waits(here, "page")
            async with through(there, "tool", target="peers:page") as tool:
                amount = 2048

                async def pour() -> None:
                    for _ in range(amount):
                        await tool.send(bytes(32 << 10))

                pouring = asyncio.create_task(pour())
                done, _ = await asyncio.wait({pouring}, timeout=0.5)
                assert not done
                for run in all_of_them.relays:
                    assert all(each.statistics().bytes_waiting < 1 << 20 for each in run.relay.tunnels.transports)
                for _ in range(amount):
                    await page.recv()
                await pouring


async def test_a_token_is_good_once_over_all_relays(tmp_path: Path) -> None:
    async with together(tmp_path) as all_of_them:
        here, there = all_of_them.relays
        using = (await ask(here, "browser1")).json["token"]
        async with through(there, "browser1", using=using) as page:
            await page.send(b"x")
            assert await page.recv() == b"x"
            for run in (here, there):
                async with through(run, "browser1", using=using) as again:
                    assert await ending(again) == (4401, "AUTH")
            await page.send(b"undisturbed")
            assert await page.recv() == b"undisturbed"


async def test_a_hundred_at_once_with_one_token_and_one_gets_in(tmp_path: Path) -> None:
    async with together(tmp_path, 3) as all_of_them:
        using = (await ask(all_of_them.relays[0], "browser1")).json["token"]

        async def one(number: int) -> str:
            async with through(all_of_them.relays[number % 3], "browser1", using=using) as page:
                try:
                    await page.send(b"x")
                    await page.recv()
                except websockets.ConnectionClosed:
                    return (page.close_reason or "").partition(":")[0]
                return "in"

        found = await asyncio.gather(*(one(number) for number in range(30)))
        assert sorted(set(found)) == ["AUTH", "in"]
        assert found.count("in") == 1


async def test_an_id_is_of_one_tunnel_over_all_relays_and_its_owner_takes_it_along(tmp_path: Path) -> None:
    async with together(tmp_path) as all_of_them:
        here, there = all_of_them.relays
        first = (await ask(here, "browser1")).json
        async with through(here, "browser1", using=first["token"]) as page:
            await page.send(b"x")
            await page.recv()
            async with through(there, "browser1") as stranger:
                assert await ending(stranger) == (4409, "DUPLICATE")
            await page.send(b"undisturbed")
            assert await page.recv() == b"undisturbed"
            mine = (await ask(there, "browser1", secret=first["resume"])).json["token"]
            async with through(there, "browser1", using=mine) as again:
                await again.send(b"moved")
                assert await again.recv() == b"moved"
                assert await ending(page) == (4409, "DUPLICATE")
                async with through(here, "browser1") as stranger:
                    assert await ending(stranger) == (4409, "DUPLICATE")
                await again.send(b"still")
                assert await again.recv() == b"still"
        await there.relay.tunnels.emptied()
        async with through(here, "browser1") as anybody:  # given back
            await anybody.send(b"x")
            assert await anybody.recv() == b"x"


async def test_while_nats_is_away_nothing_new_is_accepted_and_what_is_open_goes_on(tmp_path: Path) -> None:
    async with together(tmp_path, lease=0.6) as all_of_them:
        here, there = all_of_them.relays
        early = (await ask(here, "browser2")).json["token"]
        async with through(here, "page", "listen", "peers") as page, through(there, "browser1") as plain:
            await waits(here, "page")
            async with through(there, "tool", target="peers:page") as tool:
                await tool.send(b"before")
                assert await page.recv() == b"before"
                await all_of_them.nats.stop()
                for run in all_of_them.relays:
                    await run.relay.machine.when_not(RelayStates.Agreed)
                    ready = await http(run, "/readyz", headers=FORWARDED)
                    assert (ready.status, ready.json) == (503, {"status": "degraded", "lacks": "nats"})
                    assert (await http(run, "/healthz", headers=FORWARDED)).status == 200
                    refused = await ask(run, "browser3")
                    assert (refused.status, refused.json["code"]) == (503, "AWAY")
                async with through(here, "browser2", using=early) as late:
                    assert await ending(late) == (1013, "AWAY")
                await tool.send(b"meanwhile")
                assert await page.recv() == b"meanwhile"
                await plain.send(b"x")
                assert await plain.recv() == b"x"
                await all_of_them.nats.start()
                for run in all_of_them.relays:
                    await run.relay.machine.when(RelayStates.Agreed)
                    assert (await http(run, "/readyz", headers=FORWARDED)).status == 200
                async with through(here, "browser1") as stranger:  # who was away is not taken for dead
                    assert await ending(stranger) == (4409, "DUPLICATE")
                async with through(here, "browser2", using=early) as late:  # it was not used up
                    await late.send(b"x")
                    assert await late.recv() == b"x"
                await tool.send(b"after")
                assert await page.recv() == b"after"


async def test_what_nats_has_forgotten_is_said_again_and_old_tokens_are_worth_nothing(tmp_path: Path) -> None:
    async with together(tmp_path, lease=0.6) as all_of_them:
        here, there = all_of_them.relays
        used = (await ask(here, "browser1")).json["token"]
        async with through(there, "browser1", using=used) as page:
            await page.send(b"x")
            await page.recv()
            await all_of_them.nats.stop()
            all_of_them.nats.lose()
            for run in all_of_them.relays:
                await run.relay.machine.when_not(RelayStates.Agreed)
            await all_of_them.nats.start()
            for run in all_of_them.relays:
                await run.relay.machine.when(RelayStates.Agreed)
            async with through(here, "browser1", using=used) as replay:
                assert await ending(replay) == (4401, "AUTH")
            async with through(here, "browser1") as stranger:
                assert await ending(stranger) == (4409, "DUPLICATE")
            await page.send(b"undisturbed")
            assert await page.recv() == b"undisturbed"


async def test_an_id_that_was_given_back_while_nats_was_away_is_free_afterwards(tmp_path: Path) -> None:
    async with together(tmp_path, lease=0.6) as all_of_them:
        here, there = all_of_them.relays
        async with through(here, "browser1") as page:
            await page.send(b"x")
            await page.recv()
            await all_of_them.nats.stop()
            await here.relay.machine.when_not(RelayStates.Agreed)
        await here.relay.tunnels.emptied()
        await there.relay.machine.when_not(RelayStates.Agreed)
        await all_of_them.nats.start()
        for run in all_of_them.relays:
            await run.relay.machine.when(RelayStates.Agreed)
        async with through(there, "browser1") as anybody:
            await anybody.send(b"x")
            assert await anybody.recv() == b"x"


async def test_a_relay_that_does_not_wait_for_its_matchers_says_goodbye_to_the_others(tmp_path: Path) -> None:
    over = asyncio.Event()

    async def stay(tunnel: Tunnel) -> None:
        while not over.is_set():
            with suppress(asyncio.CancelledError):
                await over.wait()

    async with together(tmp_path, listen=[Match(".*", "orchestrator", stay)], limits=replace(QUIET, leave=30)) as run:
        here, there = (each.relay for each in run.relays)
        async with through(run.relays[0], "page", "listen"):
            while not list(here.tunnels):
                await asyncio.sleep(0)
            stopping = asyncio.create_task(here.stop())
            await asyncio.wait({stopping}, timeout=0.1)
            stopping.cancel()
            await asyncio.wait({stopping})
            over.set()  # also if the rest fails
            assert stopping.cancelled()
            assert isinstance(here._agreement, NatsAgreement)
            assert isinstance(there._agreement, NatsAgreement)
            with pytest.raises(KeyNotFoundError):
                await there._agreement._leases.get(here._agreement.relay)


async def test_a_goodbye_that_is_not_waited_for_leaves_no_connection(tmp_path: Path) -> None:
    async with together(tmp_path, 1) as all_of_them:
        agreement = all_of_them.relays[0].relay._agreement
        assert isinstance(agreement, NatsAgreement)
        client = agreement._client
        assert client is not None
        stopping = asyncio.create_task(agreement.stop())
        await asyncio.sleep(0)
        stopping.cancel()
        await asyncio.wait({stopping})
        assert stopping.cancelled()
        assert client.is_closed
        assert not agreement.agreed


async def test_a_relay_that_starts_without_nats_is_not_ready_until_it_has_it(tmp_path: Path) -> None:
    async with together(tmp_path, 1) as all_of_them:
        [run] = all_of_them.relays
        await run.server.stop()
        await all_of_them.nats.stop()
        await run.server.start()
        assert (await http(run, "/readyz", headers=FORWARDED)).status == 503
        await all_of_them.nats.start()
        await run.relay.machine.when(RelayStates.Agreed)
        assert (await http(run, "/readyz", headers=FORWARDED)).status == 200


@contextmanager
def said(text: str, times: int = 1) -> Iterator[asyncio.Event]:
    """Set once the relay's log has told this so often."""
    happened, lines = asyncio.Event(), list[str]()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if text in record.getMessage():
                lines.append(record.getMessage())
            if len(lines) >= times:
                happened.set()

    listener, logger = Listener(), logging.getLogger("asyncmachine.relay")
    logger.addHandler(listener)
    try:
        yield happened
    finally:
        logger.removeHandler(listener)


async def test_a_relay_that_never_had_nats_stops_at_once(caplog: pytest.LogCaptureFixture) -> None:
    from asyncmachine_relay import Cluster, RelayServer, bind

    bound = bind()
    cluster = Cluster(nats=(f"nats://127.0.0.1:{free_port()}",), url=bound.origin)
    relay = Relay(origins=[bound.origin], secret=SECRET, cluster=cluster)
    with caplog.at_level(logging.INFO, "asyncmachine.relay"), said("NATS: ", times=2) as tried_again:
        async with RelayServer(relay, bound) as server:
            await tried_again.wait()
            assert (await http(Running(relay, server), "/readyz")).status == 503
    relay.dispose()


async def test_a_wrong_word_for_nats_is_told_and_nothing_is_accepted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from asyncmachine_relay import Cluster, RelayServer, bind

    word = tmp_path / "word"
    word.write_text("the word that NATS does not know")
    word.chmod(0o600)
    async with NatsServer(tmp_path / "nats", "--auth", "another word") as nats:
        bound = bind()
        cluster = Cluster(nats=(nats.url,), url=bound.origin, token_file=word)
        relay = Relay(origins=[bound.origin], secret=SECRET, cluster=cluster)
        with caplog.at_level(logging.INFO, "asyncmachine.relay"), said("uthorization") as refused:
            async with RelayServer(relay, bound) as server:
                await refused.wait()
                assert (await http(Running(relay, server), "/readyz")).status == 503
        relay.dispose()
        assert word.read_text() not in caplog.text


def leg_token(relay: str, secret: bytes = SECRET, *, at: float | None = None, target: str = "peers:page") -> str:
    """A leg's token for this relay."""
    tokens = Tokens(secret, QUIET)
    claims = Claims(Op.DIAL, "x~1", target, at or tokens.now + 10, os.urandom(12), os.urandom(16), EVERY_TUNNEL)
    return tokens.issue_leg(claims, relay)


async def test_legs_are_for_relays_only(tmp_path: Path) -> None:
    async with together(tmp_path) as all_of_them:
        here, there = all_of_them.relays
        name = here.relay._agreement.relay  # type: ignore[attr-defined]
        other = there.relay._agreement.relay  # type: ignore[attr-defined]
        async with through(here, "page", "listen", "peers") as page:
            await waits(here, "page")
            of_a_page = (await ask(here, "x", target="peers:page")).json["token"]
            for wrong in (
                of_a_page,
                leg_token(other),
                leg_token(name, b"the secret of other relays"),
                leg_token(name, at=1.0),
                "",
                "%",
            ):
                async with through(here, "x~1", "leg", "peers:page", using=wrong or "x") as forged:
                    assert await ending(forged) == (4401, "AUTH"), wrong
            async with through(here, "x~1", "leg", "peers:page", using=leg_token(name, target="no:page")) as lost:
                assert await ending(lost) == (4404, "TARGET")
            once = leg_token(name)
            async with through(here, "x", using=once) as as_a_page:
                assert await ending(as_a_page) == (4401, "AUTH")
            async with through(here, "x~1", "leg", "peers:page", using=once) as leg:
                await leg.send(b"x")
                assert await page.recv() == b"x"
                async with through(here, "x~1", "leg", "peers:page", using=once) as again:
                    assert await ending(again) == (4401, "AUTH")


async def test_no_leg_comes_from_elsewhere_and_none_goes_there(tmp_path: Path) -> None:
    """Without `proxies` no address is a relay's."""
    async with together(tmp_path, proxies=[]) as all_of_them:
        here, there = all_of_them.relays
        name = here.relay._agreement.relay  # type: ignore[attr-defined]
        async with through(here, "page", "listen", "peers"):
            await waits(here, "page")
            async with through(here, "x~1", "leg", "peers:page", using=leg_token(name)) as forged:
                assert await ending(forged) == (4403, "FORBIDDEN")
            async with through(there, "tool", target="peers:page") as tool:
                assert await ending(tool) == (1011, "UNREACHABLE")


async def test_legs_go_through_tls_to_a_relay_that_can_prove_its_name(tmp_path: Path) -> None:
    authority, foreign = trustme.CA(), trustme.CA()
    ours, theirs = tmp_path / "ours.pem", tmp_path / "theirs.pem"
    authority.cert_pem.write_to_path(ours)
    foreign.cert_pem.write_to_path(theirs)
    for ca_file, answers in ((ours, True), (theirs, False)):
        async with together(tmp_path / ca_file.stem, authority=authority, ca_file=ca_file) as all_of_them:
            here, there = all_of_them.relays
            async with through(here, "page", "listen", "peers") as page:
                await waits(here, "page")
                async with through(there, "tool", target="peers:page") as tool:
                    if not answers:
                        assert await ending(tool) == (1011, "UNREACHABLE")
                        continue
                    await tool.send(b"question")
                    assert await page.recv() == b"question"
                    await page.close()
                    assert await ending(tool) == (1000, "")


async def test_whoever_writes_into_nats_gets_no_id_and_redirects_no_call(tmp_path: Path) -> None:
    async with together(tmp_path) as all_of_them:
        here, there = all_of_them.relays
        registry = there.relay._agreement._registry  # type: ignore[attr-defined]
        bucket = registry._bucket
        async with through(here, "page", "listen", "peers"), through(here, "other", "listen", "peers"):
            await waits(here, "other")
            names = sorted(await bucket.keys())
            assert len(names) == 2
            entry = await bucket.get(names[0])
            await bucket.put(names[1], entry.value)  # an entry of another name
            for each in ("page", "other"):
                async with through(there, "tool", target=f"peers:{each}") as tool:
                    if (await ending_soon(tool)) == (1013, "AWAY"):
                        break
            else:
                raise AssertionError("a forged entry was believed")
            for name in names:
                await bucket.put(name, b"nonsense")
            for each in ("page", "other"):
                async with through(there, each, "listen", "peers") as stranger:
                    assert await ending(stranger) == (1013, "AWAY")
            there.relay._agreement.renew()  # type: ignore[attr-defined]
            here.relay._agreement.renew()  # type: ignore[attr-defined]
            await here.relay.machine.when(RelayStates.Agreed)
            await there.relay.machine.when(RelayStates.Agreed)
            async with through(there, "page", "listen", "peers") as stranger:  # who has it says so again
                assert await ending(stranger) == (4409, "DUPLICATE")


async def ending_soon(page: websockets.ClientConnection) -> tuple[int | None, str] | None:
    """How it ended, None if it lives."""
    try:
        async with asyncio.timeout(0.5):
            return await ending(page)
    except TimeoutError:
        return None


async def test_relays_whose_settings_differ_do_not_agree(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from asyncmachine_relay import Cluster, RelayServer, bind

    async with together(tmp_path, 1) as all_of_them:
        bound = bind()
        cluster = Cluster(nats=(all_of_them.nats.url,), url=bound.origin, lease=3)
        relay = Relay(origins=[bound.origin], secret=SECRET, cluster=cluster)
        async with RelayServer(relay, bound):
            while "give all relays the same lease" not in caplog.text:
                await asyncio.sleep(0.01)
            assert RelayStates.Agreed not in relay.machine
        relay.dispose()


def test_a_cluster_has_one_secret_and_one_address() -> None:
    from asyncmachine_relay import Cluster

    cluster = Cluster(nats=("nats://127.0.0.1:4222",), url="http://127.0.0.1:1")
    for given in ({"secret": SECRET}, {"origins": ["http://127.0.0.1:1"]}):
        with pytest.raises(RelayConfigError, match="need origins and a secret"):
            Relay(cluster=cluster, **given)
