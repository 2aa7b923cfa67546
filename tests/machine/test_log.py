"""The log: levels, texts, where entries are kept, who is asked for what."""

from __future__ import annotations

import asyncio
import logging
import threading
from functools import partial
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine.machine import narrator
from asyncmachine.machine.settings import SWITCHES
from asyncmachine.rpc.clock import Clock
from asyncmachine.rpc.netmach import NetworkMachine
from tests.machine.listening import Keeper, listen, made, taken, texts

FOUR: dict[str, dict[str, Any]] = {"A": {}, "B": {}, "C": {}, "D": {}}


# The whole story of a transition


def test_a_first_mutation() -> None:
    machine = am.Machine(FOUR)
    lines = listen(machine)
    machine.add(["A", "B"])
    machine.remove("A")
    machine.set("C")
    assert lines == [
        "[queue:add] A B",
        "[add] A B",
        "[state] +A +B",
        "[queue:remove] A",
        "[remove] A",
        "[state] -A B",
        "[queue:set] C",
        "[set] C",
        "[state] +C -B",
    ]


def test_a_mutation_that_changes_nothing_shows_its_states_at_the_highest_level_only() -> None:
    machine = am.Machine({"A": {}, "B": {}})
    machine.add(["B", "A"])
    lines = listen(machine)
    machine.add("A")
    assert lines[-1] == "[state] A B"
    machine.log.level = am.LogLevel.DECISIONS
    lines.clear()
    machine.add("A")
    assert lines == ["[queue:add] A", "[add] A"]


def test_a_multi_state_called_again_is_shown_as_new_and_as_kept() -> None:
    machine = am.Machine({"A": {"multi": True}, "B": {}})
    machine.add("A")
    lines = listen(machine)
    machine.add(["B", "A"])
    assert lines[-1] == "[state] +B +A A"


def test_relations_are_told_in_the_order_they_are_looked_at() -> None:
    machine = am.Machine(
        {
            "A": {"add": ["B", "Never"], "remove": ["C"]},
            "B": {"require": ["A"], "remove": ["E"]},
            "C": {},
            "E": {},
            "D": {"require": ["C"]},
            "Never": {"require": ["E"]},
        }
    )
    machine.add(["C", "D"])
    lines = listen(machine)
    machine.add("A")
    assert lines == [
        "[queue:add] A",
        "[add] A",
        "[reject] Never(-E)",
        "[rel:remove] C by A",
        "[reject] Never(-E) D(-C)",
        "[implied] B",
        "[state] +A +B -C -D",
    ]


def test_who_is_blocked_without_being_active_is_a_decision() -> None:
    machine = am.Machine({"A": {"remove": ["B"]}, "B": {}, "C": {"remove": ["B"]}})
    machine.add(["A", "C"])
    lines = listen(machine, am.LogLevel.OPS)
    machine.add("B")
    assert lines == ["[queue:add] B", "[add] B", "[cancel:reject] B"]
    machine.log.level = am.LogLevel.DECISIONS
    lines.clear()
    machine.add("B")
    assert lines == ["[queue:add] B", "[add] B", "[rel:remove] B by A C", "[cancel:reject] B"]


def test_an_auto_transition_is_resolved_again_after_its_negotiation() -> None:
    machine = made(A={}, B={"auto": True}, C={"auto": True, "require": ["X"]}, X={})
    lines = listen(machine)
    machine.add("A")
    assert lines == [
        "[queue:add] A",
        "[add] A",
        "[state] +A",
        "[auto] B C",
        "[prepend:add] B C",
        "[add:auto] B C",
        "[reject:auto] C(-X)",
        "[auto_] +B A",
    ]
    taken(lines)
    machine.set("B")
    assert lines[-4:] == ["[prepend:add] C", "[add:auto] C", "[reject:auto] C(-X)", "[cancel:reject] C"]


def test_auto_states_that_are_removed_are_told_of_at_the_highest_level() -> None:
    machine = made(A={"remove": ["B"]}, B={"auto": True}, C={"remove": ["B"]})
    lines = listen(machine)
    machine.add(["A", "C"])
    assert lines[-1] == "[auto:rel:remove] B by A C"


