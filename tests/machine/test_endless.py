"""Handlers that answer each other for ever are stopped, named, and take nobody else's mutation with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

import asyncmachine as am
from asyncmachine.machine import drain, endless
from tests.machine.recording import RawSchema

PING_PONG: RawSchema = {"Ping": {"remove": "Pong"}, "Pong": {"remove": "Ping"}, "Other": {}, "M": {"multi": True}}


def player(name: str) -> Callable[[am.Event], None]:
    """A handler that adds a state."""

    def play(e: am.Event) -> None:
        e.add(name)

    return play


def test_a_cycle_is_found_and_named() -> None:
    machine = am.Machine(PING_PONG, {"PingState": player("Pong"), "PongState": player("Ping")})
    assert machine.add("Ping").executed, "what the caller wanted has happened"
    assert isinstance(machine.err, am.EndlessChain)
    assert str(machine.err) == "handlers repeat a cycle without end: [add] Ping, [add] Pong"
    assert machine.is_err() and machine.queue_len == 0
    assert machine.tick("Ping") + machine.tick("Pong") > 2 * endless.CYCLE_LIMIT


def test_a_cycle_of_one_names_itself() -> None:
    machine = am.Machine(PING_PONG, {"MState": player("M")})
    machine.add("M")
    assert str(machine.err) == "handlers repeat a cycle without end: [add] M"


def test_all_that_the_chain_has_queued_is_dropped() -> None:
    results: list[am.Result] = []

    def both(e: am.Event) -> None:
        results.extend([e.add("M"), e.add("M", x=1)])

    machine = am.Machine(PING_PONG, {"MState": both})
    machine.add("M")
    assert isinstance(machine.err, am.EndlessChain)
    assert all(result.done() for result in results) and results[-1].canceled
    assert machine.queue_len == 0


def test_mutations_from_outside_stay_in_the_queue() -> None:
    rounds = 0
    outside: list[am.Result] = []

    def ping(e: am.Event) -> None:
        nonlocal rounds
        rounds += 1
        e.add("Pong")

    machine = am.Machine(PING_PONG, {"PingState": ping, "PongState": player("Ping")})

    def add_from_outside(*_: object) -> None:
        # At depth 0, as from another thread: the queue holds it while the chain goes on.
        if not outside and rounds == 500:
            machine._drainer, drainer = 0, machine._drainer
            outside.append(machine.add("Other"))
            machine._drainer = drainer

    machine.bind({"AnyState": add_from_outside})
    machine.add("Ping")
    assert isinstance(machine.err, am.EndlessChain)
    assert outside[0].wait(10).executed and machine.is_("Other")


def test_a_chain_that_never_repeats_is_stopped_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endless, "DEPTH_LIMIT", 300)
    monkeypatch.setattr(endless, "CYCLE_LIMIT", 10**9)
    machine = am.Machine(PING_PONG, {"MState": player("M")})
    machine.add("M")
    assert str(machine.err) == "handlers made 300 mutations in a row, the last one [add] M"


def test_a_long_chain_that_ends_is_let_be() -> None:
    def again(e: am.Event) -> None:
        if e.machine.tick("M") < 1800:
            e.add("M")

    machine = am.Machine(PING_PONG, {"MState": again})
    machine.add("M")
    assert machine.tick("M") == 1801 and machine.err is None


def test_many_mutations_from_outside_are_no_chain() -> None:
    machine = am.Machine(PING_PONG, {"PingState": player("Other"), "OtherState": lambda e: e.remove("Other")})
    for _ in range(1200):
        machine.add("Ping")
        machine.remove("Ping")
    assert machine.err is None


async def test_a_long_drain_lets_the_loop_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "YIELD_EVERY", 50)
    seen: list[int] = []

    def again(e: am.Event) -> None:
        if e.machine.tick("M") < 399:
            e.add("M")

    machine = am.Machine(PING_PONG, {"MState": again})
    assert machine.add("M").executed, "the first mutation has run when the call returns"
    assert machine.tick("M") < 399
    ended = machine.when_queue_ends()
    late = machine.add("Other")
    assert late.queued and not ended.done()
    while not ended.done():
        seen.append(machine.tick("M"))
        await asyncio.sleep(0)
    assert len(seen) > 2, "the loop ran in between"
    assert machine.tick("M") == 399
    assert (await late).executed
    assert await machine.eval_async(lambda: machine.queue_len) == 0


async def test_a_parked_drain_takes_evaluations_and_disposal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "YIELD_EVERY", 10)
    machine = am.Machine(PING_PONG, {"MState": player("M")})
    machine.add("M")
    with pytest.raises(am.AmError, match="use `await` instead"):
        machine.eval(lambda: None)
    assert await machine.eval_async(lambda: machine.is_("M"))
    machine.dispose()
    await machine.when_disposed()
    assert machine.is_disposed


def test_a_drain_that_was_parked_on_a_loop_that_is_gone_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "YIELD_EVERY", 10)

    def again(e: am.Event) -> None:
        if e.machine.tick("M") < 399:
            e.add("M")

    machine = am.Machine(PING_PONG, {"MState": again})

    async def begin() -> None:
        machine.add("M")

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    loop.close()
    assert machine.tick("M") < 399
    assert machine.add("Other").executed
    assert machine.tick("M") == 399


def test_without_a_loop_a_long_drain_is_not_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "YIELD_EVERY", 50)

    def again(e: am.Event) -> None:
        if e.machine.tick("M") < 399:
            e.add("M")

    machine = am.Machine(PING_PONG, {"MState": again})
    machine.add("M")
    assert machine.tick("M") == 399
