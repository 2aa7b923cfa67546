"""From a machine and an address to a stream: over real WebSockets, from threads, and by the environment."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

import asyncmachine as am
from asyncmachine.rpc.transport.websocket import SETTINGS, WebSocketTransport
from asyncmachine.telemetry import dbg
from asyncmachine.telemetry.dbg.address import PATH, url_of
from asyncmachine.telemetry.dbg.attach import InThread, _running
from asyncmachine.telemetry.dbg.recorder import Recorder
from tests.docs.pages import ROOT, compiled, python_blocks
from tests.telemetry.desk import Desk, until


class Noticed(WebSocketTransport):
    """Sets an event whenever a message has been dealt with."""

    def __init__(self, connection: ServerConnection, changed: asyncio.Event) -> None:
        super().__init__(connection)
        self.changed = changed

    async def recv(self) -> bytes:
        self.changed.set()
        return await super().recv()


class Station:
    """A recorder behind a WebSocket, and the paths it was asked for."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.paths: list[str] = []
        self.port = 0
        self.changed = asyncio.Event()

    async def take(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.paths.append(connection.request.path)
        await self.recorder.serve(Noticed(connection, self.changed))
        self.changed.set()

    async def has(self, records: int) -> None:
        """Waits until so many records have come."""
        await until(self.changed, lambda: self.recorder.statistics().records >= records)

    async def idle(self) -> None:
        """Waits until nobody is connected any more."""
        await until(self.changed, lambda: not self.recorder.statistics().connections)


@asynccontextmanager
async def station(output: dbg.Output | None = None) -> AsyncIterator[Station]:
    found = Station(Recorder(output))
    async with found.recorder.running(), serve(found.take, "127.0.0.1", 0, **SETTINGS) as server:
        found.port = next(iter(server.sockets)).getsockname()[1]
        yield found


async def test_a_machine_is_recorded_from_a_thread(tmp_path: Path) -> None:
    async with station(dbg.SingleDump(tmp_path / "x.amdbg")) as at:
        machine, other = am.Machine({"A": {}}, id="m"), am.Machine({"A": {}}, id="other")
        first = dbg.attach(machine, f"127.0.0.1:{at.port}")
        second = dbg.attach(other, f"ws://127.0.0.1:{at.port}/dbg.ws")
        assert first is not None
        assert second is not None
        assert first.sender is second.sender
        machine.add("A")
        other.add("A")
        await at.has(2)
        assert at.paths == [PATH]
        machine.dispose()
        other.dispose()
        await at.idle()
    assert [(found.id, found.transitions, found.is_gone) for found in dbg.summary(tmp_path / "x.amdbg").machines] == [
        ("m", 1, True),
        ("other", 1, True),
    ]


async def test_a_blocked_loop_is_seen() -> None:
    """The machine's thread never gives the loop a turn: the sender has its own."""
    async with station() as at:
        machine = am.Machine({"A": {}}, id="m")
        arrived = threading.Event()

        def blocks() -> None:
            dbg.attach(machine, f"127.0.0.1:{at.port}")
            while not arrived.is_set():
                machine.add("A")
                machine.remove("A")

        busy = asyncio.get_running_loop().run_in_executor(None, blocks)
        await at.has(100)
        arrived.set()
        await busy
        machine.dispose()
        await at.idle()


async def test_a_dial_function_is_called_in_the_running_loop() -> None:
    desk, machine = Desk(), am.Machine({"A": {}}, id="m")
    found = dbg.attach(machine, desk.dial)
    again = dbg.attach(machine, desk.dial)
    assert found is not None
    assert again is not None
    assert found.sender is again.sender
    machine.add("A")
    machine.dispose()
    await desk.until(lambda: bool(desk.closed))
    assert [record.called for record in desk.heard.records] == [("A",)]
    assert dbg.attach(machine, desk.dial) is None
    # The sender has ended with its machine; the next machine gets a new one.
    late = am.Machine({"A": {}}, id="late")
    found = dbg.attach(late, desk.dial)
    assert found is not None
    await desk.until(lambda: len(desk.listeners) == 2)
    found.detach()
    await desk.until(lambda: len(desk.closed) == 2)
    assert late.tracers == ()


def test_a_dial_function_needs_a_loop() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        dbg.attach(am.Machine({"A": {}}), Desk().dial)


def test_nobody_there_is_no_problem() -> None:
    machine = am.Machine({"A": {}}, id="m")
    found = dbg.attach(machine, "127.0.0.1:1")
    assert found is not None
    for _ in range(10):
        assert machine.add("A").executed
        assert machine.remove("A").executed
    (running,) = [r for r in _running.values() if isinstance(r, InThread) and r.sender is found.sender]
    running.close(1.0)
    assert not running._thread.is_alive()
    assert machine.tracers == ()


async def test_an_attachment_is_closed_from_the_loop_of_the_program() -> None:
    """Whose sender lives in a thread. Nothing that waited is missing, and the next one begins anew."""
    async with station() as at:
        machine = am.Machine({"A": {}}, id="m")
        for round_ in (1, 2):
            found = dbg.attach(machine, f"127.0.0.1:{at.port}")
            assert found is not None
            machine.toggle("A")
            await asyncio.gather(found.close(), found.close())
            assert found.sender.is_finished
            assert machine.tracers == ()
            await at.has(round_)
        await at.idle()


async def test_closing_ends_where_nobody_listens_and_a_second_time() -> None:
    machine = am.Machine({"A": {}}, id="m")
    found = dbg.attach(machine, "127.0.0.1:1")
    assert found is not None
    machine.add("A")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(found.close(), 0)
    await found.close(0.1)
    await found.close()
    assert machine.tracers == ()
    (thread,) = [r._thread for r in _running.values() if isinstance(r, InThread) and r.sender is found.sender]
    await asyncio.to_thread(thread.join)
    await found.close()


async def test_a_sender_whose_loop_has_gone_is_closed_as_well() -> None:
    machine = am.Machine({"A": {}}, id="m")

    async def short() -> dbg.Attachment | None:
        return dbg.attach(machine, Desk().dial)

    found = await asyncio.to_thread(lambda: asyncio.run(short()))
    assert found is not None
    await found.close()
    assert machine.tracers == ()


async def test_closing_does_not_wait_for_a_loop_that_stands_still() -> None:
    machine = am.Machine({"A": {}}, id="m")
    sender, loop = dbg.Sender(Desk().dial), asyncio.new_event_loop()

    async def begin() -> asyncio.Task[None]:
        sender.attach(machine)
        return sender.start()

    task = await asyncio.to_thread(loop.run_until_complete, begin())
    await sender.close(0.01)
    assert machine.tracers == ()
    await asyncio.to_thread(loop.run_until_complete, task)
    loop.close()


async def test_the_example_of_the_manual_tells_a_recorder(monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / "docs" / "relay.md"
    (example,) = [block for block in python_blocks(page.read_text()) if "debug_env" in block.code]
    monkeypatch.delenv("AM_TEST_RUNNER", raising=False)
    async with station() as at:
        monkeypatch.setenv("AM_DBG_ADDR", f"127.0.0.1:{at.port}")
        await eval(compiled(page, example), {"__name__": "example"})
        await at.has(1)
        await at.idle()


PROGRAM = """
import asyncmachine as am
from asyncmachine.telemetry import dbg

machine = am.Machine({"A": {}}, id="program")
assert dbg.debug_env(machine) is not None
for _ in range(500):
    machine.add("A")
    machine.remove("A")
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_program_that_ends_has_told_everything(host: str) -> None:
    """It has no loop, and disposes of nothing."""
    async with station() as at:
        env = {"AM_DBG_ADDR": f"{host}:{at.port}", "PYTHONPATH": ":".join(sys.path)}
        program = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, env=env, stderr=subprocess.PIPE)
        _, errors = await program.communicate()
        assert (program.returncode, errors.decode()) == (0, "")
        await at.idle()
        assert at.recorder.statistics().records == 1000


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_program_that_ends_at_once_has_told_it_too(host: str) -> None:
    """Its sender has not even looked up the name by then."""
    program = "import asyncmachine as am; from asyncmachine.telemetry import dbg; m = am.Machine({'A': {}}, id='m')"
    async with station() as at:
        env = {"AM_DBG_ADDR": f"{host}:{at.port}", "PYTHONPATH": ":".join(sys.path)}
        command = (sys.executable, "-c", f"{program}; dbg.debug_env(m); m.add('A')")
        ended = await asyncio.create_subprocess_exec(*command, env=env, stderr=subprocess.PIPE)
        _, errors = await ended.communicate()
        assert (ended.returncode, errors.decode()) == (0, "")
        await at.idle()
        assert at.recorder.statistics().records == 1


async def test_the_environment_sets_all_of_it_up() -> None:
    async with station() as at:
        env = {"AM_DBG_ADDR": f"127.0.0.1:{at.port}", "AM_LOG": "3", "AM_LOG_FULL": "1", "AM_DBG_NO_TRACE": "1"}
        machine = am.Machine({"A": {}}, id="m")
        found = dbg.debug_env(machine, am.Settings.from_env(env))
        assert found is not None
        assert (found.sender.options.stacks, found.sender.options.internal) == (False, False)
        assert machine.log.level == 3
        assert machine.log.queued
        machine.add("A")
        await at.has(2)
        machine.dispose()
        await at.idle()


@pytest.mark.parametrize("env", [{}, {"AM_DBG_ADDR": "0"}, {"AM_DBG_ADDR": "1", "AM_TEST_RUNNER": "1"}])
def test_the_environment_may_ask_for_nothing(env: dict[str, str]) -> None:
    machine = am.Machine({"A": {}})
    assert dbg.debug_env(machine, am.Settings.from_env({"AM_LOG": "2", **env})) is None
    assert machine.tracers == ()
    assert machine.log.level == 2


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("1", "ws://localhost:6831/dbg.ws"),
        (" example.org:7000 ", "ws://example.org:7000/dbg.ws"),
        ("[::1]:7000", "ws://[::1]:7000/dbg.ws"),
        ("ws://example.org:7000", "ws://example.org:7000/dbg.ws"),
        ("ws://example.org:7000/", "ws://example.org:7000/dbg.ws"),
        ("wss://example.org/other.ws?x=1", "wss://example.org/other.ws?x=1"),
        ("/dbg.ws", "wss://relay.example:8443/dbg.ws"),
    ],
)
def test_addresses(address: str, url: str) -> None:
    assert url_of(address, lambda: "https://relay.example:8443/app/page.html?dbg=1#x") == url


@pytest.mark.parametrize(
    "address",
    [
        "",
        "localhost",
        "6831",
        "http://example.org:1/",
        "ws://",
        "host:99999",
        "ws://u@host:1/",
        "ws://host:1/#x",
        "a b",
    ],
)
def test_what_is_no_address_is_told_at_once(address: str) -> None:
    with pytest.raises(dbg.AddressError, match=r"address|[Pp]ort"):
        dbg.attach(am.Machine({"A": {}}), address)


def test_a_path_needs_a_page() -> None:
    with pytest.raises(dbg.AddressError, match="there is no page here"):
        url_of("/dbg.ws")
    with pytest.raises(dbg.AddressError, match="relative to a page"):
        url_of("/dbg.ws", lambda: "blob:abc")
    assert url_of("/dbg.ws", lambda: "http://localhost:8000/") == "ws://localhost:8000/dbg.ws"
