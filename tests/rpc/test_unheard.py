"""Mutations of a mirror that fail and that nobody awaits do not get lost: the log tells of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc import unheard
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.transport.memory import pair
from tests.rpc.behaviour import Basic
from tests.rpc.test_mux import told

REFUSED = "rc-one: nobody awaited add A, which has failed: FORBIDDEN: "


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unheard, "_told", {})


@asynccontextmanager
async def looker() -> AsyncIterator[rpc.Client]:
    """A client that may look, and call B."""
    near, far = pair()
    server = rpc.Server(am.Machine(Basic, id="source"), "s", allow=lambda *_: rpc.Grants(mutate=("B",)))
    serving = asyncio.create_task(server.serve(far))
    client = rpc.Client.over(near, Basic, id="one")
    client.start()
    await client.when_ready()
    yield client
    await client.stop()
    await server.stop()
    await serving


def texts(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in told(caplog)]


async def failed(client: rpc.Client) -> None:
    """Adds A, lets the result go, and waits until the client's machine has been told."""
    heard = client.machine.when_time([C.Exception], [client.machine.tick(C.Exception) + 1])
    client.netmach.add("A")
    await heard


async def test_a_mutation_that_is_refused_is_logged_once_with_its_states_and_the_reason(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with looker() as client:
        await failed(client)
        (text,) = texts(caplog)
        assert text.startswith(REFUSED) and "A" in text.removeprefix(REFUSED)
        assert told(caplog)[0].levelname == "WARNING"
        await failed(client)
        assert len(texts(caplog)) == 1
        monkeypatch.setattr(unheard, "AGAIN", 0.0)
        await failed(client)
        assert len(texts(caplog)) == 2


async def test_one_that_is_awaited_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with looker() as client:
        with pytest.raises(rpc.CallRefused):
            await client.netmach.add("A")
        await asyncio.sleep(0)
        await client.netmach.add("B")
        assert texts(caplog) == []


async def test_whoever_hears_of_it_otherwise_finds_it_there(caplog: pytest.LogCaptureFixture) -> None:
    async with looker() as client:
        seen: list[BaseException] = []
        client.machine.on_error(lambda _, error: seen.append(error))
        await failed(client)
        assert [type(error) for error in seen] == [rpc.CallRefused]
        assert texts(caplog) == []


async def test_what_is_remembered_of_failures_is_bounded(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unheard, "KINDS", 2)
    machine = am.Machine({"A": {}}, id="m")
    for state in ("A", "B", "A", "C", "A"):
        unheard.unheard(machine, ("add", state), rpc.NotConnected("not sent"))
    assert [text.split()[4].rstrip(",") for text in texts(caplog)] == ["A", "B", "C", "A"]


async def test_what_was_never_sent_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    async with looker() as client:
        await client.stop()
        caplog.clear()
        heard = client.machine.when_time([C.Exception], [client.machine.tick(C.Exception) + 1])
        client.netmach.remove("A")
        await heard
        assert "nobody awaited remove A, which has failed: not connected" in texts(caplog)[0]