def test_handlers_are_told_with_the_number_of_their_binding() -> None:
    machine = am.Machine({"A": {}, "B": {}})
    machine.add("B")
    lines = listen(machine)
    machine.bind({"AState": lambda e: None}, id="one")
    machine.bind({"AEnter": lambda e: None, "AState": lambda e: machine.add("B")}, id="two")
    machine.add("A")
    assert lines == [
        "[handlers] bind 1:one",
        "[handlers] bind 2:two",
        "[queue:add] A",
        "[add] A",
        "[handle:one] AEnter",
        "[handle:two] AEnter",
        "[handler:2] AEnter",
        "[handler:end] AEnter from two",
        "[handle:one] BB",
        "[handle:two] BB",
        "[handle:one] BA",
        "[handle:two] BA",
        "[handle:one] AnyEnter",
        "[handle:two] AnyEnter",
        "[state] +A B",
        "[handle:one] AState",
        "[handler:1] AState",
        "[handler:end] AState from one",
        "[handle:two] AState",
        "[handler:2] AState",
        "[queue:add] B",
        "[postpone] queue running (1 item)",
        "[handler:end] AState from two",
        "[handle:one] AnyState",
        "[handle:two] AnyState",
        "[add] B",
        "[handle:one] BB",
        "[handle:two] BB",
        "[handle:one] AA",
        "[handle:two] AA",
        "[handle:one] AB",
        "[handle:two] AB",
        "[handle:one] BA",
        "[handle:two] BA",
        "[handle:one] AnyEnter",
        "[handle:two] AnyEnter",
        "[state] B A",
        "[handle:one] AnyState",
        "[handle:two] AnyState",
    ]
    taken(lines)
    machine.detach("one")
    machine.bind({"BState": lambda e: None}, id="three")
    assert lines == ["[handlers] detach one", "[handlers] bind 3:three"]


def test_a_prefixed_binding_is_asked_for_its_own_names_only() -> None:
    machine = am.Machine({"PxA": {}, "B": {}})
    machine.bind({"AState": lambda e: None}, id="px", prefix="Px")
    lines = listen(machine)
    machine.set("B")
    machine.set("PxA")
    asked = [line for line in lines if line.startswith("[handle")]
    assert asked == [
        "[handle:px] PxAEnter",
        "[handle:px] PxAState",
        "[handler:1] PxAState",
        "[handler:end] PxAState from px",
    ]


def test_nobody_is_asked_after_a_veto() -> None:
    machine = am.Machine({"A": {}, "B": {}}, {"AEnter": lambda e: False, "BEnter": lambda e: None})
    lines = listen(machine)
    assert machine.add(["A", "B"]).canceled
    assert [line.split()[0] for line in lines] == [
        "[queue:add]",
        "[add]",
        f"[handle:{machine.handlers()[0]}]",
        "[handler:1]",
        "[handler:end]",
        "[cancel]",
    ]


def test_a_dry_run_is_put_first_and_changes_nothing() -> None:
    machine = am.Machine(FOUR)
    lines = listen(machine)
    machine.can_add("A")
    assert lines == ["[prepend:add] A", "[add] A"]


def test_mutations_that_handlers_queue() -> None:
    machine = am.Machine(FOUR)

    def a_state(e: am.Event) -> None:
        machine.add("B")
        machine.add("B")
        e.remove("A")

    machine.bind({"AState": a_state})
    lines = listen(machine, am.LogLevel.OPS)
    machine.add("A")
    tx = lines[lines.index("[source] " + next(line for line in lines if line.startswith("[source]"))[9:])]
    assert lines == [
        "[queue:add] A",
        "[add] A",
        "[state] +A",
        "[handler:1] AState",
        "[queue:add] B",
        "[postpone] queue running (1 item)",
        "[queue:skipped] Duplicate detected for [add] B",
        "[queue:remove] A",
        "[postpone] queue running (2 items)",
        "[add] B",
        "[state] +B",
        "[remove] A",
        tx,
        "[state] -A",
    ]
    assert tx.startswith(f"[source] {machine.id}/")
    assert tx.endswith("/0")


