"""What the workers of the tests run."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.telemetry.dbg.sender import this_process
from asyncmachine_web.page import relay
from asyncmachine_web.page.lifecycle import lifecycle
from asyncmachine_web.page.workers import Context, Worker


class Leaf(rpc.StateSource):
    Job = am.state(multi=True)
    Done = am.state(multi=True)


class Ledger(rpc.StateSource):
    Told = am.state(multi=True)


@dataclass(frozen=True)
class Sample(am.Args, state="Told", prefix="workload"):
    tags: frozenset[str]
    ratio: float
    data: bytes


class LeafHandlers:
    def JobState(self, e: am.Event) -> None:
        e.remove(Leaf.Job)
        e.add(Leaf.Done)


async def echo(context: Context) -> None:
    """Sends every message back, with the worker's id before it; `exit` ends it."""
    while (message := await context.port.recv()) != b"exit":
        await context.port.send(f"{context.id} ".encode() + message)


async def nest(context: Context) -> None:
    """Passes messages on to a worker of its own, and its answers back."""
    inner = Worker.fork(f"{context.id}-inner", "workload:echo")
    port = await inner.dial()
    while True:
        await port.send(await context.port.recv())
        await context.port.send(f"{context.id} ".encode() + await port.recv())


async def about(context: Context) -> None:
    """Tells what it was given, and what happens to the page, as often as it is asked."""
    page = lifecycle().machine
    while True:
        await context.port.recv()
        facts = {
            "id": context.id,
            "env": dict(context.env),
            "environ": os.environ.get("AM_TEST"),
            "program": this_process().program,
            "page": sorted(page.active_states()),
        }
        await context.port.send(json.dumps(facts).encode())


async def keeps(context: Context) -> None:
    """Gets a secret for its id, in a worker of its own."""
    if context.id != "inner":
        await Worker.fork("inner", "workload:keeps").ended()
        return
    from asyncmachine_js import tab

    assert tab.secret("before") == "known"
    tab.keep(context.id, "found")


async def serve(context: Context) -> None:
    """Serves a machine on each port it gets."""
    leaf = am.Machine(Leaf, LeafHandlers(), id=context.id)
    server = rpc.Server(leaf, context.id, push_interval=0.0)
    server.listen(context.dial)
    await leaf.when_disposed()


async def ledger(context: Context) -> None:
    """Serves a machine that begins with the tick TICK, and answers each call with what it was told."""
    source = am.Machine(Ledger, id=context.id)
    begun = source.export()
    time = tuple([int(context.env["TICK"]) if name == Ledger.Told else 0 for name in begun.state_names])
    source.restore(am.Export(begun.id, begun.state_names, time, 1, 0))
    server = rpc.Server(source, context.id, push_interval=0.0)

    def told(e: am.Event) -> None:
        sample = e.args_or_none(Sample)
        server.send_payload("echo", e.raw_args["value"] if sample is None else sample, e)

    source.bind({"ToldState": told})
    server.listen(context.dial)
    await source.when_disposed()


async def tunnel(context: Context) -> None:
    """Opens a tunnel of its own id, and tells how the relay answered."""
    dial = relay.listen(context.id, "echo")
    try:
        transport = await dial()
        await transport.send(b"hello")
        await context.port.send(await transport.recv())
        await transport.recv()
    except relay.Refused as refused:
        await context.port.send(str(refused).encode())
        await context.port.recv()


async def fail(context: Context) -> None:
    raise RuntimeError("not today")


async def hang(context: Context) -> None:
    """Never lets go of the thread."""
    await context.port.recv()
    while True:
        pass


async def hang_and_import(context: Context) -> None:
    """Tells that it begins. What comes after its loop needs something that no snapshot has."""
    await context.port.recv()
    await context.port.send(b"gone")
    try:
        while True:
            pass
    finally:
        import statistics  # noqa: F401


async def hang_late(context: Context) -> None:
    """Tells that it begins. Python does not look at signals during the first part."""
    await context.port.recv()
    await context.port.send(b"gone")
    sum(range(50_000_000))
    while True:
        pass


async def stand_still(context: Context) -> None:
    """Tells that it begins. It stands outside of Python, where no error can be raised, if the page is isolated."""
    await context.port.recv()
    await context.port.send(b"gone")
    import js

    if js.crossOriginIsolated:
        js.Atomics.wait(js.Int32Array.new(js.SharedArrayBuffer.new(4)), 0, 0)
    while True:
        pass


async def hang_on(context: Context) -> None:
    """Does not even when it is told to."""
    await context.port.recv()
    while True:
        try:
            while True:
                pass
        except am.HandlerDeadline:
            pass


class StuckHandlers(LeafHandlers):
    def JobState(self, e: am.Event) -> None:
        super().JobState(e)
        while True:
            pass

    def ExceptionState(self, e: am.Event) -> None:
        """Expects it. It would be logged else."""


async def serve_stuck(context: Context) -> None:
    """Serves a machine with a handler that never ends, and goes on serving it."""
    leaf = am.Machine(Leaf, StuckHandlers(), id=context.id)
    server = rpc.Server(leaf, context.id, push_interval=0.0)
    server.listen(context.dial)
    await leaf.when_disposed()


async def loop(context: Context) -> None:
    """Tells on what loop it runs."""
    await context.port.recv()
    await context.port.send(json.dumps(type(asyncio.get_running_loop()).__name__).encode())
    await context.port.recv()


async def sleep(context: Context) -> None:
    await asyncio.Event().wait()
