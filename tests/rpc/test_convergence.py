"""Random mutations on both sides over connections in any weather (see `weather`), and servers that begin anew.

At rest mirror and source are equal in ticks, queue tick and machine tick, and both sessions in their checksums. Each
call was answered executed, canceled, failed or unknown (or not sent, without a connection): the source ran it exactly
once if it was answered executed, at most once if that is unknown, and else not. Those that are not answered ran once,
and all in their order, or an error of the client tells that they may be lost. Payloads are consumed exactly once, in
order; large ones too, and equal to the last byte; only those that a server has given up at its end may be missing. All
that behind one server, and behind a mux, where each connection has another one.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.clock import checksum
from asyncmachine.rpc.transport import MAX_FRAME
from tests.rounds import Rounds
from tests.rpc.behaviour import QUICK, Basic, Taking
from tests.rpc.scenarios import all_of, rare
from tests.rpc.time_loop import run
from tests.rpc.weather import NAMES, Door, Weather

SCENARIOS = 1000
PATIENCE = 500.0
"""Seconds of pretended time after which something hangs."""
FILM = random.Random(0).randbytes(MAX_FRAME + 200_000)
MIRRORS: tuple[dict[str, Any], ...] = ({}, {}, {"steps": True}, {"shallow": True}, {"skipped": ("C", "D")})
SOME = rpc.Grants(mutate=("A", "B", "Ask"))
"""Rights that leave C and D out, and so any `set`."""


class Runs(am.Tracer):
    """Which calls the source has run, by the number among their arguments."""

    id = "runs"

    def __init__(self) -> None:
        self.tried: Counter[int] = Counter()
        self.accepted: Counter[int] = Counter()
        self.order: list[int] = []
        self.seen: set[int] = set()

    def transition_end(self, tx: am.Transition) -> None:
        if "n" in tx.args:
            self.tried[tx.args["n"]] += 1
            self.accepted[tx.args["n"]] += tx.accepted
            self.order.append(tx.args["n"])
        if tx.accepted and "mark" in tx.args and "Ask" in tx.called and tx.kind != "remove":
            self.seen.add(tx.args["mark"])


class Story:
    """One story, drawn from a seed: who asks what of whom, and when."""

    def __init__(self, seed: int) -> None:
        self.draw = draw = random.Random(seed)
        self.weather = Weather(draw)
        self.counts = self.weather.counts
        self.runs = Runs()
        self.taking = Taking()
        self.is_mux = draw.random() < 0.4
        self.mirrors = draw.choice(MIRRORS)
        self.rare = draw.choice([[], [], [], ["grow"], ["film"], ["restart"]])
        if "film" in self.rare:
            self.weather.breakage = 0.05
        self.first: rpc.Server | None = None
        self.calls: dict[int, am.Result] = {}
        self.told: dict[int, am.Result] = {}
        self.heard: list[BaseException] = []
        self.questions: list[tuple[am.Result, bool]] = []
        self.waits: list[tuple[int, am.Wait]] = []
        self.payloads: list[am.Result] = []
        self.films: list[tuple[am.Result, bytes]] = []
        self.leaving: list[Awaitable[Any]] = []
        self.timing = rpc.Timing(hello=0.5, sync=0.05, silence=0.2, dead=0.6, answer=0.5, retry=0.1)
        self.options: dict[str, Any] = {
            "push_interval": draw.choice([0.0001, 0.01, 0.25]),
            "timing": self.timing,
            "compression": True,
            "chunk": draw.choice([20_000, 65_536, 262_144]),
            "allow": draw.choice([None, None, None, lambda *_: SOME]),
        }
        self.source = self.new_source(Basic)
        self.door = Door(self.weather)
        self.server = self.new_server()
        consumer: am.Machine[Any] = am.Machine(Basic, self.taking, id="consumer")
        self.client: rpc.Client[Any] = rpc.Client(
            self.door.dial,
            Basic,
            id="stormy",
            consumer=consumer,
            backoff=QUICK,
            timing=self.timing,
            compression=draw.random() < 0.5,
            **self.mirrors,
        )
        self.client.machine.on_error(lambda _, error: self.heard.append(error))
        self.never = self.mirror.when_queue(2**60)
        self.is_lively = self.weather.echo.random() < 0.2

    @property
    def mirror(self) -> rpc.NetworkMachine[Any]:
        return self.client.netmach

    # The source and what serves it

    def new_source(self, states: Any) -> am.Machine[Any]:
        handlers = {"AskEnter": lambda e: not e.raw_args.get("veto")}
        source: am.Machine[Any] = am.Machine(states, handlers, id="source")
        source.trace(self.runs)
        return source

    def new_server(self) -> rpc.Server | rpc.Mux:
        if self.is_mux:
            mux = rpc.Mux(self.source, self.door.listen, "stormy", **self.options)
            mux.start()
            return mux
        server = rpc.Server(self.source, "stormy", **self.options)
        server.serve_at(self.door.listen)
        return server

    def served(self) -> list[Any]:
        """What the servers that there are now have of the client."""
        servers = self.server.servers.values() if isinstance(self.server, rpc.Mux) else [self.server]
        return [client for server in servers for client in server._clients]

    def restart(self) -> None:
        """Another server takes the place of this one, which says goodbye or not; perhaps its process was another."""
        self.counts["restart"] += 1
        if self.draw.random() < 0.5:
            self.weather.cut_all()
        self.leaving.append(asyncio.ensure_future(self.server.stop()))
        self.first = None
        if self.draw.random() < 0.5:
            kept = self.source.export()
            self.source.dispose()
            self.source = self.new_source(self.source.schema)
            self.source.restore(kept)
            self.counts["restored"] += 1
        self.server = self.new_server()

    def send(self, name: str, data: Any) -> am.Result:
        """A payload: by the server, by the mux, or by the first server that there was, which may be over long since."""
        if isinstance(self.server, rpc.Server):
            return self.server.send_payload(name, data)
        if self.first is None:
            self.first = next((each for each in self.server.servers.values() if each.client_ids), None)
        if self.first is not None and self.draw.random() < 0.5:
            return self.first.send_payload(name, data, destination="rc-stormy", within=1000.0)
        return self.server.send_payload(name, data, destination="rc-stormy", within=1000.0)

    # What happens

    async def live(self) -> None:
        """The source changes all by itself, too, so that much is pushed, and lost."""
        draw = self.weather.echo
        for _ in range(draw.randint(20, 60)):
            self.source.toggle(draw.choice("AB"))
            await asyncio.sleep(draw.choice([0.002, 0.02, 0.1]))

    async def play(self) -> None:
        living = asyncio.ensure_future(self.live()) if self.is_lively else None
        for n in range(self.draw.randint(5, 40)):
            steps = ["call", "call", "call", "notify", "source", "payload", "pause", "pause", "go away", "ask", "wait"]
            match self.draw.choice([*steps, "move", *self.rare]):
                case "call":
                    self.call(n)
                case "notify":
                    self.told[n] = self.mirror.add_ns("Ask", n=n, mark=n % 5)
                case "source":
                    getattr(self.source, self.draw.choice(["add", "remove", "toggle"]))(self.draw.choice("ABCD"))
                case "go away":
                    for client in self.served():
                        client.go_away(self.draw.choice([0.0, 0.01, 1.0]))
                        self.counts["gone away"] += 1
                case "move":
                    # While it is on its way on this connection, the client makes another one.
                    self.call(n)
                    for end in self.weather.ends:
                        end.warn()
                case "ask":
                    veto = self.draw.random() < 0.5
                    self.questions.append((self.mirror.can_add_remote("Ask", veto=veto), veto))
                case "wait":
                    mark = n % 5
                    self.waits.append((mark, self.mirror.when_args("Ask", mark=mark)))
                case "payload":
                    self.payloads.append(self.send("figures", len(self.payloads)))
                case "pause":
                    await asyncio.sleep(self.draw.choice([0.0, 0.001, 0.02, 0.3]))
                case rare:
                    self.rarely(rare, n)
        if living is not None:
            await living
        self.weather.clear_up()

    def rarely(self, what: str, n: int) -> None:
        match what:
            case "grow":
                self.source.set_schema(self.source.schema.merge({f"New{n}": am.State()}))
                self.counts["grown"] += 1
            case "restart":
                self.restart()
            case "film":
                # Each second one is small, and must not overtake the one before.
                film = FILM[: self.draw.randint(MAX_FRAME, len(FILM)) if len(self.films) % 2 == 0 else 10]
                self.films.append((self.send("film", film), sha256(film).digest()))

    def call(self, n: int) -> None:
        kind = self.draw.choice(["add", "add", "remove", "set", "toggle", "within"])
        states = self.draw.choice([["Ask"], ["Ask"], ["Ask", "A"], ["B"], ["C"], ["D"]])
        args = {
            "n": n,
            "mark": n % 5,
            "veto": self.draw.random() < 0.2,
            "text": "much " * self.draw.choice([0, 0, 500]),
        }
        if kind == "within":
            self.calls[n] = self.mirror.within(self.draw.choice([0.01, 0.2])).add(states, args)
        else:
            self.calls[n] = getattr(self.mirror, kind)(states, args)

    # What has become of it

    async def judge(self) -> None:
        """Waits until it is quiet. Each call has the outcome it was answered with, and all is in order."""
        await self.judge_calls()
        await self.judge_waits()
        await self.judge_payloads()
        # At rest: the last push has gone out, and a ping would have told of a lost one.
        await asyncio.sleep(2.0)
        await self.client.when_ready()
        self.judge_clocks()
        await self.judge_notifications()
        assert self.runs.order == sorted(self.runs.order)

    async def judge_calls(self) -> None:
        for n, result in self.calls.items():
            try:
                outcome = (await result).outcome.value
            except rpc.NotConnected:
                outcome = "not sent"
            except rpc.UnknownOutcome as error:
                outcome = "late" if isinstance(error, rpc.CallTimedOut) else "unknown"
            except rpc.CallRefused as error:
                outcome = "late" if error.code == rpc.Code.DEADLINE else "failed"
            self.counts[outcome] += 1
            accepted, tried = self.runs.accepted[n], self.runs.tried[n]
            if outcome == "executed":
                assert (accepted, tried) == (1, 1), n
            elif outcome in ("late", "unknown"):
                assert tried <= 1, n
            else:
                assert (accepted, tried) == (0, outcome == "canceled"), (n, outcome)

    async def judge_notifications(self) -> None:
        lost = 0
        for n, result in self.told.items():
            try:
                await result
            except rpc.NotConnected:
                assert self.runs.tried[n] == 0
            else:
                assert self.runs.tried[n] == 1 or (self.counts["restart"] and not self.runs.tried[n])
                self.counts["notified"] += 1
                lost += not self.runs.tried[n]
        # Calls are awaited: what the machine hears of is a notification.
        heard = sum(isinstance(error, rpc.UnknownOutcome) for error in self.heard)
        assert lost <= heard, f"{lost} notifications were lost, and {heard} errors told of them"
        self.counts["notifications lost"] += lost
        for asked, veto in self.questions:
            try:
                outcome = await asked
            except rpc.NotConnected:
                continue
            assert outcome.executed != veto
            self.counts["questions"] += 1

    async def judge_waits(self) -> None:
        """A wait is met if it has happened, and at the latest when it happens again."""
        for mark, wait in self.waits:
            self.counts["waits met"] += wait.done()
            if wait.done():
                assert mark in self.runs.seen
            else:
                await self.insist(mark)
                await wait

    async def insist(self, mark: int) -> None:
        """Asks until it is answered: the connection that there is may be one that only has not ended yet."""
        while True:
            try:
                await self.client.when_ready()
                await self.mirror.add("Ask", mark=mark)
            except (rpc.NotConnected, rpc.UnknownOutcome):
                await asyncio.sleep(0.01)
            else:
                return

    async def judge_payloads(self) -> None:
        for name, sent in (
            ("figures", [(result, number) for number, result in enumerate(self.payloads)]),
            ("film", self.films),
        ):
            arrived: list[Any] = []
            for result, what in sent:
                try:
                    assert (await result).executed
                except rpc.DeliveryFailed:
                    assert self.counts["restart"], "given up"
                    self.counts["given up"] += 1
                else:
                    arrived.append(what)
            got: list[Any] = [each.data for each in self.taking.got if each.name == name]
            if name == "film":
                got = [sha256(film).digest() for film in got]
            assert [what for what in got if what in arrived] == arrived
            assert got == [what for _, what in sent if what in got]
        self.counts["payloads"] += len(self.payloads)
        self.counts["films"] += len(self.films)
        if self.is_mux:
            self.counts["behind a mux"] += 1
            self.counts["films behind a mux"] += len(self.films)
            self.counts["cut in a film behind a mux"] += self.counts["cut in a film"]

    def judge_clocks(self) -> None:
        mirror, source = self.mirror, self.source
        assert not self.never.done() or self.counts["restored"], "the mirror went back, and the source did not"
        assert (mirror.queue_tick, mirror.machine_tick) == (source.queue_tick, source.machine_tick)
        skipped = self.mirrors.get("skipped", ())
        seen = [name for name in source.names if name not in skipped]
        if "shallow" in self.mirrors:
            assert {*mirror.active_states()} == {*source.active_states()}
        else:
            assert mirror.clock(seen) == source.clock(seen)
        assert mirror.not_(*skipped)
        (served,) = (client for client in self.served() if client.ready)
        session: Any = self.client._connections.session
        sender, receiver = served.connection.session._sender, session._following._receiver
        assert (sender.seq, sender._hash) == (receiver.seq, checksum(receiver.clock))
        self.counts["shallow or partial"] += bool(skipped) or "shallow" in self.mirrors

    async def end(self) -> None:
        statistics = self.client.statistics
        assert statistics.open_calls == 0
        self.counts["retries"] += statistics.retries
        self.counts["out of step"] += statistics.out_of_step
        await self.client.stop()
        await self.server.stop()
        for leaving in self.leaving:
            await leaving
        await asyncio.sleep(3.0)  # in which a connection that was left may still try to say goodbye


async def scenario(seed: int) -> Counter[str]:
    """Returns what has happened in it."""
    story = Story(seed)
    async with asyncio.timeout(PATIENCE):
        story.client.start()
        await story.client.when_ready()
        await story.play()
        await story.judge()
        await story.end()
    return story.counts


def story(seed: int) -> Counter[str]:
    told: Counter[str] = Counter()
    random.seed(seed)  # pauses between attempts are drawn, too

    async def body() -> None:
        told.update(await scenario(seed))

    run(body(), debug=False)  # which would take most of the time
    return told


HAPPENS = (
    *("lose", "repeat", "hold", "damage", "pause", "cut", "half-open", "restart", "restored", "gone away", "grown"),
    *("repeat later", "full syncs repeated later", "notifications lost"),
    *(f"bad for {what}" for what in sorted({*NAMES.values()})),
    *("executed", "canceled", "failed", "late", "unknown", "not sent", "notified", "questions", "waits met", "retries"),
    *("payloads", "given up", "films", "cut in a film", "behind a mux", "films behind a mux"),
    *(
        "cut in a film behind a mux",
        "calls on a replaced connection",
        "out of step",
        "compressed",
        "shallow or partial",
    ),
)


@pytest.mark.timeout(600)
def test_mirror_and_source_are_equal_after_any_weather(record_property: Callable[[str, object], None]) -> None:
    total = all_of(story, SCENARIOS)
    record_property("counts", {"scenarios": SCENARIOS} | {what: total[what] for what in HAPPENS})
    assert rare(total, HAPPENS, SCENARIOS // 50) == {}


def test_two_connections_of_one_client_at_a_mux_do_not_turn_its_films_around() -> None:
    """The first is half-open, and the second begins anew: with both let in, films came in another order than sent."""
    assert story(1506501006)["films behind a mux"]


@pytest.mark.nightly
def test_a_night_of_weather(rounds: Rounds) -> None:
    total: Counter[str] = Counter()
    for seed in rounds:
        total += story(seed)
    print(dict(total))
