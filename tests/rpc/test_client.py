"""What a client does by itself: connect, come back, give up, and answer for its calls."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.codec import decode, encode
from asyncmachine.rpc.features import offered
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.states import ServerStates
from asyncmachine.rpc.transport import Transport, TransportClosed
from asyncmachine.rpc.transport.memory import MemoryTransport, pair
from tests.ports import free_port
from tests.rpc.behaviour import QUICK, Basic, paired
from tests.rpc.nets import MemoryNet
from tests.rpc.time_loop import run


class Other(rpc.StateSource):
    Foreign = am.state()


STEADY = rpc.Backoff(first=1.0, cap=4.0, tries=4, total=None, jitter=0.0)


def never() -> rpc.Dial:
    async def dial() -> Transport:
        raise OSError("nobody there")

    return dial


def test_it_retries_with_growing_pauses_and_gives_up() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        times: list[float] = []

        async def dial() -> Transport:
            times.append(loop.time())
            raise TransportClosed(4429, "LIMIT: too many")

        client = rpc.Client(dial, Basic, backoff=STEADY)
        await client.run()
        assert times == [0.0, 1.0, 3.0, 7.0, 11.0]
        assert client.machine.is_(C.ConnRetryFailed)
        assert client.machine.not_(C.Start, C.RetryingConn, C.Exception)
        assert isinstance(client.machine.err, TransportClosed)
        assert client.machine.err.code == 4429
        assert client.machine.tick(C.ErrNetwork) > 0
        client.machine.dispose()

    run(body())


def test_a_dial_that_hangs_is_given_up_after_three_seconds() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        cancelled: list[float] = []

        async def dial() -> Transport:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                cancelled.append(loop.time())
                raise
            raise AssertionError

        client = rpc.Client(dial, Basic, backoff=STEADY)
        client.start()
        await client.machine.when(C.RetryingConn)
        assert cancelled == [3.0]
        assert "within 3 s" in str(client.machine.err)
        await client.stop()

    run(body())


def test_whatever_dial_raises_means_no_connection() -> None:
    async def body() -> None:
        async def dial() -> Transport:
            raise KeyError("a mistake of the application")

        client = rpc.Client(dial, Basic, backoff=STEADY)
        client.start()
        await client.machine.when(C.RetryingConn)
        assert isinstance(client.machine.err, TransportClosed)
        assert isinstance(client.machine.err.__cause__, KeyError)
        await client.stop()

    run(body())


def test_a_pause_can_be_ended() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        client = rpc.Client(never(), Basic, backoff=rpc.Backoff(first=1000.0, cap=1000.0))
        client.start()
        await client.machine.when(C.RetryingConn)
        client.retry_now()
        await client.machine.when_ticks(C.Connecting, 1)
        assert loop.time() == 0.0
        client.retry_now()
        await client.machine.when_ticks(C.Connecting, 2)
        assert loop.time() == 0.0
        await client.stop()

    run(body())


def test_a_server_that_is_busy_is_asked_again_when_it_said() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        hellos: list[float] = []

        async def dial() -> Transport:
            near, far = pair()

            async def refuse() -> None:
                await near.recv()
                hellos.append(loop.time())
                await near.send(encode(m.Reject("BUSY", "later", 30.0)))
                await near.close(4409)

            refusing.append(asyncio.create_task(refuse()))
            return far

        refusing: list[asyncio.Task[None]] = []
        client = rpc.Client(dial, Basic, backoff=STEADY)
        client.start()
        await client.machine.when_ticks(C.ErrRpc, 5)
        assert hellos == [0.0, 30.0, 60.0]
        await client.stop()

    run(body())


def test_a_server_that_does_not_answer_is_left() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        client = rpc.Client(dial_into([]), Basic, backoff=STEADY)
        client.start()
        await client.machine.when(C.Connected)
        await client.machine.when_not(C.Connected)
        assert loop.time() == 15.0
        assert isinstance(client.machine.err, rpc.HandshakeFailed)
        assert str(client.machine.err) == (
            "the peer did not answer within 15 s: is there a server of aRPC, and TLS on both sides or on none?"
        ), "and not what came of giving it up"
        await client.stop()

    run(body())


def dial_into(ends: list[MemoryTransport]) -> rpc.Dial:
    async def dial() -> Transport:
        near, far = pair()
        ends.append(near)
        return far

    return dial


def welcome(**changes: Any) -> m.Welcome:
    fields: dict[str, Any] = {
        "version": 1,
        "session": b"s",
        "epoch": 1,
        "seq": 0,
        "features": (),
        "limits": None,
        "source": "source",
        "names": ("A", "Exception"),
        "schema": None,
        "hash": b"",
        "time": (0, 0),
        "queue_tick": 1,
        "machine_tick": 0,
    }
    return m.Welcome(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "error", "code"),
    [
        ({"version": 2}, rpc.PeerFault, 4406),
        ({"names": None, "time": (0,) * 99}, rpc.HandshakeFailed, 1011),
        ({"names": ("A", "A")}, rpc.HandshakeFailed, 1011),
        ({"names": ("A",)}, rpc.PeerFault, 4400),
        ({"schema": {"A": {"nonsense": 1}}}, rpc.HandshakeFailed, 1011),
    ],
)
async def test_a_welcome_that_does_not_fit(changes: dict[str, Any], error: type[Exception], code: int) -> None:
    ends: list[MemoryTransport] = []
    client = rpc.Client(dial_into(ends), Basic, backoff=rpc.Backoff(first=1000.0))
    client.start()
    await client.machine.when(C.Connected)
    hello = decode(await ends[0].recv())
    assert isinstance(hello, m.Hello)
    await ends[0].send(encode(welcome(**changes)))
    with pytest.raises(TransportClosed) as caught:
        await ends[0].recv()
    assert caught.value.code == code
    assert isinstance(client.machine.err, error)
    await client.machine.when(C.RetryingConn)
    await client.stop()


async def test_garbage_from_the_server_closes_the_connection() -> None:
    ends: list[MemoryTransport] = []
    client = rpc.Client(dial_into(ends), Basic, backoff=rpc.Backoff(first=1000.0))
    client.start()
    await client.machine.when(C.Connected)
    await ends[0].recv()
    await ends[0].send(b"garbage")
    with pytest.raises(TransportClosed, match="BAD_FRAME"):
        await ends[0].recv()
    await client.machine.when(C.RetryingConn)
    assert isinstance(client.machine.err, rpc.PeerFault)
    await client.stop()


async def test_what_a_client_says_first() -> None:
    ends: list[MemoryTransport] = []
    client = rpc.Client(dial_into(ends), Basic, id="me", token="secret", backoff=rpc.Backoff(first=1000.0))
    client.start()
    await client.machine.when(C.Connected)
    source: am.Machine[Any] = am.Machine(Basic)
    assert decode(await ends[0].recv()) == m.Hello(
        "amrpc",
        (1, 1),
        "rc-me",
        "secret",
        m.Sync(True, bytes.fromhex(source.schema.hash)),
        features=offered(zlib=False),
    )
    await client.stop()


async def test_a_connection_that_was_handed_over_is_not_made_again() -> None:
    near, far = pair()
    server = rpc.Server(am.Machine(Basic, id="source"), "over")
    serving = asyncio.create_task(server.serve(near))
    client = rpc.Client.over(far, Basic, id="over")
    running = asyncio.create_task(client.run())
    await client.when_ready()
    near.cut()
    await running
    await serving
    assert client.machine.not_(C.Start, C.RetryingConn, C.Connected)


def told(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Ours alone: asyncio tells of callbacks that are slow on a busy computer."""
    return [record for record in caplog.records if record.name == "asyncmachine.rpc"]


