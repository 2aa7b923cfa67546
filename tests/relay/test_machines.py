"""What a relay is for: machines on both sides of it, in sync. aRPC over real tunnels."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.states import ClientStates
from asyncmachine.rpc.transport import Transport
from asyncmachine.rpc.transport.websocket import connect
from asyncmachine_relay import Match, Tunnel, TunnelGrants
from tests.relay.support import Running, ask_token, running


class Counter(rpc.StateSource):
    """A source with a state that counts."""

    Start = am.state()
    Clicked = am.state(multi=True)


FAST = rpc.Backoff(first=0.02, cap=0.1)


def dialling(run: Running, op: str, id: str) -> Callable[[], Awaitable[Transport]]:
    """What a page does: a fresh token, then a tunnel; its resume secret proves that it is the same page."""
    secret = ""

    async def dial() -> Transport:
        nonlocal secret
        answer = (await ask_token(run, id, op, secret=secret)).json
        secret = answer["resume"]
        url = f"{run.origin.replace('http', 'ws')}/{op}/{id}/orchestrator"
        return await connect(url, subprotocols=("amrpc.v1", f"amtok.{answer['token']}"), origin=run.origin)

    return dial


async def test_a_page_calls_in_and_its_mirror_follows() -> None:
    source = am.Machine(Counter, id="orchestrator")
    server = rpc.Server(source, "page", push_interval=0)

    async def serve(tunnel: Tunnel) -> None:
        await server.serve(tunnel.transport)

    async with running(dial=[Match("browser1", "orchestrator", serve)]) as run:
        client = rpc.Client(dialling(run, "dial", "browser1"), schema=Counter, id="page", backoff=FAST)
        client.start()
        await client.when_ready()
        assert (await client.netmach.add(Counter.Clicked)).executed
        assert source.tick(Counter.Clicked) == client.netmach.tick(Counter.Clicked) == 1
        await client.stop()
    await server.stop()


async def test_the_process_calls_a_page_and_mirrors_it() -> None:
    page = am.Machine(Counter, id="browser1")
    server = rpc.Server(page, "browser1", push_interval=0)
    clients: asyncio.Queue[rpc.Client] = asyncio.Queue()

    async def serve(tunnel: Tunnel) -> None:
        client = rpc.Client.over(tunnel.transport, Counter, id=tunnel.id)
        clients.put_nowait(client)
        await client.run()

    async with running(listen=[Match("browser1", "orchestrator", serve)]) as run:
        server.listen(dialling(run, "listen", "browser1"))
        client = await clients.get()
        await client.when_ready()
        seen = client.netmach.when(Counter.Clicked)
        page.add(Counter.Clicked)
        await client.netmach.add(Counter.Start)
        await seen
        assert Counter.Start in page
        await server.stop()


async def test_both_come_back_after_the_listener_was_gone() -> None:
    source = am.Machine(Counter, id="orchestrator")
    outer = rpc.Server(source, "page", push_interval=0)
    page = am.Machine(Counter, id="browser1")
    inner = rpc.Server(page, "browser1", push_interval=0, backoff=FAST)
    clients: asyncio.Queue[rpc.Client] = asyncio.Queue()

    async def serve_page(tunnel: Tunnel) -> None:
        await outer.serve(tunnel.transport)

    async def call_page(tunnel: Tunnel) -> None:
        client = rpc.Client.over(tunnel.transport, Counter, id=tunnel.id)
        clients.put_nowait(client)
        await client.run()

    listen, dial = [Match("browser1", "orchestrator", call_page)], [Match("browser1", "orchestrator", serve_page)]
    async with running(listen=listen, dial=dial) as run:
        client = rpc.Client(dialling(run, "dial", "browser1"), schema=Counter, id="page", backoff=FAST)
        client.start()
        inner.listen(dialling(run, "listen", "browser1"))
        for round_number in range(1, 4):
            called = await clients.get()
            await asyncio.gather(client.when_ready(), called.when_ready())
            await client.netmach.add(Counter.Clicked)
            await called.netmach.add(Counter.Clicked)
            assert source.tick(Counter.Clicked) == page.tick(Counter.Clicked) == 2 * round_number - 1
            if round_number < 3:
                lost = client.machine.when_not(ClientStates.Ready), called.machine.when_not(ClientStates.Ready)
                await run.server.stop()
                await asyncio.gather(*lost)
                source.add(Counter.Start)  # while nobody hears it
                await run.server.start()
        assert Counter.Start in client.netmach
        await client.stop()
        await inner.stop()
    await outer.stop()


async def test_grants_of_the_relay_are_the_rights_at_the_source() -> None:
    source = am.Machine(Counter, id="orchestrator")
    server = rpc.Server(source, "page")

    async def serve(tunnel: Tunnel) -> None:
        await server.serve(tunnel.transport)

    reader = TunnelGrants(ids=("*",), targets=("*",), mutate=("Start",))
    async with running(dial=[Match("browser1", "orchestrator", serve)], authorize=lambda request: reader) as run:
        client = rpc.Client(dialling(run, "dial", "browser1"), schema=Counter, id="page", backoff=FAST)
        client.start()
        await client.when_ready()
        assert (await client.netmach.add(Counter.Start)).executed
        with pytest.raises(rpc.CallRefused, match="FORBIDDEN"):
            await client.netmach.add(Counter.Clicked)
        assert Counter.Clicked not in source
        await client.stop()
    await server.stop()
