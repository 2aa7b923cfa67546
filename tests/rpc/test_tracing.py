"""W3C trace context goes with mutations and payloads, if somebody asked for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.states import ServerStates
from asyncmachine.rpc.tracing import packed, within
from asyncmachine.rpc.transport.memory import pair
from tests.rpc.behaviour import Basic

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("text", ["", "garbage", "01" + TRACE[2:], TRACE.upper(), TRACE + "-more"])
def test_what_is_no_traceparent_is_left_out(text: str) -> None:
    tracing = rpc.ContextTracing()
    with tracing.continued(text):
        assert packed(tracing) == b""
    assert packed(None) == b""


def test_there_and_back() -> None:
    tracing = rpc.ContextTracing()
    with tracing.continued(TRACE):
        trace = packed(tracing)
    assert len(trace) == 25
    with within(tracing, trace):
        assert tracing.current() == TRACE
    assert tracing.current() == ""
    with within(None, trace), within(tracing, b"short"):
        assert tracing.current() == ""


@pytest.mark.parametrize("on", [True, False])
async def test_a_mutation_and_the_payload_that_answers_it_are_of_one_trace(on: bool) -> None:
    tracing = rpc.ContextTracing() if on else None
    seen: list[str] = []

    def asked(e: am.Event) -> None:
        seen.append(rpc.ContextTracing().current())
        server.send_payload("answer", 1, e)

    def taken(e: am.Event) -> None:
        seen.append(rpc.ContextTracing().current())
        e.remove("ServerPayload")

    source: am.Machine[Any] = am.Machine(Basic, {"AskState": asked}, id="source")
    consumer: am.Machine[Any] = am.Machine(Basic, {"ServerPayloadState": taken}, id="consumer")
    server = rpc.Server(source, "test", push_interval=0, tracing=tracing)
    near, far = pair()
    serving = asyncio.create_task(server.serve(near))
    client = rpc.Client.over(far, Basic, id="test", consumer=consumer, tracing=tracing)
    client.start()
    await client.when_ready()
    await server.machine.when(ServerStates.Ready)
    arrived = consumer.when_ticks("ServerPayload", 1)
    sent = client.statistics.bytes_out
    with rpc.ContextTracing().continued(TRACE):
        result = client.netmach.add(Basic.Ask)
    assert (await result).executed
    await arrived
    assert seen == ([TRACE, TRACE] if on else ["", ""])
    # Off, the trace costs nothing: array, kind, number, states. On: three empty fields, and 25 bytes in a field of 27.
    assert client.statistics.bytes_out - sent - 12 == (5 + 3 + 27 if on else 5)
    await client.stop()
    await serving