async def test_a_server_that_is_not_there_is_told_to_the_log_once_and_that_it_is_there_at_last(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "asyncmachine.rpc")
    address = f"tcp://127.0.0.1:{free_port()}"
    client = rpc.Client(address, Basic, id="one", backoff=QUICK)
    client.start()
    await client.machine.when_ticks(C.Exception, 5)
    what = f"rc-one cannot connect to {address}"
    (record,) = told(caplog)
    assert record.levelname == "WARNING"
    assert record.getMessage() == f"{what}: connection refused: nothing listens there"
    mux = rpc.Mux(am.Machine(Basic), address)
    mux.start()
    await client.when_ready()
    assert [(one.levelname, one.getMessage()) for one in told(caplog)[1:]] == [("INFO", f"{what}: no longer")]
    await client.stop()
    await mux.stop()


@pytest.mark.parametrize(
    ("code", "reason", "told_to_log"),
    [
        (
            1006,
            "gone",
            "the connection was not welcomed, but closed with 1006 (gone): is there a server of aRPC, and TLS",
        ),
        (1000, "the page was left", "the other side has left before it was ready: the page was left"),
        (1011, "INTERNAL: no", "the connection was not welcomed, but closed with 1011 (INTERNAL: no)"),
    ],
)
async def test_connections_that_end_before_the_welcome_are_errors_and_told_to_the_log_once(
    code: int, reason: str, told_to_log: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def dial() -> Transport:
        near, far = pair()
        await near.close(code, reason)
        return far

    client = rpc.Client(dial, Basic, id="one", backoff=QUICK)
    client.start()
    await client.machine.when_ticks(C.ErrRpc, 3)
    assert isinstance(client.machine.err, rpc.HandshakeFailed)
    await client.stop()
    (warning,) = warned(caplog)
    assert warning.startswith(f"rc-one cannot connect: {told_to_log}")


@pytest.mark.parametrize("reconnect", [True, False])
async def test_a_goodbye_in_the_place_of_a_welcome_is_an_error(reconnect: bool) -> None:
    async def dial() -> Transport:
        near, far = pair()
        await near.send(encode(m.Bye("closed today", reconnect)))
        return far

    client = rpc.Client(dial, Basic, id="one", backoff=QUICK)
    client.start()
    await client.machine.when_ticks(C.ErrRpc, 3 if reconnect else 1)
    error = client.machine.err
    assert isinstance(error, rpc.HandshakeFailed)
    assert str(error) == "the server said goodbye before the session was ready: closed today"
    if not reconnect:
        with pytest.raises(rpc.NotConnected, match="closed today"):
            await client.when_ready()
    await client.stop()


async def test_a_port_where_something_else_listens_is_told_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(close, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        client = rpc.Client(f"tcp://127.0.0.1:{port}", Basic, id="one", backoff=QUICK)
        client.start()
        await client.machine.when_ticks(C.ErrRpc, 3)
        await client.stop()
    (warning,) = warned(caplog)
    assert warning.startswith(f"rc-one cannot connect to tcp://127.0.0.1:{port}: the connection was not welcomed")


async def test_a_server_of_another_protocol_is_told_by_what_it_says(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        client = rpc.Client(f"tcp://127.0.0.1:{port}", Basic, id="one", backoff=QUICK)
        client.start()
        await client.machine.when(C.ErrRpc)
        await client.stop()
    (warning,) = warned(caplog)
    assert warning.endswith(
        "as it begins with 'HTTP/1.1 400 Bad Request'): is there a server of aRPC, and TLS on both sides or on none?"
    )


async def test_leaving_before_the_welcome_is_no_error() -> None:
    ends: list[MemoryTransport] = []
    client = rpc.Client(dial_into(ends), Basic, backoff=QUICK)
    client.start()
    await client.machine.when(C.Connected)
    await client.stop()
    assert client.machine.err is None


async def test_a_source_of_another_kind_is_told_to_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    mux = rpc.Mux(am.Machine(Basic, id="source"), "tcp://127.0.0.1:0")
    mux.start()
    await mux.when_ready()
    client = rpc.Client(mux.address, Other, id="one", backoff=QUICK)
    client.start()
    await client.machine.when_ticks(C.Exception, 3)
    await client.stop()
    await mux.stop()
    (warning,) = warned(caplog)
    assert warning.startswith(f"rc-one cannot connect to {mux.address}: the source 'source' has no Foreign")


async def test_a_run_that_is_cancelled_says_goodbye() -> None:
    near, far = pair()
    server = rpc.Server(am.Machine(Basic, id="source"), "over")
    serving = asyncio.create_task(server.serve(near))
    client = rpc.Client.over(far, Basic, id="over")
    running = asyncio.create_task(client.run())
    await client.when_ready()
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    assert (await serving).code == 1001


async def test_stopping_in_the_middle_of_a_dial() -> None:
    dialling = asyncio.Event()

    async def dial() -> Transport:
        dialling.set()
        await asyncio.Event().wait()
        raise AssertionError

    client = rpc.Client(dial, Basic)
    client.start()
    await dialling.wait()
    await client.stop()
    assert client.machine.active_states() == ("Disconnected",)


async def test_calls_before_the_start_say_what_to_do() -> None:
    client = rpc.Client(never(), Basic)
    with pytest.raises(rpc.NotConnected, match=r"start\(\)"):
        client.netmach.add(Basic.A)


def test_an_address_is_read_when_the_client_is_made() -> None:
    with pytest.raises(rpc.AddressError, match=r"'127\.0\.0\.1:80': expected one of tcp://"):
        rpc.Client("127.0.0.1:80", Basic)


def test_a_shallow_mirror_has_no_steps() -> None:
    with pytest.raises(am.InvalidArgs, match="choose one of the two"):
        rpc.Client("tcp://127.0.0.1:1", Basic, shallow=True, steps=True)


@pytest.mark.parametrize("option", ["allowed", "skipped"])
def test_a_text_in_place_of_states_is_refused_with_the_cure(option: str) -> None:
    with pytest.raises(am.InvalidArgs, match=rf"{option} takes several texts .*: write \('A',\)"):
        rpc.Client("tcp://127.0.0.1:1", Basic, **{option: Basic.A})  # type: ignore[arg-type]


async def test_a_consumer_needs_a_state_for_payloads() -> None:
    with pytest.raises(am.SchemaError, match=r"rpc\.Consumer"):
        rpc.Client(never(), Basic, consumer=am.Machine({"A": {}}))


async def test_ids_and_tags() -> None:
    parent: am.Machine[Any] = am.Machine(Basic, id="parent")
    client = rpc.Client(never(), Basic, id="me", parent=parent)
    assert (client.machine.id, client.machine.tags, client.machine.parent_id) == ("rc-me", ("rpc-client",), "parent")
    assert (client.netmach.id, client.netmach.tags, client.netmach.parent_id) == ("rnm-me", ("rpc-netmach",), "parent")
    assert rpc.Client("tcp://127.0.0.1:1", Basic).machine.tags == ("rpc-client", "addr:tcp://127.0.0.1:1")
    assert len(rpc.Client(never(), Basic).machine.id) == len("rc-") + 5
    wait = client.netmach.when(Basic.A)
    parent.dispose()
    assert client.machine.is_disposed
    with pytest.raises(am.Disposed):
        await wait


async def test_the_mirror_is_tagged_with_its_source() -> None:
    async with paired(MemoryNet()) as pair:
        assert pair.mirror.tags == ("rpc-netmach", "src-id:source")


async def test_calls_from_another_thread() -> None:
    async with paired(MemoryNet()) as pair:

        def work() -> str:
            result = pair.mirror.add("A").wait(10)
            pair.mirror.when("B").wait(10)
            with pytest.raises(rpc.Unsendable):
                pair.mirror.add("A", value={1})
            return str(result.outcome)

        working = asyncio.create_task(asyncio.to_thread(work))
        await pair.mirror.when("A")
        pair.source.add("B")
        assert await working == "executed"


async def test_a_caller_that_is_cancelled_leaves_the_call_alone() -> None:
    async with paired(MemoryNet()) as pair:
        result = pair.mirror.add("A")

        async def wait() -> None:
            await result

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert (await result).executed
        assert "A" in pair.mirror


async def test_a_failure_that_is_awaited_later_is_no_error_state() -> None:
    async with paired(MemoryNet()) as pair:
        net = pair.net
        assert isinstance(net, MemoryNet)
        assert net.newest is not None
        results = [pair.mirror.add("A") for _ in range(3)]
        net.newest.cut()
        await pair.client.stop()
        for result in results:
            with pytest.raises(rpc.UnknownOutcome):
                await result
        del result, results
        gc.collect()


async def test_disposing_a_client_ends_everything_of_it() -> None:
    async with paired(MemoryNet()) as pair:
        wait = pair.mirror.when("A")
        gone = pair.server.machine.when_not(ServerStates.ClientConnected)
        pair.client.machine.dispose()
        with pytest.raises(am.Disposed):
            await wait
        await gone
        assert pair.mirror.add("A").canceled


class Rules(rpc.StateSource):
    A = am.state(auto=True, require="C")
    B = am.state(multi=True, add="C")
    C = am.state(after="B")


class OtherRules(Rules):
    B = am.state(multi=True, add="A", remove="C")


class OtherFlag(Rules):
    A = am.state(require="C")


class NamesAlone(rpc.StateSource):
    A = am.state()
    B = am.state()
    C = am.state()


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in told(caplog)]


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (Rules, ""),
        (NamesAlone, ""),
        (None, ""),
        (OtherRules, "add of B is A for the client and C for the source"),
        (OtherFlag, "auto of A is false for the client and true for the source"),
    ],
    ids=["the same", "names alone", "none", "a relation", "a flag"],
)
async def test_a_client_whose_states_are_defined_otherwise_is_told_so_and_goes_by_the_source(
    schema: Any, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    net = MemoryNet()
    async with paired(net, Rules, schema=schema, client={"filtering": True}) as on:
        assert on.mirror.schema["B"] == on.source.schema["B"]
        warnings = warned(caplog)
        if told:
            (warning,) = warnings
            assert warning.startswith("rnm-test: the client's states are defined otherwise than those of 'source'")
            assert told in warning
        else:
            assert warnings == []
        # What can be known here is known by the rules of the source.
        assert (await on.mirror.add("B")).executed
        assert on.mirror.is_("B", "C") == on.source.is_("B", "C")
        # It is told once, and not for every connection.
        sessions = on.client.machine.tick(C.HandshakeDone)
        net.cut()
        await on.client.machine.when_time([C.HandshakeDone], [sessions + 2])
        assert warned(caplog) == warnings


async def test_what_a_client_may_not_see_is_no_difference(caplog: pytest.LogCaptureFixture) -> None:
    def allow(*_: object) -> rpc.Grants:
        return rpc.Grants(read=("A", "B", "Exception", "ErrOnClient"))

    async with paired(MemoryNet(), Rules, client={"skipped": ("C",)}, allow=allow) as on:
        assert on.mirror.schema["B"].multi
        assert warned(caplog) == []