def test_the_state_line_comes_before_scopes_end() -> None:
    machine = am.Machine({"A": {}, "B": {}}, {"AState": lambda e: None})
    lines = listen(machine, am.LogLevel.OPS)
    machine.scope("A")
    machine.scope("A")
    machine.add("A")
    assert lines == [
        "[ctx:new] A",
        "[queue:add] A",
        "[add] A",
        "[state] +A",
        "[ctx:match] A",
        "[handler:1] AState",
    ]


def test_waits_are_told_when_made_and_when_met() -> None:
    machine = am.Machine(FOUR)
    machine.add("D")
    lines = listen(machine, am.LogLevel.OPS)
    machine.when("D")  # met: nothing to tell
    machine.when("A", "B")
    machine.when_not("C", "D")
    machine.when_time(["A", "B"], [1, 1])
    machine.when_args("A", x=1, y=2)
    machine.when_query(lambda clock: clock["A"] > 0)
    machine.when_query(lambda clock: clock["A"] > 5)
    machine.when_queue(3)
    canceled = machine.when("C")
    canceled.cancel()
    assert taken(lines) == [
        "[when:new] A,B",
        "[whenNot:new] C,D",
        "[whenTime:new] A,B 1 1",
        "[whenArgs:new] A (x,y)",
        "[whenQuery:new] 1",
        "[whenQuery:new] 2",
        "[whenQueue:new] 3",
        "[when:new] C",
    ]
    machine.set(["A", "B"], x=1, y=2)
    assert sorted(taken(lines)[3:]) == sorted(
        [
            "[whenArgs:match] A (x,y)",
            "[when:match] A,B",
            "[whenNot:match] C,D",
            "[whenTime:match] A,B 1 1",
            "[whenQuery:match] 1",
            "[whenQueue:match] 3",
        ]
    )


def test_a_wait_for_a_queued_result() -> None:
    machine = am.Machine(FOUR)
    lines = listen(machine, am.LogLevel.OPS)

    def a_state(e: am.Event) -> None:
        machine.when_queue(machine.add("B"))

    machine.bind({"AState": a_state})
    machine.add("A")
    assert "[whenQueue:new] 3" in lines
    assert "[whenQueue:match] 3" in lines


def test_tracers_are_told_of() -> None:
    machine = am.Machine(FOUR)
    lines = listen(machine, am.LogLevel.OPS)
    tracer = am.Tracer()
    tracer.id = "mine"
    machine.trace(tracer)
    machine.untrace("mine")
    machine.untrace("mine")
    assert lines == ["[tracers] bind mine", "[tracers] detach mine"]


def test_questions_for_unknown_states() -> None:
    machine = am.Machine(FOUR)
    lines = listen(machine, am.LogLevel.DECISIONS)
    assert not machine.is_("A", "Nobody")
    assert not machine.any_("Nobody")
    assert lines == ["[is] state Nobody not found"]


def test_export_restore_and_disposal() -> None:
    machine = am.Machine({"Start": {}, "A": {}}, id="m")
    lines = listen(machine, am.LogLevel.OPS)
    machine.add(["Start", "A"])
    data = machine.export()
    fresh = am.Machine({"Start": {}, "A": {}}, id="m")
    told = listen(fresh, am.LogLevel.CHANGES)
    fresh.restore(data)
    assert told == ["[import] imported 1 times, now at 2 ticks"]
    taken(lines)
    machine.dispose()
    machine.log("no more")
    assert lines == [
        "[dispose] graceful shutdown via Start",
        "[queue:remove] Start",
        "[remove] Start",
        "[state] -Start",
    ]


def test_an_export_is_told_of() -> None:
    machine = am.Machine(FOUR)
    machine.add("A")
    lines = listen(machine, am.LogLevel.OPS)
    machine.export()
    assert lines == ["[import] exported at 1 ticks"]


def counted() -> int:
    return 7


