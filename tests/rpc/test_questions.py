"""What a client asks without changing anything: would the source accept this, and which arguments does it take?"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.codec import decode, encode
from asyncmachine.rpc.errors import Misuse, PeerFault
from asyncmachine.rpc.features import ASK
from asyncmachine.rpc.questions import arg_names
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.transport.memory import MemoryTransport
from tests.rpc.behaviour import NEVER, Basic, below, paired
from tests.rpc.duo import HELLO, Duo, ready, welcome
from tests.rpc.nets import MemoryNet
from tests.rpc.test_client import dial_into
from tests.rpc.test_client import welcome as told
from tests.rpc.test_server import served
from tests.rpc.time_loop import run


@dataclass(frozen=True)
class Paint(am.Args, state="B", prefix="questions"):
    colour: str
    coats: int = 1


@dataclass(frozen=True)
class Wash(am.Args, state="C", prefix="questions"):
    soap: bool = False


def asked(e: am.Event) -> bool:
    return bool(e.raw_args.get("please"))


async def test_a_dry_run_asks_the_handlers_of_the_source_and_changes_nothing() -> None:
    async with paired(MemoryNet(), Basic, {"AskEnter": asked, "AExit": lambda e: False}) as pair:
        assert (await pair.mirror.can_add_remote("Ask", please=True)).executed
        assert await pair.mirror.can_add_remote("Ask") == am.Result.refused(""), "why not is not told"
        assert pair.mirror.can_add("Ask").executed, "the relations alone would let it pass"
        await pair.mirror.add("A")
        assert not (await pair.mirror.can_remove_remote("A")).executed
        assert (await pair.mirror.can_remove_remote("B")).executed
        assert pair.source.tick("Ask") == 0
        assert "A" in pair.source
        pair.assert_equal()
        assert pair.client.statistics.calls == 1, "a question is no call"


async def test_a_mirror_of_a_mirror_asks_the_source_itself() -> None:
    async with (
        paired(MemoryNet(), Basic, {"AskEnter": asked}) as pair,
        below(MemoryNet(), pair.mirror, Basic) as leaf,
    ):
        assert not (await leaf.can_add_remote("Ask")).executed
        assert (await leaf.can_add_remote("Ask", please=True)).executed


async def test_who_may_not_mutate_may_not_ask() -> None:
    def allow(id: str, token: str, peer: rpc.Peer) -> rpc.Grants:
        return rpc.Grants(mutate=("A",))

    async with paired(MemoryNet(), Basic, allow=allow) as pair:
        assert (await pair.mirror.can_add_remote("A")).executed
        with pytest.raises(rpc.CallRefused, match="may not add B"):
            await pair.mirror.can_add_remote("B")


async def test_arguments_are_listed_for_the_states_that_are_followed() -> None:
    async with paired(MemoryNet(), Basic) as pair:
        names = await pair.client.arg_names()
        assert {"B.colour", "B.coats", "C.soap"} <= set(names)
        assert not [name for name in names if name.startswith("Exception.")]
    async with paired(MemoryNet(), Basic, client={"allowed": ("B",)}) as pair:
        assert [name for name in await pair.client.arg_names() if name.partition(".")[0] != "B"] == []


def test_each_name_is_listed_once() -> None:
    assert arg_names(["B", "B"]) == ("B.colour", "B.coats")
    assert arg_names([]) == ()


async def test_a_question_without_an_answer_is_asked_again_in_the_next_connection() -> None:
    net = MemoryNet()
    async with paired(net, Basic, {"AskEnter": asked}) as pair:
        net.cut()
        answer = pair.mirror.can_add_remote("Ask", please=True)
        assert (await answer).executed


async def test_nobody_is_asked_without_a_connection() -> None:
    net = MemoryNet()
    async with paired(net, Basic, backoff=NEVER) as pair:
        answer = pair.mirror.can_add_remote("A")
        await pair.client.stop()
        with pytest.raises(rpc.NotConnected):
            await answer
        with pytest.raises(rpc.NotConnected):
            await pair.client.arg_names()
        with pytest.raises(am.StateMissing):
            pair.mirror.can_add_remote("Nonsense")


def test_the_time_for_an_answer_does_not_begin_anew_with_each_connection() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        ends: list[MemoryTransport] = []
        steady = rpc.Backoff(first=1.0, cap=1.0, jitter=0.0)
        client = rpc.Client(dial_into(ends), reconnect=True, backoff=steady)
        client.start()
        asking: asyncio.Task[Any] | None = None
        for cut_at in (40.0, 55.0, 70.0):
            await client.machine.when(C.Connected)
            assert isinstance(decode(await ends[-1].recv()), m.Hello)
            await ends[-1].send(encode(told(features=(ASK,))))
            await client.machine.when(C.Ready)
            asking = asking or asyncio.create_task(client.arg_names())
            assert isinstance(decode(await ends[-1].recv()), m.Ready)
            assert decode(await ends[-1].recv()) == m.ArgsRequest(1), "it is asked again in each connection"
            done, _ = await asyncio.wait([asking], timeout=cut_at - loop.time())
            if done:
                break
            ends[-1].cut()
            await client.machine.when_not(C.Connected)
        assert loop.time() == 60.0
        assert asking is not None
        with pytest.raises(rpc.CallTimedOut, match="within the time for a question"):
            await asking
        await client.stop()

    run(body())


async def test_wrong_questions_are_answered_with_a_reason() -> None:
    async with served() as on:
        client = on.client()
        await client.handshake(replace(HELLO, id="rc-raw"))
        await client.say(m.Can(1, (99,)), m.Can(2, (1,), args={0: "no record"}))
        codes = []
        for _ in range(2):
            reply = await client.hear()
            assert isinstance(reply, m.Reply)
            codes.append((reply.id, reply.code))
        assert codes == [(1, "NO_STATE"), (2, "BAD_ARGS")]


def test_a_server_that_does_not_know_questions_is_not_asked() -> None:
    duo = Duo()
    features = tuple(name for name in HELLO.features if name != ASK)
    duo.client.hello(HELLO)
    duo.to_server()
    duo.server.welcome(replace(welcome(duo.first), features=features), duo.now)
    duo.to_client()
    duo.client.ready(duo.now)
    duo.client.outgoing()
    for ask in (duo.client.ask_args, lambda: duo.client.can("add", (0,), None)):
        with pytest.raises(Misuse, match="does not know"):
            ask()
    assert duo.client.outgoing() == []


def test_an_answer_to_what_was_not_asked_is_a_fault() -> None:
    duo = ready()
    with pytest.raises(PeerFault, match="question 1, which was not asked"):
        duo.client.receive(encode(m.Reply(1)), duo.now)


async def test_from_another_thread() -> None:
    async with paired(MemoryNet(), Basic, {"AskEnter": asked}) as pair:

        def elsewhere() -> tuple[Any, tuple[str, ...]]:
            can = pair.mirror.can_add_remote("Ask", please=True).wait(5)
            return can, asyncio.run(pair.client.arg_names())

        can, names = await asyncio.get_running_loop().run_in_executor(None, elsewhere)
        assert can.executed
        assert "B.colour" in names
