"""What the leaves of repeaters know of the connections between them and the root."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.helpers.pipes import bind
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.codec import decode
from asyncmachine.rpc.features import UPSTREAM
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.states import ServerStates as S
from asyncmachine.rpc.transport.memory import Frame, pair
from asyncmachine.rpc.upstream import Upstream
from tests.rpc.test_repeaters import Link, chain, root
from tests.rpc.test_server import Raw, served


async def test_every_level_knows_that_a_repeater_is_cut_off_and_when_it_is_back() -> None:
    source = root()
    async with chain(source, 4) as links:
        assert all(link.client.live for link in links)
        lost = [link.client.machine.when(C.SourceAway) for link in links[2:]]
        await links[1].away()
        for wait in lost:
            await wait
        assert [link.client.live for link in links] == [True, False, False, False]
        assert all(link.client.machine.is_(C.Ready) for link in links[2:]), "their own connections work"
        source.add("B")
        await links[1].back()
        for link in links[2:]:
            await link.client.machine.when_not(C.SourceAway)
            await link.mirror.when("B")
        assert all(link.client.live for link in links)


async def test_a_leaf_that_comes_while_its_repeater_is_cut_off_is_never_live_meanwhile() -> None:
    async with chain(root(), 1) as (upper,):
        await upper.away()
        leaf = Link(upper.mirror, "leaf")
        lived: list[bool] = []
        leaf.client.machine.bind({"ReadyState": lambda e: lived.append(leaf.client.live)})
        await leaf.start()
        assert (lived, leaf.client.live) == ([False], False)
        await upper.back()
        await leaf.client.machine.when_not(C.SourceAway)
        assert leaf.client.live
        await leaf.stop()


async def test_a_leaf_of_a_mirror_that_was_never_connected_is_away() -> None:
    upper = Link(root(), "upper")
    leaf = Link(upper.mirror, "leaf")
    await leaf.start()
    assert leaf.client.machine.is_(C.Ready, C.SourceAway)
    await upper.start()
    await leaf.client.machine.when_not(C.SourceAway)
    await leaf.stop()
    await upper.stop()


async def test_a_leaf_that_lost_its_own_connection_only_says_that() -> None:
    async with chain(root()) as (upper, lower):
        await upper.away()
        await lower.client.machine.when(C.SourceAway)
        await lower.away()
        assert lower.client.machine.not_(C.Ready, C.SourceAway)
        await upper.back()
        await lower.back()
        assert lower.client.live
        await upper.away()
        await lower.client.machine.when(C.SourceAway)


async def test_a_leaf_that_goes_over_to_another_connection_learns_there_what_changed_meanwhile() -> None:
    lost = asyncio.Event()

    class Losing(Link):
        def _fault(self, frame: Frame) -> list[bytes]:
            if decode(frame.data) != m.Upstream(away=False):
                return [frame.data]
            lost.set()
            return []

    async with chain(root(), 1) as (upper,):
        lower = Losing(upper.mirror, "lower")
        await lower.start()
        await upper.away()
        await lower.client.machine.when(C.SourceAway)
        await upper.back()
        await lost.wait()
        assert not lower.client.live
        (served,) = lower.server._clients
        served.go_away(10.0)
        await lower.client.machine.when_not(C.SourceAway)
        await lower.stop()


async def test_a_machine_pipes_from_it() -> None:
    class Board(am.StatesDef):
        Old = am.state()

    board = am.Machine(Board, id="board")
    async with chain(root()) as (upper, lower):
        bind(lower.client.machine, C.SourceAway, board, Board.Old)
        await upper.away()
        await board.when(Board.Old)
        await upper.back()
        await board.when_not(Board.Old)


async def test_it_is_agreed_on_where_the_source_is_a_mirror_and_the_client_knows_it() -> None:
    knowing = m.Hello("amrpc", (1, 1), "rc-raw", features=(UPSTREAM,))
    async with chain(root(), 1) as (upper,), served() as on:
        assert (await on.client().handshake(knowing)).features == (), "a machine is away from nothing"
        await upper.away()
        server = rpc.Server(upper.mirror, "both", clients=2)
        ends = [pair() for _ in range(2)]
        serving = [asyncio.create_task(server.serve(near)) for near, _ in ends]
        new, old = (Raw(far) for _, far in ends)
        welcome = await new.handshake(knowing)
        assert (welcome.features, welcome.away) == ((UPSTREAM,), True)
        welcome = await old.handshake(replace(knowing, id="rc-old", features=()))
        assert (welcome.features, welcome.away) == ((), False)
        await upper.back()
        assert await new.hear() == m.Upstream(away=False)
        await old.say(m.SyncRequest(1))
        assert isinstance(await old.hear(), m.Full)
        await server.stop()
        await asyncio.wait(serving)


async def test_what_changes_between_welcome_and_ready_is_told_then() -> None:
    async with chain(root(), 1) as (upper,):
        server = rpc.Server(upper.mirror, "slow")
        near, far = pair()
        serving = asyncio.create_task(server.serve(near))
        client = Raw(far)
        await client.say(m.Hello("amrpc", (1, 1), "rc-raw", features=(UPSTREAM,)))
        welcome = await client.hear()
        assert isinstance(welcome, m.Welcome)
        assert not welcome.away
        await upper.client.stop()
        await client.say(m.Ready(welcome.session))
        assert await client.hear() == m.Upstream(away=True)
        await server.stop()
        await serving


async def test_whoever_leaves_is_not_told_any_more() -> None:
    async with chain(root()) as (upper, lower):
        link = upper.client.machine
        assert [each for each in link.tracers if isinstance(each, Upstream)]
        await lower.client.stop()
        await lower.server.machine.when_not(S.ClientConnected)
        assert not [each for each in link.tracers if isinstance(each, Upstream)]