def test_evaluations_are_told_of() -> None:
    machine = am.Machine(FOUR)
    lines = listen(machine)
    assert machine.eval(counted) == 7
    assert taken(lines) == ["[eval] counted", "[exter] eval: counted", "[eval:end] counted"]
    with pytest.raises(ZeroDivisionError):
        machine.eval(lambda: 1 // 0)
    assert lines[-1].startswith("[eval:end] test_evaluations_are_told_of.<locals>.<lambda>")
    taken(lines)
    machine.log.level = am.LogLevel.EXTERNAL
    machine.eval(partial(counted))
    assert lines == [f"[exter] eval: {partial(counted)!r}"]


def test_an_evaluation_that_does_not_get_its_turn() -> None:
    machine = am.Machine(FOUR, eval_timeout=0.01)
    lines = listen(machine, am.LogLevel.OPS)
    raised: list[BaseException] = []

    def elsewhere() -> None:
        try:
            machine.eval(counted)
        except am.WaitTimeout as error:
            raised.append(error)

    def a_state(e: am.Event) -> None:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()

    machine.bind({"AState": a_state})
    machine.add("A")
    assert len(raised) == 1
    assert lines[-2:] == ["[eval] counted", "[eval:timeout] counted"]


def test_a_cycle_of_requirements_is_told_of() -> None:
    machine = am.Machine({"X": {"require": ["B"]}, "A": {"require": ["B"]}, "B": {"require": ["A"]}}, id="m")
    assert listen(machine) == ["[resolver] relation error: state A has a Require cycle for m"]
    grown = am.Machine({"A": {"require": ["B"]}, "B": {}}, id="m")
    lines = listen(grown)
    assert lines == []
    grown.set_schema({"A": {"require": ["B"]}, "B": {"require": ["A"]}, "C": {}})
    assert lines == ["[resolver] relation error: state A has a Require cycle for m"]


# Errors


def raised(error: ValueError) -> ValueError:
    """The error with a stack."""
    try:
        raise error
    except ValueError as caught:
        return caught


def test_errors_are_told_with_their_stack() -> None:
    machine = am.Machine(FOUR)
    lines = listen(machine, am.LogLevel.CHANGES)
    machine.log.traces = True
    machine.add_err(raised(ValueError("boom")))
    assert lines[0] == "[state] +Exception"
    assert lines[1].startswith("[error] boom\nTraceback (most recent call last):\n")
    assert lines[1].endswith("\nValueError: boom")
    machine.log.traces = False
    machine.add_err(ValueError())
    assert lines[-1] == "[error] ValueError"
    machine.add("Exception")
    assert lines[-1] == "[error] missing error in args to ExceptionState"
    machine.add("Exception", {am.ErrorArgs.key: "nonsense"})
    assert lines[-1] == "[error] missing error in args to ExceptionState"


def test_an_error_handler_that_fails() -> None:
    def boom(e: am.Event) -> None:
        raise ValueError("boom")

    machine = am.Machine({"A": {}}, {"ExceptionState": boom}, id="m")
    lines = listen(machine, am.LogLevel.OPS)
    assert machine.add_err(RuntimeError("first")).canceled
    assert [line for line in lines if line.startswith(("[error", "[cancel"))] == [
        "[error] first",
        "[cancel] (Exception) by recover",
        "[error] ExceptionState raised while an error was handled: ValueError('boom')",
    ]


def test_an_error_whose_detail_is_rejected() -> None:
    machine = am.Machine({"Block": {"remove": ["ErrX"]}, "ErrX": {}})
    machine.add("Block")
    lines = listen(machine, am.LogLevel.CHANGES)
    machine.add_err(ValueError("boom"), state="ErrX")
    assert lines == [
        "[error] [add] ErrX Exception was rejected, adding Exception alone",
        "[state] +Exception",
        "[error] boom",
    ]


def test_a_deadline_is_told_of() -> None:
    def slow(e: am.Event) -> None:
        raise am.HandlerDeadline("too late")

    machine = am.Machine({"A": {}})
    machine.bind({"AState": slow}, id="slow")
    lines = listen(machine)
    machine.add("A")
    start = lines.index("[cancel] (A) by timeout")
    assert lines[start : start + 5] == [
        "[cancel] (A) by timeout",
        "[handler:timeout]: AState from slow",
        "[handler:deadline] AState from slow",
        "[recover] partial final states as ()",
        "[state] -A",
    ]


# Levels


STORY = [
    (1, "[exter] hello"),
    (2, "[state] +A"),
    (2, "[auto_] +Auto"),
    (2, "[state] -A"),
    (2, "[error] boom"),
    (2, "[breakpoint] Machine.breakpoint"),
    (3, "[queue:add] A"),
    (3, "[add] A"),
    (3, "[handler:1] AState"),
    (3, "[auto] Auto"),
    (3, "[prepend:add] Auto"),
    (3, "[reject] Needs(-A)"),
    (3, "[cancel:reject] Needs"),
    (3, "[rel:remove] A by Out"),
    (3, "[implied] Other"),
    (3, "[when:new] A"),
    (4, "[add:auto] Auto"),
    (4, "[rel:remove] Blocked by Auto"),
    (4, "[is] state Nobody not found"),
    (5, "[handle:h] AEnter"),
    (5, "[handler:end] AState from h"),
    (5, "[auto:rel:remove] Auto by Out"),
]


def told(level: int) -> list[str]:
    machine = made(
        A={},
        Auto={"auto": True, "remove": ["Blocked"]},
        Blocked={},
        Needs={"require": ["A"]},
        Out={"remove": ["A", "Auto"], "add": ["Other"]},
        Other={},
    )
    machine.bind({"AState": lambda e: None}, id="h")
    machine.add_breakpoint("A")
    lines = listen(machine, level)
    machine.log("hello")
    machine.when("A")
    machine.is_("Nobody")
    machine.add("Needs")
    machine.add("A")
    machine.add("Blocked")
    machine.add("Out")
    machine.add_err(ValueError("boom"))
    return lines


@pytest.mark.parametrize("level", range(6))
def test_a_level_tells_its_own_lines_and_those_of_lower_levels(level: int) -> None:
    lines = told(level)
    if level == 5:
        # The highest one shows in these also the states that have not changed.
        lines = [line.split(" A")[0] if line.startswith("[auto_]") else line for line in lines]
        lines = ["[state] -A" if line == "[state] +Out +Other -Auto -A" else line for line in lines]
    for own, text in STORY:
        seen = any(line.startswith(text) or (text == "[state] -A" and line.endswith(" -A")) for line in lines)
        assert seen == (own <= level), (text, lines)
    assert bool(lines) == (level > 0)


def test_levels_can_be_given_by_number_and_are_checked() -> None:
    log = am.Machine(FOUR).log
    log.level = 3
    assert log.level is am.LogLevel.OPS
    with pytest.raises(ValueError, match="9"):
        log.level = 9
    assert log.level is am.LogLevel.OPS


# Lines of one's own


def test_lines_of_ones_own_are_folded_and_formatted() -> None:
    machine = am.Machine(FOUR, id="download-1")
    lines: list[tuple[am.LogLevel, str]] = []
    machine.log.output = lambda level, line: lines.append((level, line))
    machine.log("nobody listens")
    machine.log.level = am.LogLevel.EXTERNAL
    machine.log("two\nlines, 100% sure")
    machine.log("got %d of %s", 3, "A")
    assert lines == [
        (am.LogLevel.EXTERNAL, "[downl] [exter] two lines, 100% sure"),
        (am.LogLevel.EXTERNAL, "[downl] [exter] got 3 of A"),
    ]


def test_a_line_can_name_the_handler_it_is_from() -> None:
    machine = am.Machine(FOUR)
    machine.bind({"AState": lambda e: machine.log("here", e=e)})
    lines = listen(machine, am.LogLevel.EXTERNAL)
    machine.add("A")
    assert lines == ["[exter] [AState] here"]


def test_the_default_output_is_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    machine = am.Machine(FOUR, id="m")
    machine.log.level = am.LogLevel.EXTERNAL
    machine.log("hello")
    machine.log.keep(am.LogLevel.EXTERNAL)
    machine.log("kept")
    assert capsys.readouterr().out == "[m] [exter] hello\n"
    assert texts(machine.log.take_pending()) == ["[exter] hello", "[exter] kept"]
    assert machine.log.take_pending() == ()


def test_an_output_that_raises_is_not_used_again(caplog: pytest.LogCaptureFixture) -> None:
    machine = am.Machine(FOUR, id="m")
    calls: list[str] = []

    def broken(line: str) -> None:
        calls.append(line)
        raise OSError("disk full")

    machine.log.simple(broken, am.LogLevel.OPS)
    with caplog.at_level(logging.ERROR, "asyncmachine"):
        assert machine.add("A").executed
    assert calls == ["[m] [queue:add] A"]
    assert "m: the log's output raised" in caplog.text
    assert not machine.is_err()


# Where entries are kept


def test_entries_belong_to_their_transition_or_to_the_next_one() -> None:
    machine = am.Machine(FOUR)
    keeper = Keeper()
    machine.bind({"AState": lambda e: machine.log("inside")})
    machine.log.keep(am.LogLevel.OPS)
    machine.trace(keeper)
    machine.log("before")
    machine.add("A")
    assert texts(keeper.last.pre_log_entries)[1:] == ["[exter] before", "[queue:add] A"]
    assert texts(keeper.last.log_entries) == ["[add] A", "[state] +A", "[handler:1] AState", "[exter] inside"]
    assert keeper.last.log_entries[1].level is am.LogLevel.CHANGES
    machine.log("after")
    assert texts(keeper.last.log_entries)[-1] == "[exter] inside"
    machine.remove("B")
    assert texts(keeper.last.pre_log_entries) == ["[exter] after", "[queue:remove] B"]


def test_a_tracer_finds_the_entries_of_each_hook_made_already() -> None:
    seen: list[list[str]] = []

    class Looking(am.Tracer):
        def transition_init(self, tx: am.Transition) -> None:
            seen.append(texts(tx.log_entries))

        def transition_finals(self, tx: am.Transition) -> None:
            seen.append(texts(tx.log_entries))

    machine = am.Machine(FOUR, tracers=[Looking()])
    machine.log.keep(am.LogLevel.OPS)
    machine.add("A")
    assert seen == [["[add] A"], ["[add] A", "[state] +A"]]


def test_what_repeats_between_transitions_is_kept_once() -> None:
    machine = am.Machine(FOUR)
    other = am.Machine(FOUR, id="other")
    lines = listen(machine, am.LogLevel.OPS)
    for _ in range(2):
        machine.log("again")
    for _ in range(2):
        machine.when("A")
    for _ in range(2):
        machine.log.pipes.add_out("A", other.id, is_add=True)
    machine.log("again")
    assert len(lines) == 7
    assert texts(machine.log.take_pending()) == [
        "[exter] again",
        "[when:new] A",
        "[when:new] A",
        "[pipe-out:add] A to other",
        "[pipe-out:add] A to other",
        "[exter] again",
    ]


def test_an_idle_machine_keeps_the_latest_entries_only() -> None:
    machine = am.Machine(FOUR)
    machine.log.keep(am.LogLevel.EXTERNAL)
    for n in range(1500):
        machine.log("%d", n)
    pending = machine.log.take_pending()
    assert len(pending) == 1000
    assert pending[-1].text == "[exter] 1499"


def test_without_a_log_transitions_have_no_entries() -> None:
    keeper = Keeper()
    machine = am.Machine(FOUR, tracers=[keeper])
    machine.add("A")
    assert (keeper.last.log_entries, keeper.last.pre_log_entries, keeper.last.steps) == ((), (), ())


# On and off


def test_a_silent_log_observes_nothing() -> None:
    machine = am.Machine(FOUR)
    log = machine.log
    assert log is machine.log

    def observers() -> int:
        return len(machine._tracers)

    assert observers() == 0
    log.level = 1
    assert observers() == 1
    assert machine.tracers == ()
    machine.untrace("log")
    assert observers() == 1
    log.level = 0
    assert observers() == 0
    log.steps = True
    assert observers() == 1
    log.steps = False
    assert observers() == 0


def test_a_log_switched_on_within_a_transition_begins_with_the_next_one() -> None:
    machine = am.Machine({"A": {}, "B": {}})
    lines: list[str] = []

    def switch_on(e: am.Event) -> bool:
        lines.extend(["on"])
        machine.log.show_id = False
        machine.log.simple(lines.append, am.LogLevel.EVERYTHING)
        machine.log.steps = True
        return True

    machine.bind({"AEnter": switch_on, "AState": lambda e: machine.add("B")}, id="h")
    machine.add("A")
    assert lines[:3] == ["on", "[queue:add] B", "[postpone] queue running (1 item)"]
    assert lines[3] == "[add] B"


def test_a_log_switched_off_within_a_transition() -> None:
    machine = am.Machine({"A": {}, "B": {}})

    def switch_off(e: am.Event) -> None:
        machine.log.level = 0

    machine.bind({"AEnter": switch_off, "AState": lambda e: None})
    keeper = Keeper()
    machine.trace(keeper)
    lines = listen(machine, am.LogLevel.OPS)
    machine.add("A")
    machine.add("B")
    assert lines == ["[queue:add] A", "[add] A", "[handler:1] AEnter"]
    assert keeper.last.log_entries == ()


def test_switches_are_off_until_named() -> None:
    log = am.Machine(FOUR, id="m").log
    assert not any(getattr(log, name) for name in SWITCHES)
    assert repr(log) == "<Log of m: nothing>"
    log.switch("can", "when")
    log.level = 2
    assert repr(log) == "<Log of m: changes can when>"
    log.switch(on=False)
    assert not any(getattr(log, name) for name in SWITCHES)
    log.switch()
    assert all(getattr(log, name) for name in SWITCHES)
    with pytest.raises(ValueError, match="no such switch: colour; there are steps, graph"):
        log.switch("colour")


def test_the_log_of_a_view_is_its_own() -> None:
    first, second = am.Machine(FOUR), am.Machine(FOUR)
    listen(first)
    assert second.log.level is am.LogLevel.NOTHING
    assert first.log is not second.log


def test_scopes_of_async_handlers_are_told_of() -> None:
    async def body() -> list[str]:
        async def a_state(e: am.Event) -> None:
            await asyncio.Event().wait()

        machine = am.Machine({"A": {}}, {"AState": a_state})
        lines = listen(machine, am.LogLevel.OPS)
        machine.add("A")
        await asyncio.sleep(0)
        machine.remove("A")
        await asyncio.sleep(0)
        return lines

    lines = asyncio.run(body())
    assert [line for line in lines if line.startswith("[ctx")] == ["[ctx:new] A", "[ctx:match] A"]


# Pipes


def test_both_machines_know_their_pipes() -> None:
    source = am.Machine({"A": {}, "B": {}}, id="source")
    target = am.Machine({"A": {}, "X": {}, "Y": {}, "ErrNet": {}}, id="target")
    out, into = listen(source, am.LogLevel.OPS), listen(target, am.LogLevel.OPS)
    first = am.pipes.bind(source, "A", target, "X", "Y")
    assert out[1:] == ["[pipe-out:add] A to target", "[pipe-out:remove] A to target"]
    assert into == ["[pipe-in:add] X from source", "[pipe-in:remove] Y from source"]
    am.pipes.bind_err(source, target, "ErrNet")
    assert texts(source.log.pipes.entries()) == [
        "[pipe-out:add] A to target",
        "[pipe-out:remove] A to target",
        "[pipe-out:add] Exception to target",
    ]
    assert texts(target.log.pipes.entries())[-1] == "[pipe-in:add] ErrNet from source"
    taken(out), taken(into)
    first.close()
    assert out == ["[handlers] detach Bind-A-target"]
    assert len(source.log.pipes) == len(target.log.pipes) == 1


@pytest.mark.parametrize("gone", ["source", "target"])
def test_pipes_of_a_disposed_machine_are_gone_from_the_other(gone: str) -> None:
    machines = {name: am.Machine({"A": {}, "B": {}}, id=name) for name in ("source", "target", "third")}
    source, target, third = machines.values()
    am.pipes.bind_many(source, target, ["A", "B"])
    am.pipes.bind_many(source, third, {"A": "B"})
    am.pipes.bind_many(target, source, ["A"])
    am.pipes.bind(third, "A", target)
    left = target if gone == "source" else source
    lines = listen(left, am.LogLevel.OPS)
    machines[gone].dispose()
    assert [line for line in lines if line.startswith("[pipe")] == [f"[pipe:gc] {gone}"]
    assert texts(left.log.pipes.entries()) == (
        ["[pipe-in:add] A from third", "[pipe-in:remove] A from third"]
        if gone == "source"
        else ["[pipe-out:add] A to third", "[pipe-out:remove] A to third"]
    )


def test_pipes_of_all_states_at_once() -> None:
    source, target = am.Machine({"A": {}}, id="source"), am.Machine({"A": {}}, id="target")
    am.pipes.bind_any(source, target)
    assert texts(source.log.pipes.entries()) == ["[pipe-out:add] Any to target"]
    assert texts(target.log.pipes.entries()) == ["[pipe-in:add] Any from source"]


def test_pipes_can_be_dropped_by_machine() -> None:
    machine = am.Machine(FOUR)
    lines = listen(machine, am.LogLevel.OPS)
    pipes = machine.log.pipes
    kept = pipes.add_in("A", "one", is_add=False)
    pipes.add_out("B", "two", is_add=True)
    pipes.add_in("C", "two", is_add=True)
    pipes.remove("two")
    pipes.remove("two")
    assert lines[-1] == "[pipe:gc] two"
    assert lines.count("[pipe:gc] two") == 1
    pipes.discard(kept, kept)
    assert lines[-1] == "[pipe:gc] one"
    assert len(pipes) == 0


def test_closed_pipes_leave_nothing_behind() -> None:
    source, target = am.Machine({"A": {}}), am.Machine({"A": {}})
    for _ in range(50):
        am.pipes.bind(source, "A", target).close()
    assert not source.handlers()
    assert not source._on_dispose
    assert not target._on_dispose
    assert not (source._root_scope()._callbacks or target._root_scope()._callbacks)


@pytest.mark.parametrize("outcome", ["veto", "raise"])
def test_a_log_switched_on_by_the_handler_that_ends_the_transition(outcome: str) -> None:
    machine = am.Machine({"A": {}, "B": {}})
    heard: list[list[str]] = []

    def ends(e: am.Event) -> bool:
        heard.append(listen(machine, am.LogLevel.OPS))
        if outcome == "raise":
            raise ValueError("boom")
        return False

    machine.bind({"AEnter": ends})
    assert machine.add("A").canceled
    machine.add("B")
    lines = heard[0]
    assert not any(line.startswith(("[cancel", "[recover", "[add] A")) for line in lines)
    assert lines[-2:] == ["[add] B", "[state] +B"]


def test_few_lines_are_kept_ready_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narrator, "READY_MADE", 3)
    names = [f"S{n}" for n in range(9)]
    machine = am.Machine({"Auto": {"auto": True}, **{name: {} for name in names}})
    lines = listen(machine, am.LogLevel.OPS)
    for _ in range(2):
        for name in names:
            machine.set(name)
    observer = machine._observer
    assert isinstance(observer, narrator.Narrator)
    assert len(observer._queued) <= 3
    assert len(observer._due) <= 3
    assert lines.count("[queue:set] S8") == 2


