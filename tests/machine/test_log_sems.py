"""What entries of the log say for programs: each kind of the table, beside its text."""

from __future__ import annotations

from typing import Any

import pytest

import asyncmachine as am
from asyncmachine.helpers import pipes

SCHEMA: dict[str, dict[str, Any]] = {
    "A": {},
    "B": {"require": ["A"]},
    "C": {"remove": ["D"]},
    "D": {},
    "E": {"multi": True},
    "Two": {"require": ["A", "B"]},
    "Auto": {"auto": True, "require": ["B"]},
}


class Told:
    """A machine and the entries it has made, of all levels."""

    def __init__(self, *handlers: object) -> None:
        self.machine = am.Machine(SCHEMA, *handlers, id="told")
        self.machine.log.keep(am.LogLevel.EVERYTHING)
        self.entries: list[am.LogEntry] = []
        told = self

        class Keeper(am.Tracer):
            def transition_end(self, tx: am.Transition) -> None:
                told.entries += (*tx.pre_log_entries, *tx.log_entries)

        self.machine.trace(Keeper())

    def sems(self, kind: str) -> list[tuple[str, am.Sem]]:
        self.entries += self.machine.log.take_pending()
        return [(entry.text, entry.sem) for entry in self.entries if entry.sem is not None and entry.sem.kind == kind]


def both(kind: str, about: str, *rest: Any) -> list[tuple[str, am.Sem]]:
    return [(f"[{kind}:{event}] {about}", am.Sem(kind, event, *rest)) for event in ("new", "match")]


def test_waits_say_what_they_wait_for_and_when_it_has_come() -> None:
    told = Told()
    machine = told.machine
    machine.when("A", "D")
    machine.when_time(["A", "D"], [1, 1])
    machine.when_args("E", job="7", size=3)
    machine.when_query(lambda clock: clock["D"] > 0)
    machine.when_queue(2)
    machine.scope("D")
    machine.add("A")
    machine.add("D")
    machine.add("E", job="7", size=3)
    assert told.sems("when") == both("when", "A,D", ("A", "D"))
    assert told.sems("whenTime") == both("whenTime", "A,D 1 1", ("A", "D"), (1, 1))
    assert told.sems("whenArgs") == both("whenArgs", "E (job,size)", ("E",), (), ("job", "size"))
    assert told.sems("whenQuery") == both("whenQuery", "1", (), (1,))
    assert told.sems("whenQueue") == both("whenQueue", "2", (), (2,))
    assert told.sems("ctx") == both("ctx", "D", ("D",))


def test_a_wait_for_the_end_of_states_has_a_kind_of_its_own() -> None:
    told = Told()
    told.machine.add("A")
    told.machine.when_not("A")
    told.machine.remove("A")
    assert told.sems("whenNot") == both("whenNot", "A", ("A",))


def test_who_canceled_and_what_was_to_be_is_said() -> None:
    class Handlers:
        def AEnter(self, e: am.Event) -> bool:
            return False

        def DState(self, e: am.Event) -> None:
            raise ValueError("no D")

    told = Told(Handlers())
    told.machine.add("A")
    told.machine.add("D")
    told.machine.add("B")
    assert told.sems("cancel") == [
        ("[cancel] (A) by AEnter", am.Sem("cancel", "veto", ("A",), (), ("AEnter",))),
        ("[cancel] (D) by recover", am.Sem("cancel", "recover", ("D",), (), ("DState",))),
        ("[cancel:reject] Auto", am.Sem("cancel", "reject", ("Auto",))),
        ("[cancel:reject] B", am.Sem("cancel", "reject", ("B",))),
    ]
    assert [sem for _, sem in told.sems("error")] == [am.Sem("error", "add", ("D",))]
    assert am.Sem("handler", "", (), (1,), ("AEnter",)) in [sem for _, sem in told.sems("handler")]


def test_what_relations_kept_out_is_said() -> None:
    told = Told()
    told.machine.add("Two")
    told.machine.add("D")
    told.machine.add("C")
    (text, first), *_ = told.sems("reject")
    assert (text, first) == ("[reject] Two(-A -B)", am.Sem("reject", "called", ("Two",), (2,), ("A", "B")))
    assert ("[rel:remove] D by C", am.Sem("rel", "remove", ("D",), (), ("C",))) in told.sems("rel")


def test_an_auto_state_that_cannot_be_says_so() -> None:
    told = Told()
    told.machine.add("A")
    told.machine.add("D")
    assert am.Sem("reject", "auto", ("Auto",), (1,), ("B",)) in [sem for _, sem in told.sems("reject")]


def test_a_mutation_that_waits_already_says_which_one() -> None:
    class Handlers:
        def AState(self, e: am.Event) -> None:
            e.machine.add("D")
            e.machine.add("D")

    told = Told(Handlers())
    told.machine.add("A")
    ((_, sem),) = told.sems("queue")
    assert sem == am.Sem("queue", "skipped", ("D",), (), ("add",))


def test_pipes_say_both_ends() -> None:
    told, other = Told(), am.Machine({"A": {}}, id="other")
    pipes.bind(told.machine, "A", other)
    assert ("[pipe-out:add] A to other", am.Sem("pipe", "out:add", ("A",), (), ("other",))) in told.sems("pipe")
    other.dispose()
    assert told.sems("pipe")[-1] == ("[pipe:gc] other", am.Sem("pipe", "gc", (), (), ("other",)))


def test_lines_of_ones_own_say_from_which_handler_they_are() -> None:
    class Handlers:
        def AState(self, e: am.Event) -> None:
            e.machine.log("inside", e=e)

    told = Told(Handlers())
    told.machine.log("outside")
    told.machine.add("A")
    assert told.sems("log") == [
        ("[exter] outside", am.Sem("log")),
        ("[exter] [AState] inside", am.Sem("log", names=("AState",))),
    ]


async def test_evaluations_say_from_where_they_are() -> None:
    told = Told()
    assert await told.machine.eval_async(lambda: 1) == 1
    events = [sem.event for _, sem in told.sems("eval")]
    assert events == ["new", "run", "end"]
    (names,) = {sem.names for _, sem in told.sems("eval")}
    assert names[0].endswith("<lambda>")


def test_breakpoints_say_what_was_called() -> None:
    told = Told()
    told.machine.log.traces = False
    told.machine.add_breakpoint("A")
    told.machine.add("A")
    assert told.sems("breakpoint") == [("[breakpoint] Machine.breakpoint", am.Sem("breakpoint", "", ("A",)))]


def test_an_entry_is_still_two_things_for_who_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    machine = am.Machine(SCHEMA, id="told")
    machine.log.level = am.LogLevel.OPS
    machine.add("A")
    assert "[told] [add] A" in capsys.readouterr().out
