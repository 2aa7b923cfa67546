"""The machine's invariants under handlers that mutate, raise, veto and schedule, on random schemas and calls.

Hypothesis chooses a schema, what some handlers do, and a story of calls; after each step the rules that must always
hold are checked. They are those of the end of the machine's description.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import asyncmachine as am
from asyncmachine import Outcome
from tests.machine.recording import handler_names
from tests.machine.strategies import Mutation, mutations, schemas

BUDGET = 30
"""Mutations that handlers may make in one story, so that it comes to an end."""


class Watch(am.Tracer):
    """Checks from the inside what can only be seen there."""

    def __init__(self, machine: am.Machine[str]) -> None:
        self.machine = machine
        self.open: am.Transition | None = None
        self.begun = 0
        self.ended: list[am.Transition] = []
        self.last_queue_tick = 1
        self.auto_before = False
        self.problems: list[str] = []

    def expect(self, holds: bool, what: str) -> None:
        # Raised here, it would become the machine's error and nobody would see it.
        if not holds:
            self.problems.append(what)

    def transition_init(self, tx: am.Transition) -> None:
        self.expect(self.open is None, "a transition began inside of another one")
        self.expect(self.machine.transition is tx, "the current transition is another one")
        self.expect(not (tx.is_auto and self.auto_before), "an auto transition came right after an auto transition")
        self.open = tx
        self.begun += 1
        self.auto_before = tx.is_auto
        if tx.queue_tick:
            self.expect(tx.queue_tick > self.last_queue_tick, "queue ticks do not rise")
            self.expect(self.machine.queue_tick == tx.queue_tick, "the machine shows another queue tick")
            self.last_queue_tick = tx.queue_tick
        else:
            special = tx.is_auto or tx.is_check or "Exception" in tx.called
            self.expect(special, f"{tx.mutation} has no queue tick")

    def transition_end(self, tx: am.Transition) -> None:
        self.expect(self.open is tx, "another transition ended than began")
        self.open = None
        self.ended.append(tx)
        before, after = tx.before, tx.after
        self.expect(all(new >= old for old, new in zip(before, after, strict=True)), "a tick fell")
        self.expect(after == self.machine.time(), "the transition tells another end than the machine has")
        if tx.is_check or (not tx.accepted and not tx.broken):
            self.expect(before == after, f"{tx.mutation} changed ticks though it was canceled or a dry run")
        if tx.accepted and not tx.is_check:
            self.expect(tx.target == self.machine.active_states(), "the active states are not the target")
            self.expect_rule_of_ticks(tx)
        self.check_parity()

    def expect_rule_of_ticks(self, tx: am.Transition) -> None:
        schema = self.machine.schema
        for name, old, new in zip(self.machine.names, tx.before, tx.after, strict=True):
            was, stays = old % 2 == 1, name in tx.target
            again = was and stays and name in tx.called and schema[name].multi
            self.expect(new - old == (2 if again else int(was != stays)), f"{name} ticked from {old} to {new}")

    def check_parity(self) -> None:
        machine = self.machine
        active = {name for name, tick in machine.clock().items() if tick % 2}
        self.expect(active == set(machine.active_states()), "a tick's parity does not tell activity")
        self.expect(len(machine.active_states()) == len(active), "an active state is listed twice")


class MachineModel(RuleBasedStateMachine):
    machine: am.Machine[str]
    watch: Watch

    @initialize(data=st.data())
    def make(self, data: st.DataObject) -> None:
        schema = data.draw(schemas())
        self.machine = am.Machine(schema)
        self.watch = Watch(self.machine)
        self.machine.trace(self.watch)
        self.left = BUDGET
        self.results: list[am.Result] = []
        self.scheduled: list[Mutation] = []
        # A roll-back leaves states behind whose requirements it took away.
        self.rolled_back = False
        names = data.draw(st.lists(st.sampled_from(handler_names(schema.names)), max_size=8, unique=True))
        if names:
            self.machine.bind({name: self.handler(data.draw(self.behaviours(name))) for name in names})

    def behaviours(self, name: str) -> st.SearchStrategy[tuple[str, Mutation]]:
        kinds = ["note", "mutate", "schedule", "raise"]
        if not name.endswith(("State", "End")):
            kinds += ["veto", "veto"]
        return st.tuples(st.sampled_from(kinds), mutations(self.machine.names))

    def handler(self, behaviour: tuple[str, Mutation]) -> Callable[[am.Event], bool | None]:
        does, (kind, called) = behaviour

        def handle(e: am.Event) -> bool | None:
            self.watch.expect(self.watch.open is e.tx, "a handler ran outside of its transition")
            if does == "raise" and self.left:
                self.left -= 1
                raise RuntimeError(f"boom {e.name}")
            if does == "mutate" and self.left:
                self.left -= 1
                self.note(getattr(self.machine, kind)(called), inside=True)
            if does == "schedule" and self.left:
                self.left -= 1
                self.scheduled.append((kind, called))
            return False if does == "veto" else None

        return handle

    def note(self, result: am.Result, *, inside: bool) -> None:
        final = result.outcome in (Outcome.EXECUTED, Outcome.CANCELED)
        self.watch.expect(final or inside, "a call from outside came back before its mutation had run")
        self.results.append(result)

    @rule(data=st.data())
    def mutate(self, data: st.DataObject) -> None:
        kind, called = data.draw(mutations(self.machine.names))
        before = self.machine.time()
        result: am.Result = getattr(self.machine, kind)(called)
        self.note(result, inside=False)
        if kind == "add" and result.executed:
            ran = next(tx for tx in reversed(self.watch.ended) if tx.called == called and tx.kind == "add")
            assert set(called) <= set(ran.target)
        if kind.startswith("can_") and result.executed and not self.handlers():
            assert self.machine.time() == before
            assert self.mutated_like(kind, called).executed, "a dry run promised more than the mutation gave"

    def mutated_like(self, kind: str, called: Sequence[str]) -> am.Result:
        result: am.Result = getattr(self.machine, kind.removeprefix("can_"))(called)
        return result

    def handlers(self) -> bool:
        return bool(self.machine.handlers())

    @precondition(lambda self: self.scheduled)
    @rule()
    def run_what_is_scheduled(self) -> None:
        kind, called = self.scheduled.pop(0)
        self.note(getattr(self.machine, kind)(called), inside=False)

    @rule()
    def fail(self) -> None:
        self.machine.add_err(OSError("from outside"))
        assert isinstance(self.machine.err, OSError | RuntimeError)

    @precondition(lambda self: self.machine.is_err())
    @rule()
    def recover(self) -> None:
        self.machine.remove("Exception")

    @rule()
    def wait_and_end(self) -> None:
        """Every wait for the queue is over when nothing is left to run."""
        assert self.machine.when_queue_ends().done()
        assert self.machine.when_queue(self.machine.queue_tick).done()

    @invariant()
    def nothing_is_left_over(self) -> None:
        if not hasattr(self, "machine"):
            return
        assert self.machine.queue_len == 0
        assert self.machine.transition is None
        assert all(result.done() for result in self.results)
        assert self.watch.open is None
        assert self.watch.begun == len(self.watch.ended)

    @invariant()
    def no_rule_was_broken(self) -> None:
        if hasattr(self, "watch"):
            self.watch.check_parity()
            assert self.watch.problems == []

    @invariant()
    def requirements_hold(self) -> None:
        if not hasattr(self, "machine"):
            return
        self.rolled_back = self.rolled_back or any(tx.broken for tx in self.watch.ended)
        if not self.rolled_back:
            active = set(self.machine.active_states())
            for name in active:
                assert set(self.machine.schema[name].require or ()) <= active, f"{name} lacks what it requires"


def test_the_rules_hold_in_every_story() -> None:
    story = settings(max_examples=120, stateful_step_count=12, deadline=None)
    run_state_machine_as_test(MachineModel, settings=story)


def test_the_watch_sees_what_goes_wrong() -> None:
    machine: am.Machine[Any] = am.Machine({"A": {}, "B": {}})
    watch = Watch(machine)
    machine.trace(watch)
    machine.add("A")
    assert watch.problems == []
    machine._ticks[1] += 1
    machine.add("A")
    assert "a tick's parity does not tell activity" in watch.problems