# Network machines


def test_a_mirror_tells_what_it_shows() -> None:
    class Calls:
        room = 0
        is_full = False

        def call(self, *_: object) -> am.Result:
            return am.Result.make_pending()

        notify = can = call

        def watch(self, *args: object) -> None:
            raise AssertionError

        def handler_failed(self, error: Exception) -> None:
            raise error

        @property
        def machine(self) -> am.View[Any]:
            raise AssertionError

    schema = am.Machine(am.Schema({"A": {}, "B": {}})).schema
    mirror: NetworkMachine[str] = NetworkMachine(Calls(), schema, id="rnm-x")
    lines = listen(mirror, am.LogLevel.OPS)
    keeper = Keeper()
    mirror.trace(keeper)
    mirror.bind({"BState": lambda e: mirror.log("hello", e=e)}, id="h")
    mirror.scope("A")
    mirror.when("B")
    mirror._show(Clock((1, 0, 0), 2, 0))
    mirror._show(Clock((2, 1, 0), 3, 0))
    mirror._show(Clock((2, 1, 0), 4, 0))
    assert lines[1:] == [
        "[handlers] bind 1:h",
        "[ctx:new] A",
        "[when:new] B",
        "[state] +A",
        "[ctx:match] A",
        "[state] +B -A",
        "[handler:1] BState",
        "[exter] [BState] hello",
        "[when:match] B",
    ]
    assert texts(keeper.ended[1].log_entries) == ["[state] +B -A", "[handler:1] BState", "[exter] [BState] hello"]
    assert texts(keeper.ended[2].pre_log_entries) == ["[when:match] B"]
    assert mirror._observer is not None
    assert mirror._observer.number("nobody") == 0
