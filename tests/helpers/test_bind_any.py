"""A target that follows all states of a source: each change arrives once, and nothing else is called."""

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import asyncmachine as am
from asyncmachine import pipes
from tests.helpers.test_pipes import Recorder, machine, two


def test_an_active_multi_state_is_not_called_when_another_state_changes() -> None:
    source, target, recorder = two("M", "A", "B", multi=("M",))
    pipes.bind_any(source, target)
    source.add("M")
    source.add("A")
    source.remove("A")
    assert recorder.seen == ["[set] M", "[add] A", "[remove] A"]
    assert target.tick("M") == 1
    source.set("B")
    assert recorder.seen[3:] == ["[set] B"]


def test_what_ends_and_what_begins_beside_an_active_multi_state_comes_in_this_order() -> None:
    source = am.Machine({"M": {"multi": True}, "A": {"remove": "B"}, "B": {"remove": "A"}}, id="src")
    target, recorder = machine("M", "A", "B", multi=("M",)), Recorder()
    target.trace(recorder)
    pipes.bind_any(source, target)
    source.add(["M", "A"])
    source.add("B", n=1)
    assert recorder.seen == ["[set] M A", "[remove] A", "[add] B"]
    assert [tx.args for tx in recorder.transitions] == [{}, {"n": 1}, {"n": 1}]
    assert all(tx.source is not None for tx in recorder.transitions)


def test_each_further_call_of_a_multi_state_arrives_with_its_arguments() -> None:
    source, target, recorder = two("M", "A", multi=("M",))
    pipes.bind_any(source, target)
    for n in range(3):
        source.add("M", n=n)
    assert [tx.args["n"] for tx in recorder.transitions] == [0, 1, 2]
    assert target.tick("M") == source.tick("M") == 5


def test_a_set_that_calls_a_multi_state_arrives_as_one() -> None:
    source, target, recorder = two("M", "A", "B", multi=("M",))
    pipes.bind_any(source, target)
    source.add(["M", "A"])
    source.set(["M", "B"])
    assert recorder.seen == ["[set] M A", "[set] M B"]


def test_of_two_multi_states_only_the_called_one_is_called() -> None:
    source, target, _ = two("M", "N", multi=("M", "N"))
    pipes.bind_any(source, target)
    source.add(["M", "N"])
    source.add("N")
    assert target.clock() == source.clock()


def test_multi_states_of_the_targets_own_are_not_called() -> None:
    source, target, recorder = machine("A", "B"), machine("A", "B", "Own", multi=("Own",)), Recorder()
    target.trace(recorder)
    target.add("Own")
    pipes.bind_any(source, target)
    source.add("A")
    source.set("B")
    source.add("B")
    assert recorder.seen == ["[add] Own", "[add] A", "[remove] A", "[add] B"]
    assert target.is_("B", "Own") and target.tick("Own") == 1


def test_a_state_that_is_multi_at_the_source_alone_is_called_once() -> None:
    source, target, recorder = machine("M", multi=("M",)), machine("M"), Recorder()
    target.trace(recorder)
    pipes.bind_any(source, target)
    source.add("M")
    source.add("M")
    assert recorder.seen == ["[set] M"]


def test_what_was_there_before_the_pipe_is_called_with_its_next_call() -> None:
    source, target, recorder = two("M", "A", multi=("M",))
    source.add("M")
    source.add("M")
    target.set(source.active_states())
    pipes.bind_any(source, target)
    source.add("A")
    assert target.tick("M") == 1
    source.add("M")
    assert recorder.seen == ["[set] M", "[add] A", "[set] M A"]


def test_what_the_target_does_by_itself_is_no_call_of_the_source() -> None:
    source, target, _ = two("M", multi=("M",))
    pipes.bind_any(source, target)
    target.add("M")
    source.add("M")
    assert target.tick("M") == 1, "it is active already"
    target.add("M")
    source.add("M")
    assert target.tick("M") == 5
    third, events = machine("Go"), list[am.Event]()
    third.bind({"GoState": events.append})
    third.add("Go")
    target.add("M")
    source.add("M", e=events[0])
    assert target.tick("M") == 9


def test_a_target_that_has_changed_by_itself_is_set_back_with_the_next_transition() -> None:
    source, target, _ = two("A", "B")
    pipes.bind_any(source, target)
    source.add("A")
    target.set("B")
    source.add("A")
    assert target.active_states() == ("A",)


