"""The loop as machines: the event and the value are states, which come with the answer to the call."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.transport.addresses import Address
from bench.loops import Drive

VALUES = ("Value1", "Value2", "Value3")


class Worker(rpc.StateSource):
    """Holds one of three values, and changes it when it is called for the one it has."""

    Start = am.state()
    CallOp = am.state(multi=True, require=Start)
    Event = am.state(multi=True, require=Start)
    Value1 = am.state(remove=VALUES)
    Value2 = am.state(remove=VALUES)
    Value3 = am.state(remove=VALUES)
    Values = am.group(VALUES)


class Handlers:
    """Of the worker."""

    def CallOpState(self, e: am.Event) -> None:
        assert e.machine.switch(VALUES) == VALUES[e.raw_args["op"] - 1]
        e.add((random.choice(VALUES), "Event"))


def worker() -> am.Machine[Worker]:
    """A worker that has begun."""
    machine = am.Machine(Worker, Handlers(), id="worker")
    machine.add((Worker.Start, Worker.Value1, Worker.Event))
    return machine


@asynccontextmanager
async def serving(address: str = "tcp://127.0.0.1:0") -> AsyncIterator[int]:
    """Serves a worker; gives the port."""
    mux = rpc.Mux(worker(), address, "bench", push_interval=0.001)
    mux.start()
    await mux.when_ready()
    yield Address.parse(mux.address).port
    await mux.stop()


@asynccontextmanager
async def driving(port: int, scheme: str = "tcp") -> AsyncIterator[Drive]:
    """A client of the worker there."""
    client = rpc.Client(rpc.dial(f"{scheme}://127.0.0.1:{port}"), Worker, id="bench", reconnect=False)
    client.start()
    await client.when_ready()
    drive = loop_of(client.netmach)
    drive.client = client  # type: ignore[attr-defined]
    yield drive
    await client.stop()
    client.machine.dispose()


def loop_of(worker: am.Api[Worker]) -> Drive:
    """The loop, on the worker itself or its mirror."""

    async def drive(count: int) -> None:
        for _ in range(count):
            event = worker.when_ticks(Worker.Event, 2)
            value = worker.switch(Worker.Values)
            result = worker.add(Worker.CallOp, op=VALUES.index(value or "") + 1)
            await event
            assert (await result).executed

    return drive


def calls_of(drive: Any) -> tuple[int, int]:
    """Messages sent and received by the client of a `driving` so far."""
    counters = drive.client.statistics
    return counters.frames_out, counters.frames_in
