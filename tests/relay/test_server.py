"""The relay's listener: ports, ends, and new beginnings."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import websockets

import asyncmachine as am
from asyncmachine_relay import (
    EVERY_TUNNEL,
    Limits,
    Match,
    Op,
    PortBusy,
    Relay,
    RelayConfigError,
    RelayServer,
    RelayStates,
    Tunnel,
    bind,
)
from asyncmachine_relay.tokens import Tokens
from tests.relay.support import (
    ECHO,
    QUICK,
    Held,
    RawSocket,
    ask_token,
    end_of,
    ending,
    http,
    opened,
    running,
    slow_connection,
    token,
    upgrade,
)


def test_port_zero_is_a_free_port() -> None:
    with bind().socket as one, bind().socket as two:
        assert one.getsockname()[0] == "127.0.0.1"
        assert one.getsockname()[1] != two.getsockname()[1]


def test_a_busy_port_is_replaced_and_said() -> None:
    first = bind()
    with first.socket:
        moved = bind(port=first.port)
        with moved.socket:
            assert moved.port != first.port
            assert moved.notice == f"port {first.port} is busy; listening on {moved.port} instead"
            assert moved.origin == f"http://127.0.0.1:{moved.port}"
        with pytest.raises(PortBusy, match=f"port {first.port} of 127.0.0.1 is busy"):
            bind(port=first.port, move=False)


def test_a_port_that_is_free_is_kept_without_a_word() -> None:
    with bind().socket as once:
        port = once.getsockname()[1]
    again = bind(port=port)
    with again.socket:
        assert (again.port, again.notice) == (port, "")


@pytest.mark.parametrize("port", [-1, 65536, 99999])
def test_a_port_that_cannot_be_is_a_mistake(port: int) -> None:
    """The system would have listened at another one: at 34463 for 99999."""
    with pytest.raises(RelayConfigError, match=r"must be 0 \(any free one\) to 65535"):
        bind(port=port)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_a_host_that_others_can_reach_has_to_be_wanted(host: str) -> None:
    with pytest.raises(RelayConfigError, match="can be reached by others"):
        bind(host)


def test_a_host_that_others_can_reach_may_be_wanted() -> None:
    bound = bind("0.0.0.0", insecure=True)
    with bound.socket:
        assert bound.origin == f"http://0.0.0.0:{bound.port}"


@pytest.mark.parametrize(("host", "says"), [("no such host", "cannot be resolved"), ("127.0.0.1", "cannot listen on")])
def test_an_address_that_cannot_be_is_a_mistake(host: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: socket.socket, address: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", denied)
    with pytest.raises(RelayConfigError, match=says):
        bind(host, 80)


def test_ipv6_loopback_has_an_origin_too() -> None:
    try:
        bound = bind("::1")
    except RelayConfigError:
        pytest.skip("this machine has no IPv6 loopback")
    with bound.socket:
        assert bound.origin == f"http://[::1]:{bound.port}"


async def test_answers_and_frames_do_not_wait_for_an_acknowledgement() -> None:
    async with running() as run, opened(run) as page:
        reader, writer = await asyncio.open_connection("127.0.0.1", run.port)
        writer.write(f"GET /healthz HTTP/1.1\r\nhost: {run.host}\r\n\r\n".encode())
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
        assert run.server._server is not None
        found = [each.transport.get_extra_info("socket") for each in run.server._server.server_state.connections]
        assert [bool(each.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) for each in found] == [True, True]
        writer.close()
        await page.close()


async def test_the_machine_tells_whether_the_relay_listens() -> None:
    relay = Relay()
    server = RelayServer(relay, bind())
    assert relay.machine.active_states() == ()
    await server.start()
    assert relay.machine.active_states() == ("Start", "HttpReady")
    await server.stop()
    assert relay.machine.active_states() == ("Start",)
    relay.dispose()
    assert relay.machine.is_disposed


async def test_the_machine_belongs_to_its_parent() -> None:
    parent = am.Machine({"Start": {}}, id="orchestrator")
    relay = Relay(parent=parent)
    assert relay.machine.parent_id == "orchestrator"
    parent.dispose()
    assert relay.machine.is_disposed


async def test_health() -> None:
    async with running() as run:
        answer = await http(run, "/healthz")
        assert (answer.status, answer.json) == (200, {"status": "ok"})


async def test_stopping_closes_every_tunnel_with_a_reason_and_the_listener() -> None:
    held = Held()
    async with running(listen=[held.match], dial=[held.match], limits=QUICK) as run:
        async with opened(run, op="listen") as listener, opened(run) as caller:
            tunnels = [await held.tunnels.get(), await held.tunnels.get()]
            await run.server.stop()
            for page in (listener, caller):
                assert await ending(page) == (1001, "SHUTDOWN")
            for tunnel in tunnels:
                assert (await end_of(tunnel)).code == 1001
            assert held.serving == 0
        with pytest.raises(ConnectionRefusedError):
            await http(run)


async def test_it_listens_again_on_the_same_port_while_all_else_lives() -> None:
    async with running() as run:
        port, origin = run.port, run.origin
        for _ in range(3):
            async with opened(run) as page:
                await page.send(b"x")
                assert await page.recv() == b"x"
                await run.server.stop()
                await run.server.stop()  # does nothing
            await run.server.start()
            await run.server.start()  # does nothing
            assert (run.port, run.origin) == (port, origin)
        async with opened(run) as page:
            await page.send(b"x")
            assert await page.recv() == b"x"
        assert run.relay.machine.tick(RelayStates.HttpReady) == 7


async def test_a_resume_secret_outlives_the_listener() -> None:
    async with running() as run:
        resume = (await ask_token(run)).json["resume"]
        await run.server.stop()
        await run.server.start()
        assert (await ask_token(run, secret=resume)).json["resume"] == resume


async def test_a_port_that_was_taken_meanwhile_is_an_error_and_not_another_port() -> None:
    async with running() as run:
        await run.server.stop()
        with bind(port=run.port, move=False).socket, pytest.raises(PortBusy):
            await run.server.start()
        await run.server.start()


async def test_starts_and_stops_at_once_are_one_after_the_other() -> None:
    async with running() as run:
        await asyncio.gather(*(run.server.stop() for _ in range(3)))
        await asyncio.gather(*(run.server.start() for _ in range(3)))
        assert (await http(run, "/healthz")).status == 200
        await asyncio.gather(run.server.stop(), run.server.start(), run.server.stop())
        with pytest.raises(ConnectionRefusedError):
            await http(run)


async def test_a_listener_that_cannot_open_leaves_nothing_behind() -> None:
    relay = Relay()
    bound = bind()
    bound.socket.close()
    server = RelayServer(relay, bound)
    with pytest.raises(OSError, match="Bad file descriptor"):
        await server.start()
    assert relay.machine.active_states() == ("Start",)
    await server.start()  # binds anew
    assert relay.machine.active_states() == ("Start", "HttpReady")
    await server.stop()


async def test_a_tunnel_that_takes_nothing_does_not_hold_the_end_up() -> None:
    stuck = asyncio.Event()

    async def pour(tunnel: Tunnel) -> None:
        while True:
            sending = asyncio.create_task(tunnel.transport.send(bytes(64 << 10)))
            done, _ = await asyncio.wait({sending}, timeout=0.2)
            if not done:
                stuck.set()
                await sending
            sending.result()

    limits = Limits(close=0.1, leave=0.1)
    async with (
        running(listen=[Match(".*", "orchestrator", pour)], limits=limits) as run,
        RawSocket.opened(run, op="listen", receive_buffer=4096),
    ):
        await stuck.wait()
        async with asyncio.timeout(5):
            await run.server.stop()


async def test_a_download_that_is_not_read_does_not_hold_the_end_up(tmp_path: Path) -> None:
    (tmp_path / "large.bin").write_bytes(bytes(32 << 20))
    async with running(static=tmp_path, limits=Limits(close=0.1)) as run:
        reader, writer = await slow_connection(run)
        writer.write(f"GET /large.bin HTTP/1.1\r\nhost: {run.host}\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        async with asyncio.timeout(5):
            await run.server.stop()
        writer.transport.abort()


async def test_a_download_that_is_read_slowly_arrives(tmp_path: Path) -> None:
    data = os.urandom(8 << 20)
    (tmp_path / "large.bin").write_bytes(data)
    async with running(static=tmp_path) as run:
        reader, writer = await slow_connection(run)
        writer.write(f"GET /large.bin HTTP/1.1\r\nhost: {run.host}\r\nconnection: close\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        got = bytearray()
        while part := await reader.read(4096):
            got += part
        assert got == data
        writer.close()


async def test_a_download_that_is_not_read_is_dropped_after_a_while(tmp_path: Path) -> None:
    (tmp_path / "large.bin").write_bytes(bytes(32 << 20))
    async with running(static=tmp_path, limits=Limits(congested=0.2)) as run:
        reader, writer = await slow_connection(run)
        writer.write(f"GET /large.bin HTTP/1.1\r\nhost: {run.host}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        assert run.server._server is not None
        connections = run.server._server.server_state.connections
        gone = asyncio.Event()
        (connection,) = connections
        lost = connection.connection_lost

        def connection_lost(exc: Exception | None) -> None:
            lost(exc)
            gone.set()

        connection.connection_lost = connection_lost  # type: ignore[method-assign]
        await gone.wait()
        assert not connections
        writer.transport.abort()


async def test_a_token_request_that_is_not_decided_does_not_hold_the_end_up() -> None:
    asked = asyncio.Event()

    async def never(request: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with running(authorize=never, limits=Limits(close=0.1)) as run:
        asking = asyncio.create_task(ask_token(run))
        await asked.wait()
        async with asyncio.timeout(5):
            await run.server.stop()
        with pytest.raises((IndexError, ValueError)):  # no answer
            await asking


async def test_while_it_stops_nobody_new_comes_in() -> None:
    leaving = asyncio.Event()
    let_go = asyncio.Event()

    async def slow(tunnel: Tunnel) -> None:
        await end_of(tunnel)
        leaving.set()
        await let_go.wait()

    matches = [Match("browser1", "orchestrator", slow), Match(".*", "orchestrator", slow)]
    async with running(dial=matches, limits=Limits(close=0.3)) as run:
        using = await token(run, "browser2")
        reader, writer = await asyncio.open_connection("127.0.0.1", run.port)
        writer.write(f"GET /healthz HTTP/1.1\r\nhost: {run.host}\r\n\r\n".encode())
        await reader.readuntil(b"}")
        async with opened(run) as page:
            await page.send(b"x")
            stopping = asyncio.create_task(run.server.stop())
            await leaving.wait()
            writer.write(f"GET /readyz HTTP/1.1\r\nhost: {run.host}\r\n\r\n".encode())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 503")
            assert await reader.readuntil(b"}") == b'{"status":"draining"}'
            body = b'{"op": "dial", "id": "browser2", "target": "orchestrator"}'
            writer.write(
                f"POST /token HTTP/1.1\r\nhost: {run.host}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\n\r\n".encode()
                + body
            )
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 503")
            assert (await reader.readuntil(b"}")).startswith(b'{"code":"SHUTDOWN"')
            writer.write(upgrade(run, "/dial/browser2/orchestrator", using))
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"101" in head.split(b"\r\n")[0]
            assert await RawSocket(reader, writer).ending() == (1001, "SHUTDOWN")
            let_go.set()
            await stopping
        writer.close()


async def test_signals_are_left_to_the_caller() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    async with running():
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


async def test_nothing_is_logged_in_an_ordinary_life(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with running() as run:
            async with opened(run) as page:
                await page.send(b"x")
                await page.recv()
            async with opened(run) as page:
                await run.server.stop()
                assert await ending(page) == (1001, "SHUTDOWN")
    # asyncio's debug mode, in which tests run, complains of a slow machine.
    assert [record.getMessage() for record in caplog.records if record.name != "asyncio"] == []


async def test_another_server_can_run_the_app() -> None:
    bound = bind()
    relay = Relay(dial=[ECHO], origins=[bound.origin], limits=QUICK)
    config = uvicorn.Config(relay.app, log_config=None, lifespan="on", ws="websockets-sansio")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve([bound.socket]))
    await relay.machine.when(RelayStates.HttpReady)
    body = b'{"op": "dial", "id": "browser1", "target": "orchestrator"}'
    reader, writer = await asyncio.open_connection("127.0.0.1", bound.port)
    writer.write(
        f"POST /token HTTP/1.1\r\nhost: 127.0.0.1:{bound.port}\r\ncontent-type: application/json\r\n"
        f"connection: close\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        + body
    )
    answer = (await reader.read()).partition(b"\r\n\r\n")[2]
    writer.close()
    using = json.loads(answer)["token"]
    url = f"ws://127.0.0.1:{bound.port}/dial/browser1/orchestrator"
    protocols = [websockets.Subprotocol(name) for name in ("amrpc.v1", f"amtok.{using}")]
    async with websockets.connect(url, subprotocols=protocols, proxy=None, max_size=None) as page:
        await page.send(b"x")
        assert await page.recv() == b"x"
        await page.send(bytes(QUICK.frame + 1))
        assert await ending(page) == (1009, "TOO_LARGE")
    async with websockets.connect(url, subprotocols=protocols, proxy=None) as page:
        assert await ending(page) == (4401, "AUTH")
    server.should_exit = True
    await serving
    assert relay.machine.not_(RelayStates.HttpReady)


async def test_a_text_frame_is_refused_under_another_server_too() -> None:
    """The rules are the transport's; the protocol below only makes them cheaper."""
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "websocket.close":
            inbox.put_nowait({"type": "websocket.disconnect", "code": message["code"]})

    secret = b"a secret of both"
    relay = Relay(dial=[ECHO], origins=["http://127.0.0.1:1"], secret=secret)
    using, _ = Tokens(secret, relay.limits).issue(Op.DIAL, "browser1", "orchestrator", EVERY_TUNNEL)
    inbox.put_nowait({"type": "websocket.connect"})
    inbox.put_nowait({"type": "websocket.receive", "text": "no"})
    scope: dict[str, Any] = {
        "type": "websocket",
        "path": "/dial/browser1/orchestrator",
        "headers": [(b"host", b"127.0.0.1:1"), (b"origin", b"http://127.0.0.1:1")],
        "client": ("127.0.0.1", 2),
        "subprotocols": ["amrpc.v1", f"amtok.{using}"],
    }
    await relay.app(scope, inbox.get, send)
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
    assert sent[1]["code"] == 1003


async def test_a_page_that_left_before_it_was_refused_is_nobodys_error() -> None:
    sent: list[str] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message["type"])
        if message["type"] == "websocket.close":
            raise BrokenPipeError

    relay = Relay(dial=[ECHO], origins=["http://127.0.0.1:1"])
    scope: dict[str, Any] = {
        "type": "websocket",
        "path": "/dial/browser1/orchestrator",
        "headers": [(b"host", b"127.0.0.1:1"), (b"origin", b"http://127.0.0.1:1")],
        "client": ("127.0.0.1", 2),
        "subprotocols": ["amrpc.v1"],
    }
    await relay.app(scope, receive, send)
    assert sent == ["websocket.accept", "websocket.close"]
