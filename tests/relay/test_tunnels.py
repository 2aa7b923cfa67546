"""One id, one tunnel: who has it, who may take it over, and when it is free again."""

from __future__ import annotations

import asyncio

import pytest

from asyncmachine.rpc.transport import TransportClosed
from asyncmachine_relay import Limits, Match, RelayStates, Tunnel, TunnelArgs
from asyncmachine_relay.agreement import Alone, Hold
from asyncmachine_relay.tokens import Claims
from tests.relay.support import QUICK, Held, ask_token, echo, end_of, ending, opened, running, token


async def test_a_second_opener_is_told_the_id_is_taken_and_the_first_is_undisturbed() -> None:
    async with running() as run, opened(run) as first:
        async with opened(run) as second:
            assert await ending(second) == (4409, "DUPLICATE")
        await first.send(b"still here")
        assert await first.recv() == b"still here"
        assert [str(tunnel) for tunnel in run.relay.tunnels] == ["dial/browser1/orchestrator"]


async def test_the_ops_of_an_id_are_two_tunnels() -> None:
    async with running() as run, opened(run, op="listen") as listener, opened(run, op="dial") as caller:
        for page in (listener, caller):
            await page.send(b"x")
            assert await page.recv() == b"x"
        assert len(run.relay.tunnels) == 2


async def test_the_owner_takes_its_id_over_and_the_old_tunnel_ends_first() -> None:
    held = Held()
    async with running(dial=[held.match]) as run:
        answer = (await ask_token(run)).json
        async with opened(run, using=answer["token"]) as old:
            before = await held.tunnels.get()
            again = (await ask_token(run, secret=answer["resume"])).json
            assert again["resume"] == answer["resume"]
            async with opened(run, using=again["token"]) as new:
                assert await ending(old) == (4409, "DUPLICATE")
                closed = await end_of(before)
                assert (closed.code, closed.reason) == (4409, "DUPLICATE: its owner opened this id again")
                after = await held.tunnels.get()
                assert len(run.relay.tunnels) == 1
                assert held.most_at_a_time == 1
                await after.transport.send(b"for the new one")
                assert await new.recv() == b"for the new one"


async def test_a_chain_of_take_overs_leaves_the_last() -> None:
    held = Held()
    async with running(dial=[held.match]) as run:
        answer = (await ask_token(run)).json
        async with opened(run, using=answer["token"]) as first:
            using = [await token(run, secret=answer["resume"]) for _ in range(3)]
            async with (
                opened(run, using=using[0]) as second,
                opened(run, using=using[1]) as third,
                opened(run, using=using[2]) as last,
            ):
                for page in (first, second, third):
                    assert await ending(page) == (4409, "DUPLICATE")
                while True:
                    tunnel = await held.tunnels.get()
                    if not tunnel.transport.closed:
                        break
                await tunnel.transport.send(b"x")
                assert await last.recv() == b"x"
        assert held.most_at_a_time == 1


@pytest.mark.parametrize("secret", ["", "guess", "A" * 43])
async def test_nobody_else_takes_it_over(secret: str) -> None:
    async with running() as run, opened(run) as first:
        async with opened(run, using=await token(run, secret=secret)) as thief:
            assert await ending(thief) == (4409, "DUPLICATE")
        await first.send(b"x")
        assert await first.recv() == b"x"


async def test_the_secret_of_an_earlier_owner_earns_nothing_while_the_id_is_anothers() -> None:
    async with running() as run:
        earlier = (await ask_token(run)).json
        async with opened(run, using=earlier["token"]) as page:
            await page.close()
        async with opened(run) as owner:
            async with opened(run, using=await token(run, secret=earlier["resume"])) as page:
                assert await ending(page) == (4409, "DUPLICATE")
            await owner.send(b"x")
            assert await owner.recv() == b"x"


async def test_a_closed_tunnel_frees_its_id_while_its_matcher_still_cleans_up() -> None:
    cleaned = asyncio.Event()
    served: asyncio.Queue[Tunnel] = asyncio.Queue()

    async def slow_to_leave(tunnel: Tunnel) -> None:
        served.put_nowait(tunnel)
        await end_of(tunnel)
        await cleaned.wait()

    async with running(dial=[Match(".*", "orchestrator", slow_to_leave)], limits=Limits()) as run:
        async with opened(run) as page:
            await served.get()
        await run.relay.machine.when(RelayStates.TunnelDown)
        assert len(run.relay.tunnels) == 0
        async with opened(run) as page:
            assert len(run.relay.tunnels) == 1
            assert served.empty()  # one matcher at a time
            cleaned.set()
            await served.get()
            await page.close()


async def test_a_matcher_that_does_not_leave_is_cancelled() -> None:
    cancelled = asyncio.Event()

    async def stays(tunnel: Tunnel) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with running(dial=[Match(".*", "orchestrator", stays)], limits=QUICK) as run:
        async with opened(run):
            pass
        await cancelled.wait()


async def test_a_matcher_that_ignores_its_cancellation_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    let_go = asyncio.Event()
    served: asyncio.Queue[Tunnel] = asyncio.Queue()

    async def stays(tunnel: Tunnel) -> None:
        served.put_nowait(tunnel)
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    async with running(dial=[Match(".*", "orchestrator", stays)], limits=QUICK) as run:
        for _ in range(2):
            async with opened(run):
                await served.get()
        let_go.set()
    assert "the matcher of dial/browser1/orchestrator ignores its cancellation" in caplog.text


