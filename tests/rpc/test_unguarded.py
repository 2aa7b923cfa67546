"""What the log is told of servers that others can reach, and that let everybody in."""

from __future__ import annotations

from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.states import ServerStates as S
from asyncmachine.rpc.transport import Listener
from asyncmachine.rpc.transport.memory import MemoryListener
from asyncmachine.rpc.unguarded import is_reachable
from tests.rpc.behaviour import Basic


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:1", "tcp://[::]:1", "ws://10.1.2.3:1/", "tcp://example.org:1"])
def test_others_can_reach(address: str) -> None:
    assert is_reachable(address)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "ws://[::1]:1/", "tcp://localhost:1", "unix:///s", "memory"])
def test_others_cannot_reach(address: str) -> None:
    assert not is_reachable(address)


async def beyond() -> Listener:
    listener = MemoryListener()
    listener.address = "tcp://0.0.0.0:7000"
    return listener


def nobody(*_: Any) -> None:
    """Lets nobody in."""


@pytest.mark.parametrize("allow", [None, nobody])
@pytest.mark.parametrize("kind", ["mux", "server"])
async def test_an_address_beyond_this_computer_without_allow_is_warned_of(
    kind: str, allow: Any, caplog: pytest.LogCaptureFixture
) -> None:
    source = am.Machine(Basic, id="source")
    if kind == "mux":
        mux = rpc.Mux(source, beyond, "shop", allow=allow)
        mux.start()
        await mux.when_ready()
        await mux.stop()
    else:
        server = rpc.Server(source, "shop", allow=allow)
        server.serve_at(beyond)
        await server.machine.when(S.RpcReady)
        await server.stop()
    warned = [one for one in caplog.messages if "beyond this computer, and has no allow" in one]
    assert len(warned) == (1 if allow is None else 0)
