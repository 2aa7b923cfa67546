"""W3C trace context goes with mutations and payloads, if somebody asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.states import ServerStates
from asyncmachine.rpc.tracing import packed, within
from asyncmachine.rpc.transport.memory import pair
from tests.rpc.behaviour import Basic, paired
from tests.rpc.nets import MemoryNet

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ORIGIN = am.MutationSource("elsewhere", "tx7", 12)

Mutate = Callable[[rpc.NetworkMachine[Any]], am.Result]


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


@pytest.mark.parametrize(
    ("mutate", "ran"),
    [
        (lambda mirror: mirror.add(["A", "Ask"], n=1, e=ORIGIN), "AState"),
        (lambda mirror: mirror.remove("B", n=1, e=ORIGIN), "BEnd"),
        (lambda mirror: mirror.set(["A"], n=1, e=ORIGIN), "AState"),
        (lambda mirror: mirror.toggle("A", n=1, e=ORIGIN), "AState"),
        (lambda mirror: mirror.toggle("B", n=1, e=ORIGIN), "BEnd"),
        (lambda mirror: mirror.add_ns("A", n=1, e=ORIGIN), "AState"),
        (lambda mirror: mirror.add_err(ValueError("no good"), {"n": 1}, state="A", e=ORIGIN), "AState"),
        (lambda mirror: mirror.within(9.0).add("A", n=1, e=ORIGIN), "AState"),
        (lambda mirror: mirror.within(9.0).remove("B", n=1, e=ORIGIN), "BEnd"),
        (lambda mirror: mirror.within(9.0).set("A", n=1, e=ORIGIN), "AState"),
    ],
    ids=["add", "remove", "set", "toggle", "toggle off", "add_ns", "add_err", "add in", "remove in", "set in"],
)
async def test_every_kind_of_mutation_brings_its_origin_and_trace_to_the_handlers_of_the_source(
    mutate: Mutate, ran: str
) -> None:
    seen: list[tuple[str, am.MutationSource | None, int, str]] = []

    def handler(e: am.Event) -> None:
        seen.append((e.name, e.mutation.source, e.raw_args["n"], tracing.current()))

    tracing = rpc.ContextTracing()
    handlers = {"AState": handler, "BEnd": handler}
    options: dict[str, Any] = {"handlers": handlers, "tracing": tracing, "client": {"tracing": tracing}}
    async with paired(MemoryNet(), **options) as pair:
        pair.source.add("B")
        await pair.mirror.when("B")
        with tracing.continued(TRACE):
            result = mutate(pair.mirror)
        assert (await result).executed
        await pair.client.sync()
        assert (ran, ORIGIN, 1, TRACE) in seen
        assert {each[1:] for each in seen} == {(ORIGIN, 1, TRACE)}, "set has removed B, too"


async def test_an_event_is_the_origin_of_what_its_handler_asks_of_a_mirror() -> None:
    asked: list[am.MutationSource] = []
    seen: list[am.MutationSource | None] = []

    def here(e: am.Event) -> None:
        asked.append(e.source)
        both.mirror.remove("B", e=e)
        both.mirror.add_ns("Ask", e=e)

    def there(e: am.Event) -> None:
        seen.append(e.mutation.source)

    local: am.Machine[Any] = am.Machine(Basic, {"AState": here}, id="local")
    async with paired(MemoryNet(), handlers={"BEnd": there, "AskState": there}) as both:
        await both.mirror.add("B")
        assert local.add("A").executed
        await both.client.sync()
    assert seen == asked * 2
    assert asked[0].machine_id == "local"
