"""Random mutations on both sides over a connection that loses, repeats, swaps and damages messages, and breaks.

At rest mirror and source are equal in ticks and queue tick. Each call was answered executed or canceled (or not sent,
without a connection), and the source ran it exactly once if it was answered executed, and not otherwise; those that
are not answered ran once, and all in their order. Payloads are consumed exactly once, in order; large ones too,
and equal to the last byte. All that behind one server, and behind a mux, where each connection has another one.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import pytest
from msgspec.structs import replace

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.codec import decode, encode
from asyncmachine.rpc.compression import unpacked
from asyncmachine.rpc.transport import MAX_FRAME, Listener, Transport
from asyncmachine.rpc.transport.backlog import Backlog
from asyncmachine.rpc.transport.memory import Cut, Frame
from tests.rounds import Rounds
from tests.rpc.behaviour import QUICK, Basic, Pair, Taking
from tests.rpc.test_faults import FaultyNet
from tests.rpc.time_loop import run

SCENARIOS = 1000
CLOCKS = (m.ClockPush, m.ClockSteps, m.Full, m.Grown)
CALLS = (m.Add, m.AddUnanswered, m.Result)
FILM = random.Random(0).randbytes(MAX_FRAME + 200_000)


class Weather:
    """What happens to each message, drawn from a seed. It clears up when the test wants to see the outcome."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.badness = draw.choice([0.0, 0.1, 0.3, 0.6])
        self.breakage = draw.choice([0.0, 0.0, 0.02, 0.1])
        self.held: dict[str, list[bytes]] = {"a": [], "b": []}
        self.counts: Counter[str] = Counter()

    def clear_up(self) -> None:
        self.badness = self.breakage = 0.0

    def __call__(self, frame: Frame) -> Iterable[bytes]:
        found = decode(frame.data)
        if isinstance(found, m.Compressed):
            self.counts["compressed"] += 1
            found = decode(unpacked(found.data))
        if isinstance(found, m.Hello):
            self.held = {"a": [], "b": []}  # what is held back does not outlive its connection
        if self.draw.random() < self.breakage:
            self.held = {"a": [], "b": []}
            self.counts["cut"] += 1
            self.counts["cut in a film"] += isinstance(found, m.Chunk)
            raise Cut
        if not isinstance(found, CLOCKS + CALLS) or self.draw.random() >= self.badness:
            held, self.held[frame.sender] = self.held[frame.sender], []
            return (frame.data, *held)
        what = self.draw.choice(["lose", "repeat", "hold", "damage"])
        self.counts[what] += 1
        if what == "lose":
            return ()
        if what == "repeat":
            return (frame.data, frame.data)
        if what == "hold":
            self.held[frame.sender].append(frame.data)
            return ()
        return (damaged(found, self.draw) if isinstance(found, CLOCKS) else corrupted(frame.data, self.draw),)


def corrupted(data: bytes, draw: random.Random) -> bytes:
    """A message of which the kind is none: whatever gets it ends the connection."""
    return data[:1] + bytes([draw.choice([0x7F, 0xC0, 0xFF])]) + data[2:]


