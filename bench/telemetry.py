"""What the debug stream costs a machine.

The recorder is another process, at the end of a WebSocket. A figure "sent" is the time that this process has run until
all of it had gone there, so noting, packing, sending and the switching between two threads are in it. Whether the
recorder has everything is looked at after each round; nothing may be dropped.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import process_time, sleep
from typing import Any

import asyncmachine as am
from asyncmachine.rpc.states import ServerStates
from asyncmachine.telemetry import dbg
from asyncmachine.telemetry.dbg import messages as m
from asyncmachine.telemetry.dbg.outbox import Outbox
from asyncmachine.telemetry.dbg.packing import Packer
from asyncmachine.telemetry.dbg.tracer import DbgTracer
from bench.machine_rows import best, pair, server
from bench.report import Row, main, row

ROUNDS = 9
PAIRS = 20_000
TOLD_PAIRS = 1_000
"""With log and steps: a storm of so many stays below the 16 MiB of texts that may wait. Of a longer one the oldest are
dropped, as they are to be, and what was not sent costs nothing.
"""
RECORDS_A_PAIR = 4
"""±Start and, after each of them, the auto mutation that is rejected."""

RECORDER = """
import asyncio, dataclasses, json, sys
from pathlib import Path
from websockets.asyncio.server import serve
from asyncmachine.rpc.transport.websocket import SETTINGS, WebSocketTransport
from asyncmachine.telemetry import dbg

async def main():
    recorder = dbg.Recorder(dbg.SingleDump(Path(sys.argv[1])))
    loop = asyncio.get_running_loop()

    async def take(connection):
        await recorder.serve(WebSocketTransport(connection))

    async with recorder.running(), serve(take, "127.0.0.1", 0, **SETTINGS) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        while await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(dataclasses.asdict(recorder.statistics())), flush=True)

asyncio.run(main())
"""


class Live:
    """A recorder in another process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._ask, self._answers = process.stdin, process.stdout
        self.address = f"127.0.0.1:{self._answers.readline().strip()}"

    def statistics(self) -> dict[str, int]:
        """The recorder's counters now."""
        self._ask.write("\n")
        self._ask.flush()
        found: dict[str, int] = json.loads(self._answers.readline())
        return found

    def has(self, records: int) -> None:
        """Waits until it has heard of so many, dropped ones included."""
        while (found := self.statistics())["records"] + found["lost"] < records:
            sleep(0.001)


@contextmanager
def live() -> Iterator[Live]:
    """Starts one, and ends it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bench.amdbg"
        command = [sys.executable, "-c", RECORDER, str(file)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield Live(process)
            finally:
                assert process.stdin is not None
                process.stdin.close()


def storm(step: Callable[[], object], calls: int, taken: Callable[[], object]) -> float:
    """Microseconds for one call, until `taken` returns, without the garbage collector and what else the host does."""
    gc.collect()
    gc.disable()
    try:
        begun = process_time()
        for _ in range(calls):
            step()
        taken()
        return (process_time() - begun) / calls * 1e6
    finally:
        gc.enable()


def streamed(recorder: Live, machine: am.Machine[Any], step: Callable[[], object], calls: int = PAIRS) -> float:
    """Microseconds for one pair of a watched machine, all of it recorded. The best of several rounds."""
    attachment = dbg.attach(machine, recorder.address)
    assert attachment is not None
    sender = attachment.sender

    def sent() -> None:
        while sender.statistics().waiting:
            sleep(0.0002)

    figures = []
    found = recorder.statistics()
    expected = found["records"] + found["lost"]
    for _ in range(ROUNDS):
        figures.append(storm(step, calls, sent))
        expected += calls * RECORDS_A_PAIR
        recorder.has(expected)
    machine.dispose()
    return min(figures)


def noted(machine: am.Machine[Any], step: Callable[[], object]) -> float:
    """Microseconds for one call whose notes nobody sends."""
    outbox = Outbox(dbg.OutboxLimits(notes=1 << 30))
    machine.trace(DbgTracer(machine, outbox))
    calls = 4_000
    return min(storm(step, calls, outbox.take) for _ in range(5 * ROUNDS))


def packed(machine: am.Machine[Any], step: Callable[[], object]) -> tuple[float, float]:
    """Nanoseconds that packing takes for a record, and its bytes."""
    outbox, packer = Outbox(), Packer(m.Hello(m.MAGIC, m.VERSION, "bench"))
    list(packer.opening())
    machine.trace(DbgTracer(machine, outbox))
    figures, size, calls = [], 0.0, 3_000
    records = calls * RECORDS_A_PAIR
    for _ in range(5 * ROUNDS):
        for _ in range(calls):
            step()
        losses, items = outbox.take()
        begun = process_time()
        frames = list(packer.frames(losses, items))
        figures.append((process_time() - begun) / records * 1e9)
        size = sum(map(len, frames)) / records
    return min(figures), size


def with_handlers() -> am.Machine[ServerStates]:
    """One whose transitions are made whole, with handlers and without a log."""
    machine = server()
    machine.bind({"StartState": lambda e: None, "StartEnd": lambda e: None})
    return machine


def rows() -> Iterator[Row]:
    """All figures. The stream is measured against the same machine without it."""
    plain = best(pair(server(), "Start"))
    machine = server()
    yield row("row c, noted", "µs", noted(machine, pair(machine, "Start")), peers={"row c": plain})
    machine = server()
    nanoseconds, size = packed(machine, pair(machine, "Start"))
    yield row("packing, a record", "ns", nanoseconds)
    yield row("a record on the wire", "bytes", size)
    with live() as recorder:
        machine = server()
        sent = streamed(recorder, machine, pair(machine, "Start"))
        plain = min(plain, best(pair(server(), "Start")))
        yield row("row c, sent to a live recorder", "µs", sent, peers={"row c": plain}, aim="ratio >= 0.4")
        machine = with_handlers()
        sent = streamed(recorder, machine, pair(machine, "Start"))
        whole = best(pair(with_handlers(), "Start"))
        yield row("row c with handlers, sent", "µs", sent, peers={"without": whole})
        machine = with_handlers()
        machine.log.keep(3)
        machine.log.switch("steps")
        sent = streamed(recorder, machine, pair(machine, "Start"), TOLD_PAIRS)
        told = with_handlers()
        told.log.keep(3)
        told.log.switch("steps")
        yield row("same, with log and steps, sent", "µs", sent, peers={"without": best(pair(told, "Start"))})
        found = recorder.statistics()
        yield row("records taken", "records", found["records"])
        yield row("records lost", "records", found["lost"], aim="ours <= 0")


if __name__ == "__main__":
    sys.exit(main("telemetry", rows))
