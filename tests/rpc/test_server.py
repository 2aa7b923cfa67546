"""What a server does by itself: let clients in or not, listen through a relay, push at the right time, stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc import events as e
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.codec import decode, encode
from asyncmachine.rpc.errors import Code
from asyncmachine.rpc.states import ClientInfo
from asyncmachine.rpc.states import ServerStates as S
from asyncmachine.rpc.transport import Transport, TransportClosed
from asyncmachine.rpc.transport.memory import MemoryTransport, pair
from tests.rpc.behaviour import Basic
from tests.rpc.time_loop import run

HELLO = m.Hello("amrpc", (1, 1), "rc-raw")


class Raw:
    """A client made of single messages."""

    def __init__(self, end: MemoryTransport) -> None:
        self.end = end

    async def say(self, *messages: m.Message) -> None:
        for message in messages:
            await self.end.send(encode(message))

    async def hear(self) -> m.AnyMessage:
        return decode(await self.end.recv())

    async def handshake(self, hello: m.Hello = HELLO) -> m.Welcome:
        await self.say(hello)
        welcome = await self.hear()
        assert isinstance(welcome, m.Welcome)
        await self.say(m.Ready(welcome.session))
        return welcome

    async def closed(self) -> TransportClosed:
        try:
            while True:
                await self.end.recv()
        except TransportClosed as closed:
            return closed


class Served:
    """A server to talk to in single messages."""

    def __init__(self, **options: Any) -> None:
        self.source: am.Machine[Any] = am.Machine(options.pop("states", Basic), id="source")
        self.server = rpc.Server(self.source, "raw", **options)
        self.tasks: list[asyncio.Task[TransportClosed]] = []

    def client(self) -> Raw:
        near, far = pair()
        self.tasks.append(asyncio.create_task(self.server.serve(near)))
        return Raw(far)


@asynccontextmanager
async def served(**options: Any) -> AsyncIterator[Served]:
    found = Served(**options)
    yield found
    await found.server.stop()
    if found.tasks:
        await asyncio.wait(found.tasks)
    assert found.source.tracers == ()


async def test_the_states_of_a_session() -> None:
    async with served() as on:
        seen: list[str] = []
        for state in ("ClientConnected", "Handshaking", "HandshakeDone", "Ready"):
            on.server.machine.bind(
                {f"{state}State": lambda e: seen.append(e.state), f"{state}End": lambda e: seen.append(f"-{e.state}")}
            )
        client = on.client()
        await on.server.machine.when(S.RpcReady)
        assert on.server.machine.active_states() == ("Start", "RpcReady")
        welcome = await client.handshake()
        await on.server.machine.when(S.Ready)
        assert seen == ["ClientConnected", "Handshaking", "-Handshaking", "HandshakeDone", "Ready"]
        assert on.server.client_ids == ("rc-raw",)
        assert (welcome.source, welcome.version, welcome.epoch > 0) == ("source", 1, True)
        seen.clear()
        await client.end.close()
        await on.server.machine.when_not(S.ClientConnected)
        assert seen == ["-ClientConnected", "-HandshakeDone", "-Ready"]
        assert not on.server.client_ids


async def test_who_the_client_is_comes_with_the_state() -> None:
    async with served() as on:
        infos: list[ClientInfo] = []
        on.server.machine.bind({"ClientConnectedState": lambda e: infos.append(e.args(ClientInfo))})
        await on.client().handshake()
        await on.server.machine.when(S.Ready)
        assert infos == [ClientInfo("rc-raw", "a")]


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"\xc1",
        b"garbage",
        encode(m.Ready(b"x")),
        encode(m.Add(1, (0,))),
        encode(m.SyncRequest(1)),
        encode(m.Ping(1)),
    ],
    ids=["empty", "c1", "garbage", "READY", "ADD", "SYNC", "PING"],
)
async def test_nothing_but_hello_is_answered_first(first: bytes) -> None:
    async with served() as on:
        client = on.client()
        await client.end.send(first)
        await client.end.send(encode(HELLO))
        with pytest.raises(TransportClosed) as caught:
            await client.end.recv()
        assert caught.value.code == 4400
        assert caught.value.reason.startswith("BAD_FRAME: ")
        assert on.server.machine.tick(S.ClientConnected) == 0
        assert on.server.machine.tick(S.Exception) == 0, "a stranger's garbage is no error of the server"


async def test_requests_between_welcome_and_ready_close_the_connection() -> None:
    async with served() as on:
        client = on.client()
        await client.say(HELLO)
        await client.hear()
        await client.say(m.Add(1, (1,)))
        assert (await client.closed()).code == 4400
        assert on.source.queue_tick == 1


async def test_after_a_refusal_nothing_is_answered_any_more() -> None:
    async with served(allow=lambda *_: None) as on:
        client = on.client()
        await client.say(HELLO, HELLO, m.Ready(b"x"), m.Add(1, (1,)), m.SyncRequest(2))
        assert await client.hear() == m.Reject("FORBIDDEN", "rc-raw is not let in")
        with pytest.raises(TransportClosed) as caught:
            await client.hear()
        assert (caught.value.code, caught.value.reason) == (4403, "FORBIDDEN: rc-raw is not let in")


@pytest.mark.parametrize("versions", [(0, 0), (2, 9)])
async def test_a_version_that_is_not_spoken(versions: tuple[int, int]) -> None:
    async with served() as on:
        client = on.client()
        await client.say(m.Hello("amrpc", versions, "x"))
        rejected = await client.hear()
        assert isinstance(rejected, m.Reject)
        assert (rejected.code, rejected.retry_after) == ("VERSION", None)
        assert (await client.closed()).code == 4406


async def test_every_server_of_one_source_tells_the_same_epoch() -> None:
    source: am.Machine[Any] = am.Machine(Basic)
    epochs: set[int] = set()
    for machine in (source, source, am.Machine(Basic)):
        near, far = pair()
        server = rpc.Server(machine)
        serving = asyncio.create_task(server.serve(near))
        epochs.add((await Raw(far).handshake()).epoch)
        await server.stop()
        await serving
    assert len(epochs) == 2


async def test_a_decision_that_fails_is_an_error_of_the_server_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    def allow(id: str, token: str, peer: rpc.Peer) -> rpc.Grants | None:
        raise LookupError("no database")

    async with served(allow=allow) as on:
        client = on.client()
        await client.say(HELLO)
        rejected = await client.hear()
        assert isinstance(rejected, m.Reject)
        assert (rejected.code, rejected.retry_after) == ("INTERNAL", 1.0)
        assert "database" not in rejected.message
        assert isinstance(on.server.machine.err, LookupError)
    (record,) = (one for one in caplog.records if one.name == "asyncmachine.rpc")
    assert record.levelname == "ERROR" and "'rc-raw' is not let in" in record.getMessage()
    assert "no database" in caplog.text and "in allow" in caplog.text


async def test_only_the_session_itself_can_be_taken_over() -> None:
    async with served() as on:
        first = on.client()
        welcome = await first.handshake()
        for resume in (None, m.Resume(b"guessed!")):
            other = on.client()
            await other.say(m.Hello("amrpc", (1, 1), "rc-raw", resume=resume))
            rejected = await other.hear()
            assert isinstance(rejected, m.Reject)
            assert rejected.code == "BUSY"
            assert (await other.closed()).code == 4409
        again = on.client()
        await again.handshake(m.Hello("amrpc", (1, 1), "rc-raw", resume=m.Resume(welcome.session, welcome.epoch)))
        assert (await first.closed()).code == 4410
        await on.server.machine.when(S.Ready)


async def test_a_connection_that_was_replaced_takes_nothing_any_more() -> None:
    """Calls that were on their way to it are run where they are sent again; `replacing` has it on other transports."""
    async with served(push_interval=0) as on:
        first, again = on.client(), on.client()
        welcome = await first.handshake()
        await on.server.machine.when(S.Ready)
        ask = (on.source.names.index("Ask"),)
        await again.say(m.Hello("amrpc", (1, 1), "rc-raw", resume=m.Resume(welcome.session, welcome.epoch)))
        await first.say(m.Add(1, ask), m.AddUnanswered(2, ask), m.Ping(7))
        continued = await again.hear()
        assert isinstance(continued, m.Welcome)
        assert (continued.resumed, continued.received) == (True, 0)
        assert (await first.closed()).code == 4410
        assert on.source.tick("Ask") == 0
        await again.say(m.Ready(welcome.session), m.Add(1, ask), m.AddUnanswered(2, ask), m.Ping(1))
        assert isinstance(await again.hear(), m.Result)
        assert await again.hear() == m.Pong(1, 0.0, 2)
        assert on.source.tick("Ask") == 3


async def test_a_session_that_was_lost_goes_on_for_its_own_client_alone() -> None:
    async with served() as on:
        first = on.client()
        welcome = await first.handshake()
        gone = on.server.machine.when_not(S.ClientConnected)
        await first.end.close()
        await gone
        resume = m.Resume(welcome.session, welcome.epoch)
        thief = on.client()
        assert not (await thief.handshake(m.Hello("amrpc", (1, 1), "rc-thief", resume=resume))).resumed
        gone = on.server.machine.when_not(S.ClientConnected)
        await thief.end.close()
        await gone
        again = on.client()
        assert (await again.handshake(m.Hello("amrpc", (1, 1), "rc-raw", resume=resume))).resumed


async def test_a_welcome_that_no_frame_can_hold_is_refused_for_good() -> None:
    names = [f"Warehouse{number:06}Shelf{'x' * 20}" for number in range(30_000)]
    async with served(states={"Exception": {"multi": True}, **{name: {} for name in names}}) as on:
        client = on.client()
        await client.say(HELLO)
        no = await client.hear()
        assert isinstance(no, m.Reject)
        assert (no.code, no.retry_after) == (Code.TOO_LARGE, None)
        assert "let it follow fewer states" in no.message
        assert (await client.closed()).code == 1009


async def test_a_call_that_has_waited_beyond_its_time_is_not_run() -> None:
    async with served() as on:
        client = on.client()
        await client.handshake()
        await on.server.machine.when(S.Ready)
        (known,) = on.server._clients
        known.run(e.MutationRequested(1, "add", (on.source.index("A"),), None, None, expires=0.0))
        refused = await client.hear()
        assert isinstance(refused, m.Error)
        assert refused.code == "DEADLINE"
        assert "A" not in on.source


async def test_a_state_number_that_is_not_there() -> None:
    async with served() as on:
        client = on.client()
        await client.handshake()
        await client.say(m.Add(1, (99,)))
        refused = await client.hear()
        assert isinstance(refused, m.Error)
        assert (refused.id, refused.code, refused.state) == (1, "NO_STATE", "ErrRpc")
        await client.say(m.Add(2, (on.source.index("A"),)))
        assert isinstance(await client.hear(), m.Result)


async def test_ticks_up_to_the_largest_number_and_not_beyond() -> None:
    async with served() as on:
        top = 2**64 - 1
        on.source._ticks = [top - 1 for _ in on.source._ticks]
        client = on.client()
        welcome = await client.handshake()
        assert welcome.time == (top - 1,) * len(on.source.names)
        on.source.add("A")
        assert isinstance(await client.hear(), m.ClockPush)
        on.source.remove("A")
        assert (await client.closed()).code == 1011
        assert isinstance(on.server.machine.err, rpc.TickRange)
        again = on.client()
        await again.say(HELLO)
        assert await again.hear() == m.Reject("INTERNAL", "a tick is beyond 2**64-1, the largest number of the wire")


def test_hello_has_to_come_within_five_seconds_and_ready_within_fifteen() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        async with served() as on:
            silent = on.client()
            assert (await silent.closed()).code == 4408
            assert loop.time() == 5.0
            half = on.client()
            await half.say(HELLO)
            await half.hear()
            assert (await half.closed()).code == 4408
            assert loop.time() == 20.0
            await on.client().handshake()
            await on.server.machine.when(S.Ready)

    run(body())


# Pushes


def test_pushes_go_at_once_and_then_once_in_an_interval() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        async with served(push_interval=0.25) as on:
            client = on.client()
            await client.handshake()
            times: list[float] = []
            await on.server.machine.when(S.Ready)
            on.source.add("A")

            async def listen() -> None:
                while True:
                    push = await client.hear()
                    assert isinstance(push, m.ClockPush)
                    times.append(loop.time())

            listening = asyncio.create_task(listen())
            for _ in range(10):
                await asyncio.sleep(0.1)
                on.source.add("Ask")
            await asyncio.sleep(10)
            assert times == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0], abs=0.001)
            on.source.add("B")
            on.source.remove("B")
            await asyncio.sleep(10)
            assert len(times) == 6, "both changes in one push, at once"
            listening.cancel()
            await asyncio.wait([listening])

    run(body())


async def test_what_changed_between_welcome_and_ready_follows_at_once() -> None:
    async with served(push_interval=0) as on:
        client = on.client()
        await client.say(HELLO)
        welcome = await client.hear()
        assert isinstance(welcome, m.Welcome)
        on.source.add("A")
        await client.say(m.Ready(welcome.session))
        push = await client.hear()
        assert isinstance(push, m.ClockPush)
        assert push.changes == (on.source.index("A"), 1)


async def test_pushes_can_be_off() -> None:
    async with served(push_interval=0) as on:
        client = on.client()
        await client.handshake()
        await on.server.machine.when(S.Ready)
        on.source.add("A")
        await client.say(m.SyncRequest(1))
        full = await client.hear()
        assert isinstance(full, m.Full)
        assert full.time == on.source.time()
        await client.say(m.Remove(1, (on.source.index("A"),)))
        assert isinstance(await client.hear(), m.Result)


async def test_a_slow_reader_gets_one_push_for_all_it_missed() -> None:
    async with served(push_interval=0.0001) as on:
        client = on.client()
        await client.handshake()
        # Fill the pipe, so that pushes have to wait.
        for _ in range(3):
            on.server.send_payload("filler", bytes(900_000))
        for _ in range(500):
            on.source.add("Ask")
            await asyncio.sleep(0)
        told = pushes = 0
        while told < on.source.tick("Ask"):
            heard = await client.hear()
            if isinstance(heard, m.ClockPush):
                told += heard.changes[1]
                pushes += 1
        assert told == 999
        assert pushes < 10


async def test_changes_made_on_another_thread_are_pushed() -> None:
    async with served() as on:
        client = on.client()
        await client.handshake()
        await asyncio.to_thread(on.source.add, "A")
        push = await client.hear()
        assert isinstance(push, m.ClockPush)
        assert push.changes == (on.source.index("A"), 1)


# Listening through a relay


QUICK = rpc.Backoff(first=1.0, cap=8.0, tries=6, total=None, jitter=0.0)


def test_listening_dials_serves_and_dials_again() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        dialled: list[float] = []
        ends: asyncio.Queue[MemoryTransport] = asyncio.Queue()

        async def dial() -> Transport:
            dialled.append(loop.time())
            if len(dialled) in (1, 2):
                raise OSError("nobody there")
            near, far = pair()
            ends.put_nowait(far)
            return near

        source: am.Machine[Any] = am.Machine(Basic, id="source")
        server = rpc.Server(source, "listening", backoff=QUICK)
        server.listen(dial)
        assert server.machine.is_(S.Start, S.WebSocketTunnel, S.RpcStarting)
        client = Raw(await ends.get())
        assert dialled == [0.0, 1.0, 3.0]
        assert server.machine.is_(S.RpcReady)
        assert isinstance(server.machine.err, TransportClosed)
        await client.handshake()
        await server.machine.when(S.Ready)
        client.end.cut()
        await server.machine.when_not(S.RpcReady)
        assert server.machine.is_(S.RpcStarting)
        await Raw(await ends.get()).handshake()
        assert dialled == [0.0, 1.0, 3.0, 4.0], "a session that was ready resets the back-off"
        await server.machine.when(S.Ready)
        await server.stop()
        await asyncio.sleep(100)
        assert len(dialled) == 4
        assert server.machine.not_(S.Start, S.RpcStarting, S.RpcReady, S.Ready)

    run(body())


def test_listening_gives_up_in_the_end() -> None:
    async def body() -> None:
        dialled = 0

        async def dial() -> Transport:
            nonlocal dialled
            dialled += 1
            raise TransportClosed(4404, "TARGET: no such target")

        server = rpc.Server(am.Machine({"A": {}}), "listening", backoff=QUICK)
        server.listen(dial)
        await server.machine.when_not(S.Start)
        assert dialled == 7
        assert "gave up" in str(server.machine.err)

    run(body())


async def test_a_listening_server_says_goodbye_when_it_stops() -> None:
    near, far = pair()

    async def dial() -> Transport:
        return near

    server = rpc.Server(am.Machine({"A": {}}), "listening")
    server.listen(dial)
    client = Raw(far)
    await client.handshake()
    await server.machine.when(S.Ready)
    await server.stop("done", reconnect=False)
    heard = [await client.hear()]
    assert heard == [m.Bye("done", reconnect=False)]
    assert (await client.closed()).code == 1001


# The end


async def test_stopping_fails_what_nobody_has_taken() -> None:
    async with served() as on:
        sent = on.server.send_payload("result", 1)
        await on.server.stop()
        with pytest.raises(rpc.DeliveryFailed, match="SHUTDOWN"):
            await sent


async def test_removing_start_stops_it() -> None:
    async with served() as on:
        client = on.client()
        await client.handshake()
        await on.server.machine.when(S.Ready)
        on.server.machine.remove(S.Start)
        assert await client.hear() == m.Bye()
        assert (await client.closed()).code == 1001
        late = on.client()
        await late.say(HELLO)
        assert isinstance(await late.hear(), m.Welcome), "serving again starts it again"


async def test_a_disposed_server_lets_nobody_in() -> None:
    async with served() as on:
        client = on.client()
        await client.handshake()
        await on.server.machine.when(S.Ready)
        on.server.machine.dispose()
        assert (await client.closed()).code == 1001
        late = on.client()
        await late.say(HELLO)
        rejected = await late.hear()
        assert isinstance(rejected, m.Reject)
        assert rejected.code == "SHUTDOWN"


async def test_dropping_the_client_by_state() -> None:
    async with served() as on:
        client = on.client()
        await client.handshake()
        await on.server.machine.when(S.Ready)
        on.server.machine.remove(S.ClientConnected)
        assert (await client.closed()).code == 1011
        await on.client().handshake()
        await on.server.machine.when(S.Ready)


async def test_the_parent_takes_its_server_along() -> None:
    parent: am.Machine[Any] = am.Machine(Basic)
    server = rpc.Server(am.Machine({"A": {}}), parent=parent)
    assert server.machine.parent_id == parent.id
    parent.dispose()
    assert server.machine.is_disposed