def damaged(found: m.Message, draw: random.Random) -> bytes:
    if isinstance(found, m.ClockPush):
        changes = list(found.changes)
        if changes:
            changes[draw.randrange(len(changes) // 2) * 2 + 1] += draw.randint(1, 9)
        return encode(m.ClockPush(found.seq, found.queue, found.machine, tuple(changes), found.hash ^ (not changes)))
    if isinstance(found, m.ClockSteps):
        return encode(replace(found, steps=found.steps[1:], hash=found.hash ^ (not found.steps)))
    if isinstance(found, m.Grown):
        return encode(replace(found, seq=found.seq + draw.randint(1, 3)))
    assert isinstance(found, m.Full)
    return encode(
        m.Full(found.seq + draw.randint(1, 3), 0, found.time, found.queue_tick, found.machine_tick, found.hash)
    )


class Door:
    """A listener in the weather."""

    def __init__(self, net: FaultyNet) -> None:
        self.address = "stormy"
        self._net = net
        self._arrived = Backlog()

    async def listen(self) -> Listener:
        return self

    async def dial(self) -> Transport:
        near, far = await self._net.connect()
        self._arrived.put(near)
        return far

    async def accept(self) -> Transport:
        return await self._arrived.get()

    async def close(self) -> None:
        await self._arrived.end()


class Story:
    """One story, drawn from a seed: who asks what of whom, and when."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.weather = Weather(self.draw)
        self.runs: Counter[int] = Counter()
        self.order: list[int] = []
        self.taking = Taking()
        self.first: rpc.Server | None = None
        self.rare = self.draw.choice([[], [], [], ["grow"], ["film"]])
        self.compression = self.draw.random() < 0.5
        self.calls: dict[int, am.Result] = {}
        self.told: dict[int, am.Result] = {}
        self.payloads: list[am.Result] = []
        self.films: list[tuple[am.Result, bytes]] = []
        handlers = {"AskState": self.asked, "AskEnter": lambda e: not e.raw_args.get("veto")}
        source: am.Machine[Any] = am.Machine(Basic, handlers, id="source")
        net = FaultyNet(self.weather)
        net.faults = [self.weather] * 1000
        timing = rpc.Timing(sync=0.05, silence=0.2, dead=0.6, answer=0.5, retry=0.1)
        interval = self.draw.choice([0.0001, 0.01, 0.25])
        chunk = self.draw.choice([20_000, 65_536, 262_144])
        options: Any = {"push_interval": interval, "timing": timing, "compression": True, "chunk": chunk}
        self.pair = Pair(net, source, rpc.Server(source, "stormy", **options), None)  # type: ignore[arg-type]
        door = Door(net)
        self.mux = rpc.Mux(source, door.listen, "stormy", **options) if self.draw.random() < 0.4 else None
        consumer: am.Machine[Any] = am.Machine(Basic, self.taking, id="consumer")
        self.pair.client = rpc.Client(
            self.pair.dial if self.mux is None else door.dial,
            Basic,
            id="stormy",
            consumer=consumer,
            backoff=QUICK,
            timing=timing,
            steps=self.draw.random() < 0.3,
            compression=self.compression,
        )

    def asked(self, e: am.Event) -> None:
        if "n" in e.raw_args:
            self.runs[e.raw_args["n"]] += 1
            self.order.append(e.raw_args["n"])

    def servers(self) -> list[rpc.Server]:
        """Those that there are now."""
        return [self.pair.server] if self.mux is None else [*self.mux.servers.values()]

    def send(self, name: str, data: Any) -> am.Result:
        """A payload: by the server, by the mux, or by the first server that there was, which may be over long since."""
        if self.mux is None:
            return self.pair.server.send_payload(name, data)
        if self.mux.servers and self.first is None:
            found = next(iter(self.mux.servers.values()))
            self.first = found if found.client_ids else None
        if self.first is not None and self.draw.random() < 0.5:
            return self.first.send_payload(name, data, destination="rc-stormy", within=1000.0)
        return self.mux.send_payload(name, data, destination="rc-stormy", within=1000.0)

    async def play(self) -> None:
        draw, mirror, source = self.draw, self.pair.mirror, self.pair.source
        for n in range(draw.randint(5, 40)):
            match draw.choice(["call", "call", "notify", "source", "payload", "pause", "pause", "go away", *self.rare]):
                case "call":
                    text = "much " * draw.choice([0, 0, 500])
                    self.calls[n] = mirror.add("Ask", n=n, veto=draw.random() < 0.2, text=text)
                case "notify":
                    self.told[n] = mirror.add_ns("Ask", n=n)
                case "source":
                    getattr(source, draw.choice(["add", "remove", "toggle"]))(draw.choice("ABCD"))
                case "go away":
                    for client in [client for server in self.servers() for client in server._clients]:
                        client.go_away(draw.choice([0.0, 0.01, 1.0]))
                        self.weather.counts["gone away"] += 1
                case "grow":
                    source.set_schema(source.schema.merge({f"New{n}": am.State()}))
                    self.weather.counts["grown"] += 1
                case "payload":
                    self.payloads.append(self.send("figures", len(self.payloads)))
                case "film":
                    # Each second one is small, and must not overtake the one before.
                    film = FILM[: draw.randint(MAX_FRAME, len(FILM)) if len(self.films) % 2 == 0 else 10]
                    self.films.append((self.send("film", film), sha256(film).digest()))
                case "pause":
                    await asyncio.sleep(draw.choice([0.0, 0.001, 0.02, 0.3]))
        self.weather.clear_up()

    async def judge(self, counts: Counter[str]) -> None:
        """Waits until it is quiet. Each call has the outcome it was answered with, and all is in order."""
        for n, result in self.calls.items():
            try:
                outcome = (await result).outcome.value
            except rpc.NotConnected:
                outcome = "not sent"
            assert self.runs[n] == (outcome == "executed")
            counts[outcome] += 1
        for payload in self.payloads:
            assert (await payload).executed
        for shown, _ in self.films:
            assert (await shown).executed
        got = {name: [each.data for each in self.taking.got if each.name == name] for name in ("figures", "film")}
        assert got["figures"] == list(range(len(self.payloads)))
        assert [sha256(film).digest() for film in got["film"]] == [digest for _, digest in self.films]
        counts["payloads"] += len(self.payloads)
        counts["films"] += len(self.films)
        if self.mux is not None:
            counts["behind a mux"] += 1
            counts["films behind a mux"] += len(self.films)
            counts["cut in a film behind a mux"] += counts["cut in a film"]
        await self.pair.client.when_ready()
        # At rest: the last push has gone out, and a ping would have told of a lost one.
        await asyncio.sleep(2.0)
        await self.pair.client.when_ready()
        self.pair.assert_equal()
        for n, result in self.told.items():
            try:
                await result
            except rpc.NotConnected:
                assert self.runs[n] == 0
            else:
                assert self.runs[n] == 1
                counts["notified"] += 1
        assert self.order == sorted(self.order)

    async def end(self, counts: Counter[str]) -> None:
        statistics = self.pair.client.statistics
        assert statistics.open_calls == 0
        counts["retries"] += statistics.retries
        counts["out of step"] += statistics.out_of_step
        await self.pair.client.stop()
        await self.pair.server.stop()
        if self.mux is not None:
            await self.mux.stop()
        while self.pair.serving:
            await asyncio.wait(self.pair.serving)


async def scenario(seed: int) -> Counter[str]:
    """Returns what has happened in it."""
    story = Story(seed)
    counts = story.weather.counts
    if story.mux is not None:
        story.mux.start()
    story.pair.client.start()
    await story.pair.client.when_ready()
    await story.play()
    await story.judge(counts)
    await story.end(counts)
    return counts


def story(seed: int) -> Counter[str]:
    told: Counter[str] = Counter()

    async def body() -> None:
        told.update(await scenario(seed))

    run(body(), debug=False)  # which would take most of the time
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
        "notified",
        "retries",
        "payloads",
        "films",
        "cut in a film",
        "behind a mux",
        "films behind a mux",
        "out of step",
        "grown",
        "compressed",
        "gone away",
    ):
        assert total[what] > SCENARIOS // 20, f"{what} hardly happened: {total}"
    assert total["cut in a film behind a mux"] > SCENARIOS // 50, total


@pytest.mark.nightly
def test_a_night_of_weather(rounds: Rounds) -> None:
    total: Counter[str] = Counter()
    for seed in rounds:
        total += story(seed)
    print(dict(total))
