"""The logs of the machines of clients, servers and muxes, switched on by the environment."""

from pathlib import Path
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.machine.levels import LogLevel
from asyncmachine.machine.settings import SettingsError, unknown
from asyncmachine.rpc.own_log import VARIABLES
from asyncmachine.rpc.states import ServerStates
from asyncmachine.rpc.transport import Listener
from asyncmachine.rpc.transport.memory import MemoryListener
from tests.rpc.behaviour import Basic


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES.values(), "AM_RPC_LOG_CLIENT_VERBOSE", "AM_LOG", "AM_LOG_PRINT", "AM_LOG_FILE"):
        monkeypatch.delenv(name, raising=False)


async def nowhere() -> Listener:
    raise AssertionError("nobody listens")


def source() -> am.Machine[Any]:
    return am.Machine(Basic, id="source")


def levels() -> tuple[LogLevel, LogLevel, LogLevel]:
    """Those of a new client, server and mux."""
    shown = source()
    made = rpc.Client("tcp://127.0.0.1:1", id="c"), rpc.Server(shown, "s"), rpc.Mux(shown, nowhere, "m")
    found = made[0].machine.log.level, made[1].machine.log.level, made[2].machine.log.level
    for each in made:
        each.machine.dispose()
    return found


def test_without_variables_they_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AM_LOG", "4")  # is for the machines of the application
    assert levels() == (0, 0, 0)


@pytest.mark.parametrize(
    ("variable", "found"),
    [
        ("AM_RPC_LOG_CLIENT", (2, 0, 0)),
        ("AM_RPC_LOG_CLIENT_VERBOSE", (5, 0, 0)),
        ("AM_RPC_LOG_SERVER", (0, 2, 0)),
        ("AM_RPC_LOG_MUX", (0, 0, 2)),
    ],
)
def test_each_variable_is_for_one_of_them(
    variable: str, found: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    assert levels() == found
    assert not unknown([variable])
    monkeypatch.setenv(variable, "off")
    assert levels() == (0, 0, 0)


def test_am_log_is_the_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AM_RPC_LOG_SERVER", "1")
    monkeypatch.setenv("AM_RPC_LOG_CLIENT_VERBOSE", "1")
    monkeypatch.setenv("AM_LOG", "3")
    assert levels() == (5, 3, 0)
    monkeypatch.setenv("AM_LOG", "9")
    with pytest.raises(SettingsError, match="AM_LOG is a level"):
        levels()


async def test_lines_tell_of_which_connection_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AM_RPC_LOG_SERVER", "1")
    monkeypatch.setenv("AM_RPC_LOG_MUX", "1")
    listener = MemoryListener()

    async def listen() -> Listener:
        return listener

    mux, client = rpc.Mux(source(), listen, "many"), rpc.Client(listener.dial, id="c")
    mux.start()
    await mux.when_ready()
    client.start()
    await client.when_ready()
    await client.stop()
    await mux.stop()
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("[rm-many] [state] +") and "Ready" in line for line in lines)
    assert any(line.startswith("[rs-many-1] [state] +") and "ClientConnected" in line for line in lines)
    assert not any(line.startswith("[rc-") for line in lines)


def test_a_file_gets_them_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AM_RPC_LOG_SERVER", "1")
    monkeypatch.setenv("AM_LOG_FILE", "1")
    server = rpc.Server(source(), "s")
    server.machine.add(ServerStates.Start)
    server.machine.dispose()
    assert "+Start" in (tmp_path / "rs-s.log").read_text()
    assert not capsys.readouterr().out
