"""Waits for arguments that cannot be sent, or are too many: they end themselves, never the connection."""

from __future__ import annotations

import asyncio
from typing import Any
from zlib import compress

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc import messages as m
from asyncmachine.rpc import sessions as kept_sessions
from asyncmachine.rpc import values, watching
from asyncmachine.rpc.codec import encode
from asyncmachine.rpc.errors import CallRefused, Code, TooLarge
from asyncmachine.rpc.served import ServedClient
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.states import ServerStates as S
from asyncmachine.rpc.transport import MAX_FRAME, Transport
from tests.rpc.behaviour import Basic, paired
from tests.rpc.nets import memory
from tests.rpc.test_server import HELLO, Raw, Served, served

LARGE = "x" * 400_000


def waits_of(source: am.Machine[Any]) -> int:
    return len(source._subscriptions().args)


def served_client(on: Served) -> ServedClient:
    (found,) = on.server._clients
    return found


async def test_arguments_too_large_for_a_frame_are_refused_where_they_are_given() -> None:
    async with memory() as net, paired(net) as pair:
        with pytest.raises(TooLarge, match="WhenArgs takes"):
            pair.mirror.when_args("Ask", x="x" * MAX_FRAME)
        assert len(pair.mirror._subscriptions().args) == 0
        net.cut()
        await pair.client.machine.when_not(C.Connected)
        await pair.client.when_ready()


async def test_also_when_there_is_no_connection_yet() -> None:
    async def nowhere() -> Transport:
        raise OSError

    client = rpc.Client(nowhere, Basic, id="early")
    client.start()
    with pytest.raises(TooLarge):
        client.netmach.when_args(Basic.Ask, x="x" * MAX_FRAME)
    assert len(client.netmach._subscriptions().args) == 0
    await client.stop()


async def test_before_the_start_nothing_is_waited_for() -> None:
    async def nowhere() -> Transport:
        raise OSError

    client = rpc.Client(nowhere, Basic, id="early")
    with pytest.raises(rpc.NotConnected):
        client.netmach.when_args(Basic.Ask, x=1)
    assert len(client.netmach._subscriptions().args) == 0


async def test_what_is_waited_for_stays_as_it_was_when_the_wait_began() -> None:
    async with memory() as net, paired(net) as pair:
        grows = bytearray(b"x")
        wait, other = pair.mirror.when_args("Ask", n=grows), pair.mirror.when_args("Ask", n=2)
        await pair.client.sync()
        grows.extend(bytes(MAX_FRAME))
        net.cut()
        await pair.client.machine.when_not(C.Connected)
        await pair.client.when_ready()
        await pair.mirror.add("Ask", n=b"x")
        await pair.mirror.add("Ask", n=2)
        await wait
        await other


async def test_arguments_are_packed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    packed: list[object] = []

    def encode_value(value: object) -> bytes:
        packed.append(value)
        return values.encode_value(value)

    monkeypatch.setattr(watching, "encode_value", encode_value)
    async with memory() as net, paired(net) as pair:
        wait = pair.mirror.when_args("Ask", n=1)
        net.cut()
        await pair.client.machine.when_not(C.Connected)
        await pair.client.when_ready()
        await pair.mirror.add("Ask", n=1)
        await wait
    assert packed == [{"n": 1}]


async def test_the_waits_of_a_client_have_a_size_together() -> None:
    async with memory() as net, paired(net) as pair:
        waits = [pair.mirror.when_args("Ask", n=n, x=LARGE) for n in range(3)]
        with pytest.raises(CallRefused, match=f"no more than {watching.BYTES}") as caught:
            await waits[2]
        assert caught.value.code == Code.RATE
        waits[0].cancel()
        again = pair.mirror.when_args("Ask", n=3, x=LARGE)
        await pair.client.sync()
        assert not again.done()
        pair.source.add("Ask", n=1, x=LARGE)
        await waits[1]
        await pair.client.sync()
        (client,) = pair.server._clients
        assert client.watched.size == len(encode(m.WhenArgs(4, 0, {"n": 3, "x": LARGE})))


async def test_there_are_only_so_many_waits_of_a_client() -> None:
    async with served() as on:
        client = on.client()
        await client.handshake()
        await client.say(*(m.WhenArgs(n, 0) for n in range(1, watching.LIMIT + 2)))
        refused = await client.hear()
        assert isinstance(refused, m.WhenFired)
        assert (refused.token, refused.code) == (watching.LIMIT + 1, Code.RATE)
        assert waits_of(on.source) == watching.LIMIT


