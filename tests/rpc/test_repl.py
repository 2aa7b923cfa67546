"""A machine that a REPL attaches to: where it is found, who finds it, and when it is gone."""

from __future__ import annotations

import asyncio
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.machine.settings import SettingsError
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.states import ServerStates as S
from asyncmachine.rpc.transport import Transport
from asyncmachine.rpc.transport.memory import pair
from tests.rpc.behaviour import QUICK, Basic

ON = am.Settings(repl="127.0.0.1:0")


@dataclass(frozen=True)
class Greeting(am.Args, state="Ask", prefix="repl"):
    whom: str


def machine(id: str = "oven", handlers: object = None) -> am.Machine[Any]:
    return am.Machine(Basic, handlers, id=id)


def made(source: am.Machine[Any], settings: am.Settings = ON, **options: Any) -> rpc.ReplHook:
    hook = rpc.repl_hook(source, settings, **options)
    assert hook is not None
    return hook


def ended(hook: rpc.ReplHook) -> asyncio.Event:
    gone = asyncio.Event()
    hook.end.machine.on_dispose(lambda _: gone.set())
    return gone


def nobody(id: str, token: str, peer: rpc.Peer) -> rpc.Grants | None:
    return None


async def test_a_repl_reads_mutates_asks_and_lists_arguments(tmp_path: Path) -> None:
    source = machine(handlers={"BEnter": lambda e: False})
    hook = made(source, am.Settings(repl="127.0.0.1:0", repl_dir=str(tmp_path / "run")))
    await hook.when_ready()
    (file,) = (tmp_path / "run").iterdir()
    assert file.name == "oven-repl.addr"
    assert file.read_text() == hook.address
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    repl = rpc.Client(rpc.repl_dial(file), no_schema=True, id="repl")
    repl.start()
    await repl.when_ready()
    assert repl.netmach.names == source.names
    assert (await repl.netmach.add("A")).executed
    assert repl.netmach.active_states() == ("A",)
    assert not (await repl.netmach.can_add_remote("B")).executed
    assert "Ask.whom" in await repl.arg_names()
    await repl.stop()
    await hook.stop()
    assert not file.exists()


async def test_many_may_attach_at_once() -> None:
    source = machine()
    hook = made(source)
    await hook.when_ready()
    repls = [rpc.Client(hook.address, no_schema=True, id=f"repl-{number}") for number in range(3)]
    for repl in repls:
        repl.start()
        await repl.when_ready()
    assert (await repls[0].netmach.add("A")).executed
    for repl in repls:
        await repl.netmach.when("A")
        await repl.stop()
    await hook.stop()


async def test_the_file_is_gone_when_the_machine_is(tmp_path: Path) -> None:
    source = machine()
    hook = made(source, am.Settings(repl="127.0.0.1:0", repl_dir=str(tmp_path)))
    gone = ended(hook)
    await hook.when_ready()
    assert hook.end.machine.id == "rm-repl-oven"
    source.dispose()
    assert list(tmp_path.iterdir()) == []
    await gone.wait()
    assert list(tmp_path.iterdir()) == []


async def test_nothing_happens_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AM_REPL_ADDR", raising=False)
    source = machine()
    assert rpc.repl_hook(source) is None
    assert rpc.repl_hook(source, am.Settings(repl="127.0.0.1:0", test_runner=True)) is None
    assert source.tracers == ()


async def test_the_environment_says_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AM_REPL_ADDR", f"unix://{tmp_path / 'repl.sock'}")
    monkeypatch.delenv("AM_TEST_RUNNER", raising=False)
    hook = rpc.repl_hook(machine())
    assert hook is not None
    await hook.when_ready()
    assert hook.address.startswith("unix://")
    await hook.stop()


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "10.1.2.3:7000", "example.org:7000", "ws://0.0.0.0:0/"])
async def test_other_computers_need_somebody_who_decides(address: str) -> None:
    with pytest.raises(SettingsError, match="say who may by allow="):
        rpc.repl_hook(machine(), am.Settings(repl=address))


async def test_with_somebody_who_decides_it_may_listen_everywhere() -> None:
    hook = made(machine(), am.Settings(repl="0.0.0.0:0"), allow=nobody)
    await hook.when_ready()
    repl = rpc.Client(f"tcp://127.0.0.1:{hook.address.rpartition(':')[2]}", no_schema=True)
    repl.start()
    with pytest.raises(rpc.NotConnected, match="FORBIDDEN"):
        await repl.when_ready()
    await hook.stop()


@pytest.mark.parametrize("address", ["7000", "host", "http://127.0.0.1:1/", "127.0.0.1:seven"])
async def test_what_is_no_address_is_told(address: str) -> None:
    with pytest.raises(SettingsError, match="AM_REPL_ADDR"):
        rpc.repl_hook(machine(), am.Settings(repl=address))


