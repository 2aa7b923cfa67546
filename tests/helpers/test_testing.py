from collections.abc import Callable
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine.helpers.testing import (
    assert_err,
    assert_is,
    assert_no_err_ever,
    assert_no_err_now,
    assert_no_err_queued,
    assert_not,
)


def abc(*active: str) -> am.Machine[str]:
    machine = am.Machine({"A": {}, "B": {}, "Go": {}}, id="m")
    machine.add(active)
    return machine


def erred() -> am.Machine[str]:
    machine = abc()
    machine.add_err(OSError("no route"))
    return machine


def test_what_holds_passes() -> None:
    assert_is(abc("A", "B"), "A", "B")
    assert_not(abc("A"), "B", "Go")
    assert_no_err_now(abc())
    assert_no_err_ever(abc())
    assert_err(erred())
    assert_err(erred(), OSError)
    over = erred()
    over.remove("Exception")
    assert_no_err_now(over)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (lambda: assert_is(abc("A"), "A", "B"), r"m: B should be active; \(A:1\) \[B:0 Go:0 Exception:0\]"),
        (lambda: assert_not(abc("A"), "A", "B"), "A should not be active"),
        (lambda: assert_not(abc("A", "B"), "A", "B"), "A B should not be active"),
        (lambda: assert_no_err_now(erred()), r"no error is expected now, it has OSError\('no route'\)"),
        (lambda: assert_no_err_ever(erred()), "Exception ticked 1 times, last with OSError"),
        (lambda: assert_err(abc()), "an error is expected, the last one was None"),
        (lambda: assert_err(erred(), ValueError), r"ValueError is expected, it is OSError\('no route'\)"),
    ],
)
def test_what_does_not_hold_fails_and_tells(check: Callable[[], Any], text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        check()


@pytest.mark.parametrize("check", [assert_is, assert_not])
def test_a_misspelt_state_never_passes(check: Callable[..., None]) -> None:
    with pytest.raises(am.StateMissing, match=r"'Goo'.*'Go'"):
        check(abc(), "Goo")


def test_an_error_that_is_over_was_one() -> None:
    over = erred()
    over.remove("Exception")
    with pytest.raises(AssertionError, match="ticked 2 times"):
        assert_no_err_ever(over)


@pytest.mark.parametrize("check", [assert_no_err_queued, assert_no_err_ever])
def test_an_error_that_waits_in_the_queue_is_seen(check: Callable[[am.Machine[str]], None]) -> None:
    machine, failures = abc(), list[AssertionError]()

    @machine.on.state("Go")
    def go(e: am.Event) -> None:
        check(machine)
        machine.add_err(OSError("no route"))
        try:
            check(machine)
        except AssertionError as failure:
            failures.append(failure)

    machine.add("Go")
    assert "an error waits in the queue" in str(failures[0])
