"""What a project of `am new app` does about mistakes, without a browser."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import asyncmachine as am
from asyncmachine_web.build import new_app

NAME = "mended_app"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    root = new_app(NAME, tmp_path)
    monkeypatch.syspath_prepend(root)
    yield root
    for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
        del sys.modules[name]


def told_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the library itself has logged, each with a traceback."""
    return [record.getMessage() for record in caplog.records if record.name == "asyncmachine" and record.exc_info]


def module(name: str) -> ModuleType:
    return importlib.import_module(f"{NAME}.{name}")


async def test_after_an_error_in_the_worker_its_button_works_again(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The page shows `Exception` until the next count, and waits for the end of `Count`."""
    told: list[str] = []
    answers = iter([OSError("no room"), None])

    def send(name: str, text: str) -> None:
        if error := next(answers):
            raise error
        told.append(text)

    states, worker = module("states"), module("worker")
    machine = am.Machine(states.Primes, worker.PrimeHandlers(SimpleNamespace(send_payload=send)), id="primes")
    failed = machine.when("Exception")
    machine.add(states.Primes.Count)
    await asyncio.wait_for(failed, 5)
    assert machine.active_states() == ("Exception",)
    assert told_of(caplog) == ["primes: CountState raised, and nothing handles Exception"]
    counted = machine.when_next_active(states.Primes.Counted)
    machine.add(states.Primes.Count)
    await asyncio.wait_for(counted, 5)
    await asyncio.wait_for(machine.when_not(states.Primes.Count), 5)
    assert not machine.is_err()
    assert told == ["1229 primes below 10000"]


def test_an_error_on_the_server_is_told_with_its_machine_and_handler(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backend, states = module("backend"), module("states")
    server = backend.Backend(project / "page")
    server.handlers.names = None
    assert server.machine.add(states.Guests.Sign, states.Name("Ada")).canceled
    assert told_of(caplog) == ["guests: SignState raised, and nothing handles Exception"]
