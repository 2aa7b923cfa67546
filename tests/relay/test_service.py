"""A relay as a program, as far as it can be seen without one: its times, and what it warns of."""

from __future__ import annotations

from pathlib import Path

import pytest

import asyncmachine as am
from asyncmachine.telemetry import dbg
from asyncmachine.telemetry.dbg.codec import encode
from asyncmachine_relay import RelayConfigError, RelayStates
from asyncmachine_relay.config import LONGEST_DRAIN, Debug, Operation
from asyncmachine_relay.doubts import doubts
from asyncmachine_relay.reading import parse
from asyncmachine_relay.service import CLOSING, IN_TIME, PARTING, dropping, parting, recorder_of
from asyncmachine_relay.watching import Watched
from tests.telemetry.hearing import HELLO
from tests.telemetry.messages import a_batch, a_machine


@pytest.mark.parametrize("drain", [0, 0.2, 5, Operation().drain, LONGEST_DRAIN])
def test_draining_closing_and_sending_on_end_together_in_time(drain: float) -> None:
    dropped = dropping(drain)
    assert dropped - drain > 0.79, "there is time for a closing handshake"
    assert dropped + parting(dropped) <= IN_TIME + 1e-9 < 9.5
    assert parting(dropped) >= PARTING
    assert parting(0.1) == 1, "who is early gives others their time"
    assert dropping(1) == 1 + CLOSING


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("name = 'a b/../c'", ("name",), "cannot be part of a file's name"),
        ("[server]\nproxies = ['127.0.0.1', '0.0.0.0/0']", ("server", "proxies"), "an address in 0.0.0.0/0 may say"),
        ("[server]\nproxies = ['::/0']", ("server", "proxies"), "list those of the proxies alone"),
        ("[pages]\nroots = ['/tmp/..']", ("pages", "roots"), "/tmp/.. is the whole disk"),
        ("[pages]\nmounts = { '/all/' = '/' }", ("pages", "mounts"), "is the whole disk"),
        ("[dbg]\nforward = ['localhost:1']", ("dbg", "forward"), "nothing is sent on while ingest = false"),
    ],
)
def test_what_is_valid_and_hardly_meant_is_doubted(text: str, where: tuple[str, ...], says: str) -> None:
    [(found, warning)] = doubts(parse(text))
    assert found == where
    assert warning.startswith("warning: ")
    assert says in warning


def test_what_operators_write_is_not_doubted() -> None:
    usual = "name = 'edge-1'\n[server]\nproxies = ['127.0.0.1', '10.0.0.0/8', 'fd00::/16']\n[pages]\nroots = ['.']\n"
    assert doubts(parse(f"{usual}[dbg]\ningest = true\nforward = ['localhost:6831']\n")) == []


def test_files_end_and_stay_in_code_as_in_the_settings() -> None:
    debug = Debug()
    assert dbg.Rotation() == dbg.Rotation(
        records=debug.interval_tx,
        seconds=debug.interval,
        bytes=debug.file_bytes,
        keep_files=debug.max_files,
        keep_bytes=debug.max_bytes,
    )


def test_a_file_of_the_debug_stream_ends_after_the_bytes_that_are_set(tmp_path: Path) -> None:
    recorder = recorder_of(Debug(ingest=True, dir=tmp_path, file_bytes=1))
    assert recorder is not None
    inlet = recorder.connect()
    for message in (HELLO, a_machine(), a_batch()):
        inlet.receive(encode(message))
    assert len(recorder.files) == 1
    recorder.close()


async def test_a_recorder_does_not_record_itself() -> None:
    machine = am.Machine(RelayStates, id="relay")
    for address in ("127.0.0.1:1", "ws://localhost:1/dbg.ws"):
        Watched(machine, "localhost", 1, env={"AM_DBG_ADDR": address})
        assert not machine.tracers
    machine.dispose()


async def test_a_variable_of_a_debugger_or_a_repl_that_is_wrong_is_told(tmp_path: Path) -> None:
    machine = am.Machine(RelayStates, id="relay")
    for name, wrong in (("AM_DBG_ADDR", "nowhere"), ("AM_REPL_ADDR", "192.0.2.1:8"), ("AM_LOG", "9")):
        with pytest.raises(RelayConfigError, match=wrong.partition(":")[0]):
            Watched(machine, "127.0.0.1", 1, env={name: wrong, "AM_REPL_DIR": str(tmp_path)})
    machine.dispose()
