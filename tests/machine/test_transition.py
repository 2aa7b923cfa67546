"""One mutation carried out: the order of handlers, vetoes, auto states, failures and what they leave, dry runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import asyncmachine as am
from asyncmachine import Outcome
from tests.machine.recording import RawSchema, Recorder, logging_handlers

ABC: RawSchema = {"A": {}, "B": {}, "C": {}}


def logged(schema: RawSchema, active: str = "", **behaviour: list[str]) -> tuple[am.Machine[str], list[str]]:
    """A machine with these states active and a handler for every name, and the list of calls."""
    calls: list[str] = []
    machine = am.Machine(schema)
    machine.add(active.split())
    machine.bind(logging_handlers([*schema, "Exception"], calls, **behaviour))
    return machine, calls


# The order of handlers


def test_set_from_two_states_to_a_third() -> None:
    machine, calls = logged(ABC, "A B")
    machine.set("C")
    assert calls == ["AExit", "BExit", "CEnter", "AC", "BC", "AnyEnter", "AEnd", "BEnd", "CState", "AnyState"]


def test_add_beside_two_states_that_stay() -> None:
    machine, calls = logged(ABC, "A B")
    machine.add("C")
    assert calls == ["CEnter", "AA", "BB", "AC", "AB", "BC", "BA", "AnyEnter", "CState", "AnyState"]


def test_a_removal_asks_pairs_but_not_selves() -> None:
    machine, calls = logged(ABC, "A B C")
    machine.remove("C")
    assert calls == ["CExit", "AB", "BA", "CA", "CB", "AnyEnter", "CEnd", "AnyState"]


def test_a_multi_state_called_again_enters_again_and_does_not_exit() -> None:
    machine, calls = logged({"A": {"multi": True}}, "A")
    machine.add("A")
    assert calls == ["AEnter", "AA", "AnyEnter", "AState", "AnyState"]
    assert machine.tick("A") == 3


def test_an_active_state_called_again_only_has_its_self_handler_asked() -> None:
    machine, calls = logged(ABC, "A")
    assert machine.add("A").executed
    assert calls == ["AA", "AnyEnter", "AnyState"]
    assert machine.tick("A") == 1


def test_after_decides_the_order_of_states_and_their_handlers() -> None:
    machine, calls = logged({"A": {"after": "B"}, "B": {}})
    machine.add(["A", "B"])
    assert calls == ["BEnter", "AEnter", "AnyEnter", "BState", "AState", "AnyState"]
    calls.clear()
    machine.set([])
    assert calls == ["BExit", "AExit", "AnyEnter", "BEnd", "AEnd", "AnyState"]


def test_relations_reject_before_any_handler_is_asked() -> None:
    machine, calls = logged({"A": {"require": "B"}, "B": {}})
    assert machine.add("A").canceled
    assert calls == []


def test_all_bindings_of_a_name_come_before_the_next_name() -> None:
    calls: list[str] = []

    def note(text: str) -> Callable[[am.Event], None]:
        return lambda e: calls.append(text)

    machine = am.Machine(ABC, {"AState": note("AState 1"), "BState": note("BState 1")})
    machine.bind({"AState": note("AState 2")})
    machine.add(["A", "B"])
    assert calls == ["AState 1", "AState 2", "BState 1"]


# What handlers see


def test_a_handler_sees_where_the_transition_leads() -> None:
    seen: dict[str, object] = {}

    def b_enter(e: am.Event) -> None:
        tx = e.tx
        seen.update(
            called=tx.called, kind=tx.kind, target=tx.target, enters=tx.enters, exits=tx.exits,
            before=tx.before, after=tx.after, active_before=tx.active_before, accepted=tx.accepted,
            completed=tx.completed, current=e.machine.transition is tx, valid=e.is_valid(),
        )  # fmt: skip

    machine = am.Machine({"A": {}, "B": {"remove": "A"}}, {"BEnter": b_enter})
    machine.add("A")
    machine.add("B")
    assert seen == {
        "called": ("B",), "kind": "add", "target": ("B",), "enters": ("B",), "exits": ("A",),
        "before": (1, 0, 0), "after": (2, 1, 0), "active_before": ("A",), "accepted": True,
        "completed": False, "current": True, "valid": True,
    }  # fmt: skip
    assert machine.transition is None


def test_ticks_change_between_negotiation_and_final_handlers() -> None:
    seen: list[tuple[str, bool]] = []

    def look(e: am.Event) -> None:
        seen.append((e.name, "B" in e.machine))

    machine = am.Machine(ABC, {"BEnter": look, "AnyEnter": look, "BState": look, "AEnd": look})
    machine.add("A")
    seen.clear()
    machine.set("B")
    assert seen == [("BEnter", False), ("AnyEnter", False), ("AEnd", True), ("BState", True)]


def test_an_event_is_valid_until_its_transition_is_over() -> None:
    events: list[am.Event] = []
    machine = am.Machine(ABC, {"AState": events.append})
    machine.add("A")
    assert not events[0].is_valid()
    assert repr(events[0]) == f"<Event AState of {machine.id}, [add] A>"
    assert repr(events[0].tx) == f"<Transition {events[0].tx.id} [add] A>"
    assert len(events[0].tx.id) == 16


def test_a_transition_tells_its_end_with_and_without_tracers() -> None:
    def boom(e: am.Event) -> None:
        raise RuntimeError

    for tracers in ([], [Recorder()]):
        events: list[am.Event] = []
        handlers = {"AState": events.append, "BState": boom, "AEnter": events.append}
        machine = am.Machine(ABC, handlers, tracers=tracers)
        machine.add(["A", "B"])
        tx = events[0].tx
        assert (tx.before, tx.after) == ((0, 0, 0, 0), (1, 2, 0, 0))
        assert tx.broken and not tx.accepted


# Vetoes


@pytest.mark.parametrize(
    ("veto", "asked"),
    [
        ("AExit", ["AExit"]),
        ("CEnter", ["AExit", "BExit", "CEnter"]),
        ("BC", ["AExit", "BExit", "CEnter", "AC", "BC"]),
        ("AnyEnter", ["AExit", "BExit", "CEnter", "AC", "BC", "AnyEnter"]),
    ],
)
def test_a_veto_stops_everything_after_it(veto: str, asked: list[str]) -> None:
    machine, calls = logged(ABC, "A B", vetoes=[veto])
    before = machine.time()
    assert machine.set("C").canceled
    assert calls == asked
    assert machine.time() == before
    assert machine.active_states() == ("A", "B")


def test_a_self_veto_cancels_too() -> None:
    machine, calls = logged(ABC, "A", vetoes=["AA"])
    assert machine.add("B").canceled
    assert calls == ["BEnter", "AA"]


def test_a_veto_of_one_binding_stops_the_others() -> None:
    calls: list[str] = []
    machine = am.Machine(ABC, {"AEnter": lambda e: False})
    machine.bind({"AEnter": lambda e: calls.append("second")})
    assert machine.add("A").canceled
    assert calls == []


@pytest.mark.parametrize("verdict", [True, None])
def test_true_and_none_accept(verdict: bool | None) -> None:
    machine = am.Machine(ABC, {"AEnter": lambda e: verdict})
    assert machine.add("A").executed


@pytest.mark.parametrize("verdict", [0, "", "no", 1])
def test_anything_else_is_an_error_and_no_veto(verdict: object) -> None:
    machine = am.Machine(ABC, {"AEnter": lambda e: verdict})
    assert machine.add("A").canceled
    assert isinstance(machine.err, am.HandlerError)
    assert "a negotiation handler returns False to veto, True or None to accept" in str(machine.err)


def test_what_a_final_handler_returns_does_not_matter() -> None:
    machine = am.Machine(ABC, {"AState": lambda e: False, "AnyState": lambda e: "whatever"})
    assert machine.add("A").executed


def test_a_state_named_like_a_suffix_still_negotiates_by_its_phase() -> None:
    machine = am.Machine({"A": {}, "MyState": {}}, {"AMyState": lambda e: False})
    machine.add("A")
    assert machine.add("MyState").canceled


# Auto states


AUTO: RawSchema = {"Go": {}, "A": {"auto": True}, "B": {"auto": True}}


def test_auto_states_follow_in_a_transition_of_their_own() -> None:
    recorder = Recorder()
    machine = am.Machine(AUTO, tracers=[recorder])
    assert machine.add("Go").executed
    assert machine.active_states() == ("A", "B", "Go")
    assert [(tx.called, tx.is_auto, tx.queue_tick) for tx in recorder.ended] == [
        (("Go",), False, 2),
        (("A", "B"), True, 0),
    ]


def test_an_auto_transition_never_starts_another_one() -> None:
    machine = am.Machine({"Go": {}, "A": {"auto": True}, "B": {"auto": True, "require": "C"}, "C": {}})
    machine.bind({"AState": lambda e: None})
    recorder = Recorder()
    machine.trace(recorder)
    machine.add("Go")
    machine.add("C")
    assert [tx.is_auto for tx in recorder.ended] == [False, True, False, True]


def test_a_transition_that_changes_no_tick_starts_none() -> None:
    recorder = Recorder()
    machine = am.Machine({"Go": {}, "A": {"auto": True, "require": "B"}, "B": {}}, tracers=[recorder])
    machine.add("Go")
    machine.add("Go")
    assert [tx.is_auto for tx in recorder.ended] == [False, True, False]


@pytest.mark.parametrize("sign", ["Healthcheck", "Heartbeat"])
def test_a_sign_of_life_starts_none(sign: str) -> None:
    schema: RawSchema = {sign: {"multi": True}, "Other": {}, "A": {"auto": True, "remove": []}}
    for handlers in (None, {"OtherState": lambda e: None}):
        machine = am.Machine(schema, handlers)
        machine.add(sign)
        assert machine.not_("A")
        machine.add([sign, "Other"])
        assert machine.is_("A"), "beside another state it is a mutation like any other"


def test_an_auto_state_that_an_active_state_removes_is_not_called() -> None:
    recorder = Recorder()
    machine = am.Machine({"Go": {"remove": "A"}, "A": {"auto": True}}, tracers=[recorder])
    machine.add("Go")
    assert len(recorder.ended) == 1


@pytest.mark.parametrize(
    ("vetoes", "left", "canceled"),
    [
        ([], "(Go:1 A:1 B:1)", False),
        (["AEnter"], "(Go:1 B:1)", False),
        (["AEnter", "BEnter"], "(Go:1)", False),
        (["GoA"], "(Go:1 B:1)", False),
        (["BA"], "(Go:1 A:1 B:1)", False),
        (["GoGo"], "(Go:1)", True),
        (["AnyEnter"], "(Go:1)", True),
    ],
)
def test_a_veto_takes_one_auto_state_out(vetoes: list[str], left: str, canceled: bool) -> None:
    def in_auto(name: str) -> Callable[[am.Event], bool | None]:
        return lambda e: not (e.tx.is_auto and name in vetoes)

    names = ["AEnter", "BEnter", "GoA", "GoB", "BA", "GoGo", "AnyEnter"]
    recorder = Recorder()
    machine = am.Machine(AUTO, {name: in_auto(name) for name in names}, tracers=[recorder])
    machine.add("Go")
    assert str(machine) == left
    assert recorder.ended[-1].accepted is not canceled


def test_a_vetoed_auto_state_is_not_asked_about_again() -> None:
    asked: list[str] = []

    def asks(name: str, verdict: bool) -> Callable[[am.Event], bool]:
        def ask(e: am.Event) -> bool:
            asked.append(name)
            return verdict

        return ask

    machine = am.Machine(AUTO, {"AEnter": asks("AEnter", False), "GoA": asks("GoA", True), "GoB": asks("GoB", True)})
    machine.add("Go")
    assert asked == ["AEnter", "GoB"] and machine.is_("Go", "B")


def test_a_veto_of_an_implied_state_cancels_the_auto_transition() -> None:
    machine = am.Machine({"Go": {}, "A": {"auto": True, "add": "C"}, "C": {}}, {"CEnter": lambda e: False})
    machine.add("Go")
    assert str(machine) == "(Go:1)"


def test_a_veto_of_a_leaving_state_cancels_the_auto_transition() -> None:
    schema: RawSchema = {"Old": {}, "A": {"auto": True, "remove": "Old"}, "B": {"auto": True}}
    machine = am.Machine(schema, {"OldExit": lambda e: not e.tx.is_auto})
    machine.add("Old")
    assert machine.active_states() == ("Old",)


def test_a_veto_of_a_leaving_auto_state_cancels_too() -> None:
    schema: RawSchema = {"Go": {}, "Old": {"auto": True}, "New": {"auto": True, "require": "Go", "remove": "Old"}}
    machine = am.Machine(schema, {"OldExit": lambda e: False})
    machine.add("Exception")
    machine.add("Go")
    assert machine.is_("Old") and machine.not_("New")


def test_final_handlers_run_for_the_auto_states_that_are_left() -> None:
    schema: RawSchema = {"Go": {}, "A": {"auto": True, "add": "C"}, "B": {"auto": True}, "C": {}}
    machine, calls = logged(schema, vetoes=["AEnter"])
    machine.add("Go")
    assert [name for name in calls if name.endswith("State")] == ["GoState", "AnyState", "BState", "AnyState"]


def test_an_error_in_an_auto_transition_cancels_it() -> None:
    def a_enter(e: am.Event) -> None:
        if not e.machine.is_err():
            raise RuntimeError

    recorder = Recorder()
    machine = am.Machine(AUTO, {"AEnter": a_enter}, tracers=[recorder])
    assert machine.add("Go").executed, "the outcome is that of the mutation that was called"
    assert [(tx.called, tx.accepted) for tx in recorder.ended] == [
        (("Go",), True),
        (("A", "B"), False),
        (("Exception",), True),
        (("A", "B"), True),
    ]


def test_an_auto_state_that_always_fails_does_not_hang_the_machine() -> None:
    """The error starts the auto states again, which fail again: a chain without end, found out and dropped."""

    def a_enter(e: am.Event) -> None:
        raise RuntimeError("always")

    machine = am.Machine(AUTO, {"AEnter": a_enter})
    assert machine.add("Go").executed
    assert machine.is_("Go", "Exception") and machine.not_("A", "B")
    assert isinstance(machine.err, am.EndlessChain)
    assert machine.queue_len == 0
    assert machine.remove("Go").executed


# Failures


def failing(name: str, schema: RawSchema = ABC, active: str = "") -> tuple[am.Machine[str], Recorder, list[am.Event]]:
    """A machine in which one handler raises, the transitions, and the events that `ExceptionState` saw."""
    events: list[am.Event] = []

    def boom(e: am.Event) -> None:
        raise ValueError(f"boom {e.name}")

    machine = am.Machine(schema)
    machine.add(active.split())
    machine.bind({name: boom, "ExceptionState": events.append})
    recorder = Recorder()
    machine.trace(recorder)
    return machine, recorder, events


def test_an_error_of_a_negotiation_handler_cancels_and_becomes_exception() -> None:
    machine, recorder, events = failing("BEnter", active="A")
    assert machine.add("B").canceled
    assert machine.string_all() == "(A:1 Exception:1) [B:0 C:0]"
    first, second = recorder.ended
    assert (first.accepted, first.broken, first.before, first.after) == (False, True, (1, 0, 0, 0), (1, 0, 0, 0))
    assert (second.called, second.accepted, second.queue_tick) == (("Exception",), True, 0)
    assert machine.queue_tick == 3, "the error took no queue tick"
    args = events[0].args(am.ErrorArgs)
    assert args.err is machine.err
    assert str(args.err) == "boom BEnter"
    assert (args.handler, args.called, args.before) == ("BEnter", ("B",), ("A",))
    assert "in boom" in args.trace and "ValueError: boom BEnter" in args.trace


def test_an_error_is_traced_to_the_handler_that_raised() -> None:
    machine, recorder, events = failing("BEnter", active="A")
    machine.add("B")
    source = events[0].mutation.source
    assert source == am.MutationSource(machine.id, recorder.ended[0].id, 1)


def test_an_error_of_a_state_handler_takes_back_its_state_and_those_after_it() -> None:
    machine, recorder, _ = failing("BState")
    assert machine.add(["A", "B", "C"]).canceled
    assert machine.string_all() == "(A:1 Exception:1) [B:2 C:2]"
    assert recorder.ended[0].after == (1, 2, 2, 0)


def test_only_what_was_entered_is_taken_back() -> None:
    machine, _, _ = failing("BState", active="C")
    assert machine.add(["A", "B"]).canceled
    assert machine.string_all() == "(A:1 C:1 Exception:1) [B:2]"


def test_a_multi_state_called_again_is_taken_back_once() -> None:
    machine, _, _ = failing("AState", {"A": {"multi": True}, "B": {}}, active="A")
    assert machine.add("A").canceled
    assert machine.string_all() == "(Exception:1) [A:4 B:0]"


def test_an_error_of_an_end_handler_takes_nothing_back_and_runs_nothing_more() -> None:
    machine, calls = logged(ABC, "A", raises=["AEnd"])
    assert machine.set("B").canceled
    assert "BState" not in calls
    assert machine.string_all() == "(B:1 Exception:1) [A:2 C:0]"


def test_an_error_of_any_state_takes_nothing_back() -> None:
    machine, recorder, _ = failing("AnyState")
    machine.add("A")
    assert machine.is_("A")
    assert not recorder.ended[0].accepted


def test_an_error_of_any_enter_cancels() -> None:
    machine, _, _ = failing("AnyEnter")
    assert machine.add("A").canceled
    # Exception itself asks AnyEnter, which raises again; nothing is left to tell.
    assert not machine.is_err() and isinstance(machine.err, ValueError)


def test_a_broken_transition_starts_no_auto_states_but_the_error_does() -> None:
    machine, recorder, _ = failing("BState", {"A": {}, "B": {}, "Auto": {"auto": True}})
    machine.add(["A", "B"])
    assert [(tx.called, tx.is_auto) for tx in recorder.ended] == [
        (("A", "B"), False),
        (("Exception",), False),
        (("Auto",), True),
    ]


def test_waits_see_what_a_broken_transition_has_changed() -> None:
    machine, _, _ = failing("BState")
    a, b, after_b = machine.when("A"), machine.when("B"), machine.when_time(["B"], [2])
    machine.add(["A", "B"])
    assert a.done() and after_b.done()
    assert not b.done(), "B was active only within the transition"


def test_an_error_while_an_error_is_handled_does_not_go_round_in_circles() -> None:
    machine, recorder, _ = failing("ExceptionEnter")
    assert machine.add_err(OSError("first")).canceled
    assert len(recorder.ended) == 1
    assert str(machine.err) == "boom ExceptionEnter"
    assert machine.add("A").executed


def test_a_failing_error_handler_leaves_the_machine_working() -> None:
    machine, _ = logged(ABC, raises=["AState", "ExceptionState"])
    machine.add("A")
    assert not machine.is_err(), "Exception is taken back like any state whose handler raised"
    assert str(machine.err) == "boom ExceptionState"
    assert machine.add("B").executed


def test_a_handlers_error_may_name_a_state() -> None:
    class Lost(am.AmError):
        state = "ErrLost"

    def a_state(e: am.Event) -> None:
        raise Lost("gone")

    schema: RawSchema = {"A": {}, "ErrLost": {"require": "Exception"}}
    machine = am.Machine(schema, {"AState": a_state})
    machine.add("A")
    assert machine.is_("ErrLost", "Exception")

    elsewhere = am.Machine({"A": {}}, {"AState": a_state})
    elsewhere.add("A")
    assert elsewhere.is_err(), "a state that the machine does not have is left out"


def test_a_handlers_error_that_names_exception_itself_calls_it_once() -> None:
    class Plain(am.AmError):
        state = "Exception"

    def a_state(e: am.Event) -> None:
        raise Plain

    recorder = Recorder()
    am.Machine(ABC, {"AState": a_state}, tracers=[recorder]).add("A")
    assert recorder.ended[-1].called == ("Exception",)


# Dry runs


def test_a_dry_run_asks_and_changes_nothing() -> None:
    machine, calls = logged(ABC, "A")
    recorder = Recorder()
    machine.trace(recorder)
    before = machine.time()
    assert machine.can_add("B").executed
    assert machine.can_remove("A").executed
    assert calls == ["BEnter", "AA", "AB", "AnyEnter", "AExit", "AnyEnter"]
    assert machine.time() == before
    first, second = recorder.ended
    assert first.is_check and first.accepted and first.before == first.after
    assert (first.enters, second.exits) == (("B",), ("A",))
    assert "finals" not in recorder.hooks


def test_a_handler_can_tell_a_dry_run() -> None:
    seen: list[tuple[bool, tuple[int, ...]]] = []
    machine = am.Machine(ABC, {"AEnter": lambda e: seen.append((e.is_check, e.tx.after))})
    machine.can_add("A")
    machine.add("A")
    assert seen == [(True, (0, 0, 0, 0)), (False, (1, 0, 0, 0))]


def test_the_ticks_ahead_count_multi_states_twice() -> None:
    seen: list[tuple[int, ...]] = []
    machine = am.Machine({"A": {"multi": True}}, {"AEnter": lambda e: seen.append(e.tx.after)})
    machine.add("A")
    machine.add("A")
    assert seen == [(1, 0), (3, 0)]


@pytest.mark.parametrize(
    ("check", "outcome"),
    [
        (lambda m: m.can_add("A"), Outcome.EXECUTED),
        (lambda m: m.can_add("B"), Outcome.CANCELED),
        (lambda m: m.can_add(["M", "B"]), Outcome.CANCELED),
        (lambda m: m.can_add("V"), Outcome.CANCELED),
        (lambda m: m.can_remove("V"), Outcome.EXECUTED),
    ],
)
def test_a_dry_run_answers_what_the_mutation_would(
    check: Callable[[am.Machine[str]], am.Result], outcome: Outcome
) -> None:
    schema: RawSchema = {"A": {}, "B": {"require": "C"}, "C": {}, "M": {"multi": True}, "V": {}}
    machine = am.Machine(schema, {"VEnter": lambda e: False})
    assert check(machine).outcome == outcome


def test_a_dry_run_passes_arguments_on() -> None:
    machine = am.Machine(ABC, {"AEnter": lambda e: bool(e.raw_args.get("ok")), "AExit": lambda e: e.raw_args["ok"]})
    assert machine.can_add("A").canceled
    assert machine.can_add("A", {"ok": True}).executed
    machine.add("A", ok=True)
    assert machine.can_remove("A", ok=False).canceled


def test_an_error_in_a_dry_run_is_an_error() -> None:
    machine, _, _ = failing("AEnter")
    assert machine.can_add("A").canceled
    assert machine.is_err()


# Arguments and origins


def test_handlers_of_one_transition_share_its_arguments() -> None:
    seen: list[object] = []

    def a_enter(e: am.Event) -> None:
        e.raw_args["found"] = "in AEnter"

    given = {"x": 1}
    machine = am.Machine(ABC, {"AEnter": a_enter, "AState": lambda e: seen.append(dict(e.raw_args))})
    machine.add("A", given, y=2)
    assert seen == [{"x": 1, "y": 2, "found": "in AEnter"}]
    assert given == {"x": 1}, "the caller's dict is not touched"


def test_mutations_of_an_event_are_traced_to_it() -> None:
    sources: list[am.MutationSource | None] = []
    ids: list[str] = []

    def a_state(e: am.Event) -> None:
        ids.append(e.tx.id)
        e.add("B")
        e.machine.add("C", e=e)

    def note(e: am.Event) -> None:
        sources.append(e.mutation.source)

    machine = am.Machine(ABC, {"AState": a_state, "BState": note, "CState": note, "BEnd": note}, id="m")
    machine.add("A")
    assert sources == [am.MutationSource("m", ids[0], 0)] * 2
    other = am.MutationSource("elsewhere", "tx", 7)
    machine.remove("B", e=other)
    assert sources[-1] is other


def test_the_machine_time_of_a_source_is_that_before_its_transition() -> None:
    times: list[int] = []
    machine = am.Machine(ABC, {"CState": lambda e: times.append(e.source.machine_time)})
    machine.add(["A", "B"])
    machine.remove("A")
    machine.add("C")
    assert times == [3]


def test_ticks_beyond_64_bits_keep_their_parity() -> None:
    machine = am.Machine({"A": {"multi": True}, "B": {}})
    machine._ticks[:] = [2**64 - 2, 2**64 - 2, 0]
    seen: list[int] = []
    machine.bind({"AState": lambda e: seen.append(e.machine.tick("A"))})
    machine.add("A")
    machine.add("A")
    assert seen == [2**64 - 1, 2**64 + 1]
    assert machine.is_("A")
    machine.remove("A")
    assert machine.not_("A") and machine.tick("A") == 2**64 + 2