async def test_a_wait_that_is_sent_again_is_counted_once() -> None:
    async with served() as on:
        client = on.client()
        welcome = await client.handshake()
        wait = m.WhenArgs(1, 0, {"x": LARGE})
        for _ in range(2):
            await client.say(wait)
        await client.say(m.SyncRequest(1))
        assert isinstance(await client.hear(), m.Full)
        assert served_client(on).watched.size == len(encode(wait))
        await client.end.close()
        await on.server.machine.when_not(S.ClientConnected)
        client = on.client()
        await client.handshake(resuming(welcome))
        await client.say(wait, m.SyncRequest(1))
        assert isinstance(await client.hear(), m.Full)
        assert served_client(on).watched.size == len(encode(wait))
        await client.say(m.WhenCancel(1), m.SyncRequest(2))
        await client.hear()
        found = served_client(on)
        assert (found.watched.size, found.watched.weight, waits_of(on.source)) == (0, 0, 0)


async def test_a_wait_that_was_compressed_counts_as_what_it_is() -> None:
    async with served(compression=True) as on:
        client = on.client()
        await client.handshake(m.Hello("amrpc", (1, 1), "rc-raw", features=("zlib",)))
        wait = encode(m.WhenArgs(1, 0, {"x": LARGE}))
        await client.say(m.Compressed(compress(wait)), m.SyncRequest(1))
        await client.hear()
        assert served_client(on).watched.size == len(wait)


async def test_the_heaviest_of_the_sessions_that_are_kept_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_sessions, "BYTES", 1_000_000)
    async with served(clients=9) as on:
        for number, size in enumerate((10, 400_000, 300_000, 20, 500_000)):
            await park(on, f"rc-{number}", m.WhenArgs(1, 0, {"x": "x" * size}))
        assert waits_of(on.source) == 4
        kept = on.server._sessions
        assert [client.id for client, _, _ in kept._kept.values()] == ["rc-0", "rc-1", "rc-2", "rc-3"]
        assert kept._weight == sum(client.weight for client, _, _ in kept._kept.values())
        kept.clear()
        assert (kept._weight, waits_of(on.source)) == (0, 0)


async def test_names_that_it_asks_for_and_errors_it_has_caused_weigh_as_well() -> None:
    async with served(clients=9) as on:
        hello = m.Hello("amrpc", (1, 1), "rc-names", sync=m.Sync(allowed=("A", "Nowhere"), skipped=("B",)))
        await park(on, "rc-names", m.Add(1, (99,)), hello=hello)
        ((client, _, weight),) = on.server._sessions._kept.values()
        assert weight == client.weight == 4 * 64


async def test_a_session_that_cannot_be_welcomed_any_more_leaves_no_waits() -> None:
    async with served() as on:
        client = on.client()
        welcome = await client.handshake()
        await client.say(m.WhenArgs(1, 0, {"n": 1}), m.SyncRequest(1))
        await client.hear()
        assert waits_of(on.source) == 1
        await client.end.close()
        await on.server.machine.when_not(S.ClientConnected)
        on.source.set_schema({**on.source.schema, "x" * 256: {}})
        client = on.client()
        await client.say(resuming(welcome))
        refused = await client.hear()
        assert isinstance(refused, m.Reject)
        assert (refused.code, refused.retry_after) == (Code.INTERNAL, None)
        assert waits_of(on.source) == 0


async def test_a_wait_that_a_mirror_cannot_pass_on_is_refused() -> None:
    async def nowhere() -> Transport:
        raise OSError

    between = rpc.Client(nowhere, Basic, id="between")
    async with memory() as net:
        near, far = await net.connect()
        server = rpc.Server(between.netmach, "between")
        serving = rpc.Client.over(far, Basic, id="leaf")
        task = asyncio.create_task(server.serve(near))
        serving.start()
        await serving.when_ready()
        with pytest.raises(CallRefused, match="has not been started") as caught:
            await serving.netmach.when_args(Basic.Ask, n=1)
        assert caught.value.code == Code.NOT_EXECUTED
        assert C.Ready in serving.machine
        await serving.stop()
        await server.stop()
        await task


def resuming(welcome: m.Welcome) -> m.Hello:
    return m.Hello("amrpc", (1, 1), HELLO.id, resume=m.Resume(welcome.session, welcome.epoch))


async def park(on: Served, id: str, *said: m.Message, hello: m.Hello | None = None) -> None:
    """A client that says something, and loses its connection."""
    client: Raw = on.client()
    await client.handshake(hello or m.Hello("amrpc", (1, 1), id))
    await client.say(*said, m.SyncRequest(1))
    while not isinstance(await client.hear(), m.Full):
        pass
    await client.end.close()
    await on.server.machine.when_not(S.ClientConnected)


async def test_a_wait_ends_with_its_source() -> None:
    async with memory() as net, paired(net) as pair:
        waiting = pair.mirror.when_args(Basic.Ask, x=1)
        assert (await pair.client.sync()).executed
        pair.source.dispose()
        with pytest.raises(CallRefused, match="has been disposed") as refused:
            await waiting
        assert refused.value.code == Code.CANCELED
