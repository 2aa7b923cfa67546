"""Random mutations on both sides over a connection that loses, repeats, swaps and damages clock messages, and breaks.

At rest mirror and source are equal in ticks and queue tick. Each call was answered executed, canceled or unknown, and
the source ran it at most once, exactly once if it was answered executed. Payloads are consumed exactly once, in order.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.codec import decode, encode
from asyncmachine.rpc.transport.memory import Cut, Frame
from tests.rounds import Rounds
from tests.rpc.behaviour import QUICK, Basic, Pair, Taking
from tests.rpc.test_faults import FaultyNet
from tests.rpc.time_loop import run

SCENARIOS = 200
CLOCKS = (m.ClockPush, m.Full)


class Weather:
    """What happens to each message, drawn from a seed. It clears up when the test wants to see the outcome."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.badness = draw.choice([0.0, 0.1, 0.3, 0.6])
        self.breakage = draw.choice([0.0, 0.0, 0.02, 0.1])
        self.held: list[bytes] = []
        self.counts: Counter[str] = Counter()

    def clear_up(self) -> None:
        self.badness = self.breakage = 0.0

    def __call__(self, frame: Frame) -> Iterable[bytes]:
        found = decode(frame.data)
        if self.draw.random() < self.breakage:
            self.held.clear()
            self.counts["cut"] += 1
            raise Cut
        if not isinstance(found, CLOCKS) or self.draw.random() >= self.badness:
            held, self.held = self.held, []
            return (frame.data, *held) if frame.sender == "a" else (frame.data,)
        what = self.draw.choice(["lose", "repeat", "hold", "damage"])
        self.counts[what] += 1
        if what == "lose":
            return ()
        if what == "repeat":
            return (frame.data, frame.data)
        if what == "hold":
            self.held.append(frame.data)
            return ()
        return (damaged(found, self.draw),)


def damaged(found: m.Message, draw: random.Random) -> bytes:
    if isinstance(found, m.ClockPush):
        changes = list(found.changes)
        if changes:
            changes[draw.randrange(len(changes) // 2) * 2 + 1] += draw.randint(1, 9)
        return encode(m.ClockPush(found.seq, found.queue, found.machine, tuple(changes), found.hash ^ (not changes)))
    assert isinstance(found, m.Full)
    return encode(
        m.Full(found.seq + draw.randint(1, 3), 0, found.time, found.queue_tick, found.machine_tick, found.hash)
    )


async def scenario(seed: int) -> Counter[str]:
    """One story. Returns what has happened in it."""
    draw = random.Random(seed)
    weather = Weather(draw)
    runs: Counter[int] = Counter()
    taking = Taking()
    consumer: am.Machine[Any] = am.Machine(Basic, taking, id="consumer")
    handlers = {
        "AskState": lambda e: runs.update([e.raw_args["n"]] if "n" in e.raw_args else []),
        "AskEnter": lambda e: not e.raw_args.get("veto"),
    }
    source: am.Machine[Any] = am.Machine(Basic, handlers, id="source")
    net = FaultyNet(weather)
    net.faults = [weather] * 1000
    interval = draw.choice([0.0001, 0.01, 0.25])
    pair = Pair(net, source, rpc.Server(source, "stormy", push_interval=interval), None)  # type: ignore[arg-type]
    timing = rpc.Timing(sync=0.05, silence=0.2, dead=0.6, answer=0.5)
    pair.client = rpc.Client(pair.dial, Basic, id="stormy", consumer=consumer, backoff=QUICK, timing=timing)
    pair.server._timing = timing
    pair.client.start()
    await pair.client.when_ready()

    calls: dict[int, am.Result] = {}
    payloads: list[am.Result] = []
    for n in range(draw.randint(5, 40)):
        match draw.choice(["call", "call", "source", "payload", "pause", "pause"]):
            case "call":
                calls[n] = pair.mirror.add("Ask", n=n, veto=draw.random() < 0.2)
            case "source":
                getattr(source, draw.choice(["add", "remove", "toggle"]))(draw.choice("ABCD"))
            case "payload":
                payloads.append(pair.server.send_payload("figures", len(payloads)))
            case "pause":
                await asyncio.sleep(draw.choice([0.0, 0.001, 0.02, 0.3]))
    weather.clear_up()
    counts = weather.counts
    for n, result in calls.items():
        try:
            outcome = (await result).outcome.value
        except rpc.UnknownOutcome:
            outcome = "unknown"
            assert runs[n] <= 1
        except rpc.NotConnected:
            outcome = "not sent"
            assert runs[n] == 0
        else:
            assert runs[n] == (outcome == "executed")
        counts[outcome] += 1
    for payload in payloads:
        assert (await payload).executed
    assert [got.data for got in taking.got] == list(range(len(payloads)))
    counts["payloads"] += len(payloads)
    await pair.client.when_ready()
    # At rest: the last push has gone out, and a ping would have told of a lost one.
    await asyncio.sleep(2.0)
    await pair.client.when_ready()
    pair.assert_equal()
    session = pair.client._connecting.ready
    assert session is not None
    counts["out of step"] += pair.client.statistics.out_of_step
    await pair.client.stop()
    await pair.server.stop()
    while pair.serving:
        await asyncio.wait(pair.serving)
    return counts


def story(seed: int) -> Counter[str]:
    told: Counter[str] = Counter()

    async def body() -> None:
        told.update(await scenario(seed))

    run(body())
    return told


@pytest.mark.timeout(300)
def test_mirror_and_source_are_equal_after_any_weather() -> None:
    total: Counter[str] = Counter()
    for seed in range(SCENARIOS):
        try:
            total += story(seed)
        except BaseException as error:
            error.add_note(f"in scenario {seed}")
            raise
    for what in (
        "lose",
        "repeat",
        "hold",
        "damage",
        "cut",
        "executed",
        "canceled",
        "unknown",
        "payloads",
        "out of step",
    ):
        assert total[what] > SCENARIOS // 20, f"{what} hardly happened: {total}"


@pytest.mark.nightly
def test_a_night_of_weather(rounds: Rounds) -> None:
    total: Counter[str] = Counter()
    for seed in rounds:
        total += story(seed)
    print(dict(total))