async def test_a_matcher_that_returns_ends_its_tunnel() -> None:
    async def once(tunnel: Tunnel) -> None:
        await tunnel.transport.send(await tunnel.transport.recv())

    async with running(dial=[Match(".*", "orchestrator", once)]) as run, opened(run) as page:
        await page.send(b"x")
        assert await page.recv() == b"x"
        assert await ending(page) == (1000, "")


async def test_a_matcher_that_raises_closes_the_tunnel_and_nothing_else_is_tried(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tried = []

    async def fails(tunnel: Tunnel) -> None:
        raise LookupError("a detail that is nobody's business")

    async def second(tunnel: Tunnel) -> None:
        tried.append(tunnel)

    matches = [Match(".*", "orchestrator", fails), Match(".*", "orchestrator", second)]
    async with running(dial=matches) as run, opened(run) as page:
        assert await ending(page) == (1011, "INTERNAL")
        assert "business" not in str(page.close_reason)
        await run.relay.machine.when(RelayStates.Exception)
        assert isinstance(run.relay.machine.err, LookupError)
        assert len(run.relay.tunnels) == 0
    assert tried == []
    assert "the matcher of dial/browser1/orchestrator failed" in caplog.text


async def test_a_matcher_that_raises_leaves_the_others_alone() -> None:
    async def fails(tunnel: Tunnel) -> None:
        await tunnel.transport.recv()
        raise LookupError

    matches = [Match("browser1", "orchestrator", fails), Match("browser2", "orchestrator", echo)]
    async with running(dial=matches) as run, opened(run, "browser1") as one, opened(run, "browser2") as two:
        await one.send(b"x")
        assert await ending(one) == (1011, "INTERNAL")
        await two.send(b"x")
        assert await two.recv() == b"x"


async def test_the_end_has_the_code_and_reason_of_who_closed() -> None:
    held = Held()
    async with running(dial=[held.match]) as run:
        async with opened(run) as page:
            tunnel = await held.tunnels.get()
            await page.close(4000, "bye")
        closed = await end_of(tunnel)
        assert (closed.code, closed.reason) == (4000, "bye")
        for use in (tunnel.transport.send(b"x"), tunnel.transport.recv()):
            with pytest.raises(TransportClosed, match="4000"):
                await use
        await tunnel.transport.close(4001)  # does nothing
        assert tunnel.transport.closed


async def test_a_page_that_vanishes_frees_its_id() -> None:
    held = Held()
    async with running(dial=[held.match]) as run:
        async with opened(run) as page:
            tunnel = await held.tunnels.get()
            page.transport.abort()
            assert (await end_of(tunnel)).code == 1006
        async with opened(run):
            await held.tunnels.get()


async def test_tunnels_come_and_go_in_the_machine() -> None:
    seen: list[tuple[str, TunnelArgs]] = []
    async with running() as run:
        machine = run.relay.machine

        def note(state: str):  # type: ignore[no-untyped-def]
            return lambda self, e: seen.append((state, e.args(TunnelArgs)))

        names = ["TunnelUp", "TunnelDown", "WsTunListenConn", "WsTunListenDisconn", "WsDialConn", "WsDialDisconn"]
        machine.bind(type("Notes", (), {f"{name}State": note(name) for name in names})())
        for op in ("listen", "dial", "dial"):
            down = machine.when_next_active(RelayStates.TunnelDown)
            async with opened(run, op=op) as page:
                await page.send(b"x")
                await page.recv()
            await down
    assert [state for state, _ in seen] == [
        *("TunnelUp", "WsTunListenConn", "TunnelDown", "WsTunListenDisconn"),
        *("TunnelUp", "WsDialConn", "TunnelDown", "WsDialDisconn") * 2,
    ]
    assert {(args.op, args.id, args.target) for _, args in seen} == {
        ("listen", "browser1", "orchestrator"),
        ("dial", "browser1", "orchestrator"),
    }


async def test_refused_tunnels_never_come_up() -> None:
    async with running(limits=QUICK) as run, opened(run), opened(run) as second:
        ticks = run.relay.machine.tick(RelayStates.TunnelUp)
        assert await ending(second) == (4409, "DUPLICATE")
        assert run.relay.machine.tick(RelayStates.TunnelUp) == ticks == 1


async def test_ends_that_cross_are_one_end() -> None:
    held = Held()
    async with running(dial=[held.match]) as run:
        for _ in range(20):
            async with opened(run) as page:
                tunnel = await held.tunnels.get()
                await asyncio.gather(page.close(4000), tunnel.transport.close(4001, "over"))
            down = run.relay.machine.when_query(lambda clock: len(run.relay.tunnels) == 0)
            await down


async def test_a_tunnel_that_others_are_still_asked_about_does_not_outlive_the_relay() -> None:
    class Slow(Alone):
        """Other relays that take their time."""

        def __init__(self) -> None:
            self.asked = asyncio.Event()
            self.answer = asyncio.Event()
            self.released: list[Hold] = []

        async def claim(self, claims: Claims) -> Hold:
            self.asked.set()
            await self.answer.wait()
            return await super().claim(claims)

        def release(self, hold: Hold) -> None:
            self.released.append(hold)

    others = Slow()
    async with running() as run:
        run.relay.tunnels._agreement = others
        async with opened(run) as page:
            await others.asked.wait()
            stopping = asyncio.create_task(run.server.stop())
            await run.relay.machine.when_not(RelayStates.HttpReady)
            others.answer.set()
            assert await ending(page) == (1001, "SHUTDOWN")
            await stopping
            assert [hold.key for hold in others.released] == [("dial", "browser1")]
        await run.server.start()
        async with opened(run) as page:
            await page.send(b"x")
            assert await page.recv() == b"x"
