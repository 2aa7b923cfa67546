"""A client that makes its next connection while the server still has the one before: each call is taken on one of them.

What reaches the first one too late is not taken there, so that the client sends it again; what was taken there before
is answered on the next one. The convergence test has the same with whole clients.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.codec import decode, encode
from asyncmachine.rpc.transport import Listener, Transport
from asyncmachine.rpc.transport.backlog import Backlog
from tests.rpc.behaviour import HANG, Basic, Net, behaviour
from tests.rpc.situations import FaultyEnd


class Lingering(FaultyEnd):
    """A server's end that goes on hearing until it `may_close`, as one does of which the peer reads slowly."""

    def __init__(self, inner: Transport) -> None:
        super().__init__(inner, lambda found, data: (data,))
        self.may_close = asyncio.Event()
        self.heard: asyncio.Queue[m.AnyMessage] = asyncio.Queue()

    async def recv(self) -> bytes:
        data = await super().recv()
        self.heard.put_nowait(decode(data))
        return data

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self.may_close.wait()
        await super().close(code, reason)


class Door:
    """A listener at which connections of a net arrive."""

    def __init__(self, net: Net) -> None:
        self.address = "door"
        self._net = net
        self._arrived = Backlog()

    async def listen(self) -> Listener:
        return self

    async def connect(self) -> tuple[Lingering, Transport]:
        """A new connection: what the server has of it, and the client's end."""
        near, far = await self._net.connect()
        lingering = Lingering(near)
        self._arrived.put(lingering)
        return lingering, far

    async def accept(self) -> Transport:
        return await self._arrived.get()

    async def close(self) -> None:
        await self._arrived.end()


async def say(end: Transport, *messages: m.Message) -> None:
    for message in messages:
        await end.send(encode(message))


async def hear(end: Transport) -> m.AnyMessage:
    async with asyncio.timeout(HANG):
        return decode(await end.recv())


class Twice:
    """A client made of single messages, welcomed on one connection, which then makes another one."""

    def __init__(self, door: Door) -> None:
        self.session = b""
        self._door = door
        self._ends: list[tuple[Lingering, Transport]] = []

    async def begin(self) -> None:
        self._ends.append(await self._door.connect())
        await say(self.first, m.Hello(m.MAGIC, (1, 1), "rc-twice"))
        welcome = await hear(self.first)
        assert isinstance(welcome, m.Welcome)
        self.session = welcome.session
        await self.tell_first(m.Ready(self.session))

    @property
    def first(self) -> Transport:
        return self._ends[0][1]

    @property
    def next(self) -> Transport:
        return self._ends[1][1]

    async def tell_first(self, message: m.Message) -> None:
        """Says something on the first connection, and returns when it has come to the server."""
        await say(self.first, message)
        near = self._ends[0][0]
        async with asyncio.timeout(HANG):
            while await near.heard.get() != message:
                pass

    async def come_again(self) -> m.Welcome:
        """Continues the session on the next connection, which is welcomed but not ready."""
        self._ends.append(await self._door.connect())
        await say(self.next, m.Hello(m.MAGIC, (1, 1), "rc-twice", resume=m.Resume(self.session)))
        again = await hear(self.next)
        assert isinstance(again, m.Welcome)
        assert again.resumed
        return again

    async def leave(self) -> None:
        for near, far in self._ends:
            near.may_close.set()
            await far.close()


@asynccontextmanager
async def twice(net: Net, kind: str, handlers: object) -> AsyncIterator[tuple[Twice, am.Machine[Any]]]:
    """The client, and the source behind a server or a mux."""
    source: am.Machine[Any] = am.Machine(Basic, handlers, id="source")
    door = Door(net)
    if kind == "mux":
        mux = rpc.Mux(source, door.listen, push_interval=0)
        mux.start()
        stop: Any = mux.stop
    else:
        server = rpc.Server(source, "test", push_interval=0)
        server.serve_at(door.listen)
        stop = server.stop
    client = Twice(door)
    await client.begin()
    yield client, source
    await client.leave()
    await stop()


async def calls_reach_the_first(net: Net, kind: str) -> None:
    runs: list[int] = []
    async with twice(net, kind, {"AskState": lambda e: runs.append(e.raw_args["n"])}) as (client, source):
        ask = (source.names.index("Ask"),)
        assert (await client.come_again()).received == 0
        call, told = m.Add(1, ask, {"n": 1}), m.AddUnanswered(2, ask, {"n": 2})
        await client.tell_first(call)
        await client.tell_first(told)
        assert runs == []
        await say(client.next, m.Ready(client.session), call, told, m.Ping(1))
        answer, pong = await hear(client.next), await hear(client.next)
        assert isinstance(answer, m.Result)
        assert (answer.id, answer.result) == (1, 0)
        assert isinstance(pong, m.Pong)
        assert pong.received == 2
        assert runs == [1, 2]


@behaviour
async def a_call_that_reaches_a_replaced_connection_is_taken_on_the_next_one(net: Net) -> None:
    await calls_reach_the_first(net, "server")


@behaviour
async def behind_a_mux_too_a_call_that_reaches_a_replaced_connection_is_taken_on_the_next_one(net: Net) -> None:
    await calls_reach_the_first(net, "mux")


async def calls_were_taken_on_the_first(net: Net, kind: str) -> None:
    at_work, go_on, runs = threading.Event(), threading.Event(), []

    def works(e: am.Event) -> None:
        at_work.set()
        go_on.wait(HANG)

    handlers = {"AState": works, "AskState": lambda e: runs.append(e.raw_args["n"])}
    async with twice(net, kind, handlers) as (client, source):
        ask = (source.names.index("Ask"),)
        await client.tell_first(m.Add(1, ask, {"n": 1}))
        thread = threading.Thread(target=source.add, args=("A",))
        thread.start()
        await asyncio.to_thread(at_work.wait, HANG)
        await client.tell_first(m.Add(2, ask, {"n": 2}))
        assert (await client.come_again()).received == 2
        # As a client asks for the answers of calls that have arrived.
        await say(client.next, m.Ready(client.session), m.Add(1, ()), m.Add(2, ()))
        first = await hear(client.next)
        assert runs == [1]
        go_on.set()
        second = await hear(client.next)
        for number, answer in ((1, first), (2, second)):
            assert isinstance(answer, m.Result)
            assert (answer.id, answer.result) == (number, 0)
        await asyncio.to_thread(thread.join)
        assert runs == [1, 2]


@behaviour
async def a_call_that_was_taken_before_is_answered_on_the_next_connection(net: Net) -> None:
    """One that is still running there, and one of which the answer went to the first connection."""
    await calls_were_taken_on_the_first(net, "server")


@behaviour
async def behind_a_mux_too_a_call_that_was_taken_before_is_answered_on_the_next_connection(net: Net) -> None:
    await calls_were_taken_on_the_first(net, "mux")
