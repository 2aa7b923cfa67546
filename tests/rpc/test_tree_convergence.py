"""Mirrors of mirrors in any weather: two or three hops, each with a weather of its own (see `test_convergence`).

Calls begin at the leaf, and at mirrors on the way. At rest all mirrors are equal to the source, and the sessions of
each hop in their checksums; each call had the outcome that it was answered with, and those of one caller ran in their
order.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.clock import checksum
from tests.rounds import Rounds
from tests.rpc.behaviour import QUICK, Basic
from tests.rpc.scenarios import all_of, rare
from tests.rpc.test_convergence import MIRRORS, PATIENCE, Runs
from tests.rpc.time_loop import run
from tests.rpc.weather import Door, Weather

SCENARIOS = 100
TIMING = rpc.Timing(hello=0.5, sync=0.05, silence=0.2, dead=0.6, answer=0.5, retry=0.1)
UNCERTAIN = (rpc.Code.UNKNOWN_OUTCOME, rpc.Code.DEADLINE)


class Hop:
    """A server of what is above, and the client that mirrors it."""

    def __init__(self, above: Any, draw: random.Random, number: int, **mirror: Any) -> None:
        self.weather = Weather(random.Random(draw.random()))
        self.draw, self.above, self.number, self.partial = draw, above, number, mirror
        self.door = Door(self.weather)
        self.options: dict[str, Any] = {
            "push_interval": draw.choice([0.0001, 0.01, 0.25]),
            "timing": TIMING,
            "compression": draw.random() < 0.5,
        }
        self.is_mux = draw.random() < 0.4
        self.server = self.new_server()
        self.client: rpc.Client[Any] = rpc.Client(
            self.door.dial,
            Basic,
            id=f"hop{number}",
            backoff=QUICK,
            timing=TIMING,
            compression=draw.random() < 0.5,
            **mirror,
        )
        self.heard: list[BaseException] = []
        self.client.machine.on_error(lambda _, error: self.heard.append(error))

    @property
    def mirror(self) -> rpc.NetworkMachine[Any]:
        return self.client.netmach

    def new_server(self) -> rpc.Server | rpc.Mux:
        if self.is_mux:
            mux = rpc.Mux(self.above, self.door.listen, f"hop{self.number}", **self.options)
            mux.start()
            return mux
        server = rpc.Server(self.above, f"hop{self.number}", **self.options)
        server.serve_at(self.door.listen)
        return server

    def served(self) -> Any:
        """What the server has of the client."""
        servers = self.server.servers.values() if isinstance(self.server, rpc.Mux) else [self.server]
        (found,) = (client for server in servers for client in server._clients if client.ready)
        return found

    def judge(self, source: am.Machine[Any]) -> None:
        """The mirror shows the source, and both sessions have the same checksum."""
        mirror, skipped = self.mirror, self.partial.get("skipped", ())
        assert (mirror.queue_tick, mirror.machine_tick) == (source.queue_tick, source.machine_tick), self.number
        if "shallow" in self.partial:
            assert {*mirror.active_states()} == {*source.active_states()}
        else:
            seen = [name for name in source.names if name not in skipped]
            assert mirror.clock(seen) == source.clock(seen), self.number
        assert mirror.not_(*skipped)
        session: Any = self.client._connections.session
        sender, receiver = self.served().connection.session._sender, session._following._receiver
        assert (sender.seq, sender._hash) == (receiver.seq, checksum(receiver.clock)), self.number


class Tree:
    """One story of a chain of mirrors, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self.draw = draw = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.runs = Runs()
        handlers = {"AskEnter": lambda e: not e.raw_args.get("veto")}
        self.source: am.Machine[Any] = am.Machine(Basic, handlers, id="source")
        self.source.trace(self.runs)
        self.depth = draw.choice([2, 3])
        self.grows, self.restarts = draw.random() < 0.2, draw.random() < 0.3
        self.hops: list[Hop] = []
        self.calls: dict[int, tuple[Hop, am.Result]] = {}
        self.told: dict[int, am.Result] = {}
        self.questions: list[tuple[am.Result, bool]] = []
        self.waits: list[tuple[int, am.Wait]] = []
        self.leaving: list[Awaitable[Any]] = []

    @property
    def leaf(self) -> Hop:
        return self.hops[-1]

    async def begin(self) -> None:
        above: Any = self.source
        for number in range(self.depth):
            # What a mirror does not follow, no other can follow behind it.
            mirror = self.draw.choice(MIRRORS if number == self.depth - 1 else MIRRORS[:3])
            self.hops.append(Hop(above, self.draw, number, **mirror))
            self.leaf.client.start()
            await self.leaf.client.when_ready()
            above = self.leaf.mirror
        self.never = self.leaf.mirror.when_queue(2**60)

    async def play(self) -> None:
        for n in range(self.draw.randint(5, 40)):
            steps = ["call", "call", "call", "on the way", "notify", "source", "ask", "wait", "pause", "pause", "pause"]
            match self.draw.choice([*steps, *["grow"] * self.grows, *["restart"] * self.restarts]):
                case "call":
                    self.call(self.leaf, n)
                case "on the way":
                    self.call(self.draw.choice(self.hops), n)
                case "notify":
                    self.told[n] = self.leaf.mirror.add_ns("Ask", n=n, mark=n % 5)
                case "source":
                    getattr(self.source, self.draw.choice(["add", "remove", "toggle"]))(self.draw.choice("ABCD"))
                case "ask":
                    veto = self.draw.random() < 0.5
                    self.questions.append((self.leaf.mirror.can_add_remote("Ask", veto=veto), veto))
                case "wait":
                    self.waits.append((n % 5, self.leaf.mirror.when_args("Ask", mark=n % 5)))
                case "pause":
                    await asyncio.sleep(self.draw.choice([0.0, 0.001, 0.02, 0.3]))
                case "grow":
                    self.source.set_schema(self.source.schema.merge({f"New{n}": am.State()}))
                    self.counts["grown"] += 1
                case "restart":
                    self.call(self.leaf, n)
                    await asyncio.sleep(self.draw.choice([0.0, 0.01, 0.1]))
                    self.restart(self.draw.choice(self.hops))
        for hop in self.hops:
            hop.weather.clear_up()
            self.counts["cut"] += hop.weather.counts["cut"]
            self.counts["half-open"] += hop.weather.counts["half-open"]

    def call(self, hop: Hop, n: int) -> None:
        kind = self.draw.choice(["add", "add", "remove", "set", "toggle", "within"])
        states = self.draw.choice([["Ask"], ["Ask", "A"], ["B"], ["C"], ["D"]])
        args = {"n": n, "mark": n % 5, "veto": self.draw.random() < 0.2}
        if kind == "within":
            self.calls[n] = hop, hop.mirror.within(self.draw.choice([0.05, 0.5])).add(states, args)
        else:
            self.calls[n] = hop, getattr(hop.mirror, kind)(states, args)

    def restart(self, hop: Hop) -> None:
        """Another server takes the place of this one, which says goodbye or not, and knows nothing of its sessions."""
        self.counts["restart"] += 1
        if self.draw.random() < 0.5:
            hop.weather.cut_all()
        self.leaving.append(asyncio.ensure_future(hop.server.stop()))
        hop.server = hop.new_server()

    async def judge(self) -> None:
        await self.judge_calls()
        for mark, wait in self.waits:
            self.counts["waits met"] += wait.done()
            await self.insist(mark, wait)
        # At rest: the last push has come down all hops, and pings would have told of lost ones.
        await asyncio.sleep(4.0)
        for hop in self.hops:
            await hop.client.when_ready()
        await asyncio.sleep(3.0)
        assert not self.never.done(), "a mirror went back, and the source did not"
        for hop in self.hops:
            hop.judge(self.source)
        await self.judge_notifications()
        for hop in self.hops:
            of_one = {n for n, (caller, _) in self.calls.items() if caller is hop}
            of_one |= self.told.keys() if hop is self.leaf else set()
            order = [n for n in self.runs.order if n in of_one]
            assert order == sorted(order), hop.number

    async def judge_calls(self) -> None:
        for n, (_, result) in self.calls.items():
            try:
                outcome = (await result).outcome.value
            except rpc.NotConnected:
                outcome = "not sent"
            except rpc.UnknownOutcome:
                outcome = "unknown"
            except rpc.CallRefused as error:
                outcome = "unknown" if error.code in UNCERTAIN else "failed"
            self.counts[outcome] += 1
            accepted, tried = self.runs.accepted[n], self.runs.tried[n]
            if outcome == "executed":
                assert (accepted, tried) == (1, 1), n
            elif outcome == "unknown":
                assert tried <= 1, n
            else:
                assert (accepted, tried) == (0, outcome == "canceled"), (n, outcome)

    async def insist(self, mark: int, wait: am.Wait) -> None:
        """A wait is met if it has happened, and at the latest when it happens again."""
        if wait.done():
            assert mark in self.runs.seen
        while not wait.done():
            try:
                await self.leaf.client.when_ready()
                await self.leaf.mirror.add("Ask", mark=mark)
            except (rpc.NotConnected, rpc.UnknownOutcome, rpc.CallRefused):
                pass
            await asyncio.sleep(0.3)
        await wait

    async def judge_notifications(self) -> None:
        lost = 0
        for n, result in self.told.items():
            try:
                await result
            except rpc.NotConnected:
                assert self.runs.tried[n] == 0
            else:
                assert self.runs.tried[n] <= 1
                self.counts["notified"] += 1
                lost += not self.runs.tried[n]
        # Calls are awaited: what the machine of the leaf hears of is a notification.
        heard = sum(isinstance(error, rpc.UnknownOutcome | rpc.CallRefused) for error in self.leaf.heard)
        # A server that has taken one to pass it on, and is stopped before it knows its outcome, can tell nobody.
        if not self.counts["restart"]:
            assert lost <= heard, f"{lost} notifications were lost, and {heard} errors told of them"
        self.counts["notifications lost"] += lost
        for asked, veto in self.questions:
            try:
                assert (await asked).executed != veto
            except (rpc.NotConnected, rpc.CallRefused):
                continue
            self.counts["questions"] += 1

    async def end(self) -> None:
        for hop in self.hops:
            assert hop.client.statistics.open_calls == 0
            self.counts["out of step"] += hop.client.statistics.out_of_step
            self.counts["retries"] += hop.client.statistics.retries
        for hop in reversed(self.hops):
            await hop.client.stop()
            await hop.server.stop()
        for leaving in self.leaving:
            await leaving
        await asyncio.sleep(3.0)  # in which a connection that was left may still try to say goodbye


def story(seed: int) -> Counter[str]:
    """Returns what has happened in it."""
    tree = Tree(seed)
    random.seed(seed)  # pauses between attempts are drawn, too

    async def body() -> None:
        async with asyncio.timeout(PATIENCE):
            await tree.begin()
            await tree.play()
            await tree.judge()
            await tree.end()

    run(body(), debug=False)
    return tree.counts


HAPPENS = (
    *("cut", "half-open", "restart", "grown", "out of step", "retries", "executed", "canceled", "failed", "unknown"),
    *("not sent", "notified", "notifications lost", "questions", "waits met"),
)


def test_mirrors_of_mirrors_are_equal_to_the_source_after_any_weather(
    record_property: Callable[[str, object], None],
) -> None:
    total = all_of(story, SCENARIOS)
    record_property("counts", {"scenarios": SCENARIOS} | {what: total[what] for what in HAPPENS})
    assert rare(total, HAPPENS, SCENARIOS // 10) == {}


@pytest.mark.nightly
def test_a_night_of_weather_over_trees(rounds: Rounds) -> None:
    total: Counter[str] = Counter()
    for seed in rounds:
        total += story(seed)
    print(dict(total))