@pytest.mark.parametrize("id", ["../oven", "a/b", "..", ".hidden", "a\\b", "a\x00b", "x" * 129, "ofen über"])
async def test_an_id_cannot_lead_out_of_the_directory(id: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(SettingsError, match="cannot be part of a file's name"):
        rpc.repl_hook(machine(id), am.Settings(repl="127.0.0.1:0", repl_dir=str(folder)))
    assert not folder.exists()


async def test_a_directory_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="AM_REPL_DIR"):
        rpc.repl_hook(machine(), am.Settings(repl="127.0.0.1:0", repl_dir=str(tmp_path / "file")))


KILLED = """
import asyncio, sys
import asyncmachine as am
from asyncmachine import rpc

async def main():
    hook = rpc.repl_hook(am.Machine(rpc.StateSource, id="oven"), am.Settings(repl="127.0.0.1:0", repl_dir=sys.argv[1]))
    await hook.when_ready()
    print("listening", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def killed(folder: Path) -> AsyncIterator[Path]:
    """The file of a process that was killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(folder), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"listening\n"
    file = folder / "oven-repl.addr"
    assert rpc.repl_address(file).startswith("tcp://127.0.0.1:"), "it lives"
    process.kill()
    await process.wait()
    assert file.exists()
    yield file


async def test_the_file_of_a_killed_process_leads_nobody_astray(tmp_path: Path) -> None:
    async with killed(tmp_path) as file:
        # Another machine may listen at that port by now.
        stranger = rpc.Mux(machine("stranger"), file.read_text())
        stranger.start()
        await stranger.when_ready()
        with pytest.raises(rpc.AddressError, match=r"oven-repl\.addr: the process that wrote it has ended"):
            rpc.repl_address(file)
        repl = rpc.Client(rpc.repl_dial(file), no_schema=True, reconnect=False)
        repl.start()
        with pytest.raises(rpc.NotConnected, match="the process that wrote it has ended"):
            await repl.when_ready()
        assert not stranger.servers
        await stranger.stop()


async def test_a_machine_that_starts_again_is_found_by_who_has_waited_for_it(tmp_path: Path) -> None:
    async with killed(tmp_path) as file:
        repl = rpc.Client(rpc.repl_dial(file), no_schema=True, backoff=QUICK)
        repl.start()
        await repl.machine.when(C.RetryingConn)
        hook = made(machine(), am.Settings(repl="127.0.0.1:0", repl_dir=str(tmp_path)))
        await repl.when_ready()
        assert "src-id:oven" in repl.netmach.tags
        await repl.stop()
        await hook.stop()
        assert not file.exists()


async def test_files_of_killed_processes_are_swept_when_another_machine_gets_its_own(tmp_path: Path) -> None:
    async with killed(tmp_path) as file:
        other = made(machine("fridge"), am.Settings(repl="127.0.0.1:0", repl_dir=str(tmp_path)))
        assert not file.exists()
        await other.when_ready()
        third = made(machine("stove"), am.Settings(repl="127.0.0.1:0", repl_dir=str(tmp_path)))
        assert other.file is not None
        assert rpc.repl_address(other.file) == other.address, "that of a machine that lives stays"
        await other.stop()
        await third.stop()


async def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(rpc.AddressError, match="No such file or directory; no machine can be reached by this file"):
        rpc.repl_address(tmp_path / "nobody-repl.addr")


async def test_without_its_directory_the_machine_is_reached_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hook = made(machine(), am.Settings(repl="127.0.0.1:0", repl_dir=str(tmp_path / "run")))
    (tmp_path / "run").rmdir()
    await hook.when_ready()
    assert "no REPL will find this machine" in caplog.text
    assert hook.address
    await hook.stop()


async def test_machines_with_handlers_have_to_take_errors_of_clients() -> None:
    with pytest.raises(am.SchemaError, match="StateSource"):
        rpc.repl_hook(am.Machine({"A": {}}, {"AState": lambda e: None}), ON)


async def test_through_a_relay_it_is_called_by_one_repl() -> None:
    source, called = machine(), asyncio.Event()
    near, far = pair()

    async def dial() -> Transport:
        if called.is_set():
            await asyncio.Event().wait()
        called.set()
        return near

    hook = made(source, am.Settings(repl="1"), dial=dial)
    await hook.when_ready()
    assert (hook.end.machine.id, hook.address) == ("rs-repl-oven", "")
    repl = rpc.Client.over(far, no_schema=True)
    repl.start()
    await repl.when_ready()
    assert (await repl.netmach.add("A")).executed
    assert isinstance(hook.end, rpc.Server)
    await hook.end.machine.when(S.Ready)
    gone = ended(hook)
    source.dispose()
    await gone.wait()
    await repl.stop()


async def test_a_page_cannot_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "emscripten")
    with pytest.raises(SettingsError, match="dial="):
        rpc.repl_hook(machine(), ON)