def test_changes_that_wait_in_the_targets_queue_are_followed_once() -> None:
    source, target = machine("M", "A", "B", multi=("M",)), machine("M", "A", "B", "Go", "Own", multi=("M",))
    recorder = Recorder()
    target.trace(recorder)
    pipes.bind_any(source, target)

    def go(e: am.Event) -> None:
        e.add("Own")
        source.add("M")
        source.add("A")
        source.add("M")
        source.set(["A", "B"])
        source.add("M")

    target.bind({"GoState": go})
    target.add("Go")
    assert recorder.seen[:2] == ["[add] Go", "[add] Own"]
    assert recorder.seen[2:] == ["[add] M", "[add] A", "[add] M", "[remove] M", "[add] B", "[add] M"]
    assert target.is_("M", "A", "B", "Go", "Own")
    assert target.clock(source.names) == source.clock()
    source.remove("A")
    assert target.not_("A")


def test_what_waits_still_while_the_next_change_comes_is_not_called_again() -> None:
    source, target = machine("A", "B", "M", multi=("M",)), machine("A", "B", "M", "Go", "Between", multi=("M",))
    pipes.bind_any(source, target)

    def go(e: am.Event) -> None:
        source.add("A")
        e.add("Between")
        source.add("M")

    target.bind({"GoState": go, "BetweenState": lambda e: source.add("B")})
    target.add("Go")
    assert target.tick("M") == 1 and target.is_("A", "B")


def test_handlers_of_the_target_may_call_states_of_the_source_again_and_again() -> None:
    source, target = machine("M", multi=("M",)), machine("M", "Go", multi=("M", "Go"))
    pipes.bind_any(source, target)
    target.bind({"GoState": lambda e: source.add("M", e=e)})
    for _ in range(3):
        target.add("Go")
    assert target.tick("M") == source.tick("M") == 5


def test_a_handler_of_the_target_may_call_the_state_it_is_about_at_the_source() -> None:
    source, target, _ = two("M", multi=("M",))
    pipes.bind_any(source, target)
    left = 3

    def called(e: am.Event) -> None:
        nonlocal left
        left -= 1
        if left:
            source.add("M", e=e)

    target.bind({"MState": called})
    source.add("M")
    assert (left, target.tick("M"), source.tick("M")) == (0, 5, 5)


def test_two_machines_that_follow_each_other_come_to_rest() -> None:
    first, second = machine("M", "A", multi=("M",), id="1"), machine("M", "A", multi=("M",), id="2")
    pipes.bind_any(first, second)
    pipes.bind_any(second, first)
    events: list[am.Event] = []
    first.bind({"AState": events.append})
    second.add("A")
    first.add("M")
    first.add("M")
    second.add("M", e=events[0])
    second.add("M")
    second.add_err(OSError("one"))
    first.add_err(OSError("two"))
    assert first.clock() == second.clock() == {"M": 7, "A": 1, "Exception": 3}


def test_states_that_the_source_gets_later_are_followed_if_the_target_has_them() -> None:
    source, target = machine("A"), machine("A", "Known")
    target.add("Known")
    pipes.bind_any(source, target)
    source.add("A")
    assert target.is_("A", "Known")
    source.set_schema({**source.schema, "Known": {}, "Unknown": {}}, [*source.names, "Known", "Unknown"])
    source.add("Unknown")
    assert target.active_states() == ("A",)
    source.add("Known")
    assert target.is_("A", "Known")
    target.set_schema({**target.schema, "Unknown": {}}, [*target.names, "Unknown"])
    source.remove("A")
    assert target.active_states() == ("Known", "Unknown")


KINDS = st.sampled_from(["add", "remove", "set", "toggle"])
NAMES = st.sets(st.sampled_from("MNAB"), min_size=1)


@given(st.lists(st.tuples(KINDS, NAMES)))
def test_handlers_run_as_often_as_at_the_source(calls: list[tuple[str, set[str]]]) -> None:
    states: dict[str, dict[str, Any]] = {
        "M": {"multi": True, "add": "A"},
        "N": {"multi": True},
        "A": {"remove": "B"},
        "B": {"require": "N"},
    }
    source, target = am.Machine(am.Schema(states)), machine(*states, multi=("M", "N"))
    there, here = ran(source), ran(target)
    pipes.bind_any(source, target)
    for kind, names in calls:
        getattr(source, kind)(sorted(names))
        assert set(target.active_states()) == set(source.active_states())
        assert here == there


def ran(one: am.Machine[str]) -> Counter[str]:
    """How often each final handler has run."""
    seen: Counter[str] = Counter()
    handlers = [f"{name}{end}" for name in one.names for end in ("State", "End")]
    one.bind(dict.fromkeys(handlers, lambda e: seen.update([e.name])))
    return seen
