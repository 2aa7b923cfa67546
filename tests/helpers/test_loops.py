import pytest

import asyncmachine as am
from asyncmachine.helpers.loops import EndlessLoop, StateLoop, related


class Poll(am.StatesDef):
    Start = am.state()
    Polling = am.state(require=Start)
    Got = am.state(multi=True, require=Polling)
    Other = am.state(multi=True)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def polling(threshold: int = 10) -> tuple[am.Machine[Poll], StateLoop, Clock]:
    machine, clock = am.Machine(Poll), Clock()
    machine.add([Poll.Start, Poll.Polling])
    return machine, StateLoop(machine, Poll.Polling, threshold=threshold, clock=clock), clock


def test_related_are_its_requirements_and_those_that_relate_to_it() -> None:
    assert related(am.Machine(Poll), Poll.Polling) == ("Polling", "Start", "Got")


def test_a_loop_goes_on_while_its_state_is_active() -> None:
    machine, loop, _ = polling()
    assert loop.ok()
    machine.remove(Poll.Polling)
    assert not loop.ok() and loop.ended
    machine.add(Poll.Polling)
    assert not loop.ok(), "another activation has a loop of its own"


def test_a_loop_outside_of_its_state_is_over() -> None:
    machine = am.Machine(Poll)
    assert not StateLoop(machine, Poll.Polling).ok()


def test_a_loop_ends_when_it_is_broken_or_its_check_or_scope_says_so() -> None:
    machine, loop, _ = polling()
    loop.break_()
    assert not loop.ok()
    answers = iter([True, False, True])
    checked = StateLoop(machine, Poll.Polling, check=lambda: next(answers))
    assert [checked.ok(), checked.ok(), checked.ok()] == [True, False, False]
    _, loop, _ = polling()
    scope = am.Scope()
    assert loop.ok(scope)
    scope.end()
    assert not loop.ok(scope) and not loop.ok()


def test_too_many_ticks_in_a_window_are_an_error() -> None:
    machine, loop, clock = polling()
    for _ in range(5):
        machine.add(Poll.Got)
        assert loop.ok()
    clock.now = 0.9
    machine.add(Poll.Got)
    assert not loop.ok() and loop.ended
    assert isinstance(machine.err, EndlessLoop)
    assert "a loop in Polling made 11 ticks in 0.900 s, more than 10: Polling Start Got" in str(machine.err)
    assert machine.is_(Poll.Exception)


def test_ticks_count_since_the_window_began_and_not_in_all() -> None:
    machine, loop, clock = polling()
    for _ in range(1_000):
        machine.add(Poll.Got)
    assert loop.sum() > 1_000
    fresh = StateLoop(machine, Poll.Polling, threshold=10, clock=clock)
    for second in range(20):
        clock.now = 2.0 * second
        assert fresh.ok()
        machine.add(Poll.Got)
        machine.add(Poll.Got)
        assert fresh.ok(), "a busy machine is not an endless loop"


def test_other_states_do_not_count() -> None:
    machine, loop, _ = polling()
    for _ in range(100):
        machine.add(Poll.Other)
    assert loop.ok()


def test_a_disposed_machine_ends_its_loops() -> None:
    machine, loop, _ = polling()
    machine.dispose()
    assert not loop.ok()


def test_a_state_that_the_machine_lacks() -> None:
    with pytest.raises(am.StateMissing, match="Polling"):
        StateLoop(am.Machine({"Poling": {}}), "Polling")
