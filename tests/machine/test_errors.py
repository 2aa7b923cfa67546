"""Errors as states: `add_err`, detailed error states, `catch`, and what becomes of errors nobody expected."""

from __future__ import annotations

import asyncio

import pytest

import asyncmachine as am
from tests.machine.recording import RawSchema, Recorder

LOST: RawSchema = {"A": {}, "ErrLost": {"require": "Exception"}}


class Lost(am.AmError):
    state = "ErrLost"


def test_an_error_activates_exception_and_is_kept() -> None:
    machine = am.Machine({"A": {}})
    assert (machine.is_err(), machine.err) == (False, None)
    error = OSError("gone")
    assert machine.add_err(error).executed
    assert (machine.is_err(), machine.err) == (True, error)
    assert machine.remove("Exception").executed
    assert (machine.is_err(), machine.err) == (False, error), "the last error stays known"


def test_handlers_receive_the_error_with_its_stack() -> None:
    events: list[am.Event] = []
    machine = am.Machine({"A": {}}, {"ExceptionState": events.append})
    with pytest.raises(OSError, match="gone") as caught:
        raise OSError("gone")
    machine.add_err(caught.value, {"id": 1})
    args = events[0].args(am.ErrorArgs)
    assert args.err is caught.value
    assert "test_handlers_receive_the_error_with_its_stack" in args.trace
    assert (args.handler, args.called, args.before) == ("", (), ())
    assert events[0].raw_args["id"] == 1


def test_the_error_wins_over_an_argument_with_its_key() -> None:
    events: list[am.Event] = []
    machine = am.Machine({"A": {}}, {"ExceptionState": events.append})
    error = OSError()
    machine.add_err(error, am.ErrorArgs(err=ValueError()))
    assert events[0].args(am.ErrorArgs).err is error


def test_each_error_counts() -> None:
    machine = am.Machine({"A": {}})
    for _ in range(3):
        machine.add_err(OSError())
    assert machine.tick("Exception") == 5


def test_being_cancelled_is_no_error() -> None:
    machine = am.Machine({"A": {}})
    assert machine.add_err(asyncio.CancelledError()).canceled
    assert not machine.is_err() and machine.err is None
    wrapped = OSError()
    wrapped.__cause__ = asyncio.CancelledError()
    assert machine.add_err(wrapped).executed


def test_an_error_is_traced_to_the_event_it_came_from() -> None:
    sources: list[am.MutationSource | None] = []
    machine = am.Machine(
        {"A": {}},
        {
            "AState": lambda e: e.machine.add_err(OSError(), e=e),
            "ExceptionState": lambda e: sources.append(e.mutation.source),
        },
        id="m",
    )
    machine.add("A")
    assert sources[0] is not None and sources[0].machine_id == "m"


# Detailed states


def test_a_state_can_be_given_with_the_error() -> None:
    machine = am.Machine(LOST)
    recorder = Recorder()
    machine.trace(recorder)
    assert machine.add_err(OSError(), state="ErrLost").executed
    assert machine.is_("ErrLost", "Exception")
    assert recorder.ended[0].called == ("ErrLost", "Exception")


def test_an_errors_class_can_name_its_state() -> None:
    machine = am.Machine(LOST)
    machine.add_err(Lost())
    assert machine.is_("ErrLost", "Exception")


def test_the_given_state_goes_over_that_of_the_class() -> None:
    machine = am.Machine({**LOST, "ErrOther": {}})
    machine.add_err(Lost(), state="ErrOther")
    assert machine.is_("ErrOther", "Exception") and machine.not_("ErrLost")


def test_a_class_that_names_a_state_elsewhere_adds_exception_alone() -> None:
    machine = am.Machine({"A": {}})
    assert machine.add_err(Lost()).executed
    assert machine.active_states() == ("Exception",)


@pytest.mark.parametrize("odd", [3, ["ErrLost"], None, "Exception"])
def test_something_else_called_state_on_an_error_is_ignored(odd: object) -> None:
    class Odd(Exception):
        state = odd

    machine = am.Machine(LOST, {"AState": lambda e: (_ for _ in ()).throw(Odd())})
    assert machine.add_err(Odd()).executed
    machine.set([])
    machine.add("A")
    assert machine.active_states() == ("Exception",)


def test_an_unknown_state_given_with_an_error_is_a_mistake_and_changes_nothing() -> None:
    machine = am.Machine(LOST)
    with pytest.raises(am.StateMissing, match="did you mean 'ErrLost'"):
        machine.add_err(OSError(), state="ErrLots")
    assert machine.err is None and not machine.is_err()


@pytest.mark.parametrize("handlers", [None, {"AState": lambda e: None}])
def test_a_detailed_state_that_relations_refuse_still_leaves_exception(
    handlers: dict[str, object] | None, caplog: pytest.LogCaptureFixture
) -> None:
    machine = am.Machine({**LOST, "ErrLost": {"require": "A"}}, handlers)
    recorder = Recorder()
    error = OSError()
    for tracers in ([], [recorder]):
        for tracer in tracers:
            machine.trace(tracer)
        assert machine.add_err(error, state="ErrLost").canceled
        assert machine.is_err() and machine.err is error
        machine.remove("Exception")
    assert [tx.called for tx in recorder.ended] == [("ErrLost", "Exception"), ("Exception",), ("Exception",)]
    assert "was rejected, adding Exception alone" in caplog.text


def test_a_detailed_state_refused_inside_of_a_drain_still_leaves_exception() -> None:
    order: list[str] = []

    def a_state(e: am.Event) -> None:
        e.machine.add_err(OSError(), state="ErrNever")
        e.add("B")

    machine = am.Machine(
        {"A": {}, "B": {}, "C": {}, "ErrNever": {"require": "C"}},
        {"AState": a_state, "BState": lambda e: order.append("B"), "ExceptionState": lambda e: order.append("E")},
    )
    machine.add("A")
    assert order == ["E", "B"]


def test_a_handler_may_veto_an_error_which_is_then_only_kept() -> None:
    machine = am.Machine(LOST, {"ErrLostEnter": lambda e: False})
    error = Lost()
    assert machine.add_err(error).canceled
    assert not machine.is_err() and machine.err is error


# Nobody listens


def raises(e: am.Event) -> None:
    raise Lost("in the woods")


async def raises_later(e: am.Event) -> None:
    await asyncio.sleep(0)
    raise Lost("in the woods")


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The messages of errors, each of which has its traceback."""
    found = [record for record in caplog.records if record.levelname == "ERROR"]
    assert all(record.exc_info and record.exc_info[2] for record in found)
    return [record.getMessage() for record in found]


def test_what_a_handler_raises_is_logged_if_nothing_handles_it(caplog: pytest.LogCaptureFixture) -> None:
    machine = am.Machine({"A": {}, "B": {"multi": True}}, {"AState": raises, "BState": print}, id="m")
    machine.add(["A", "B"])
    assert told(caplog) == ["m: AState raised, and nothing handles Exception"]
    assert "in the woods" in caplog.text and "in raises" in caplog.text


async def test_so_is_what_a_task_raises(caplog: pytest.LogCaptureFixture) -> None:
    machine = am.Machine({"A": {}}, {"AState": raises_later}, id="m")
    machine.add("A")
    await machine.when("Exception")
    assert told(caplog) == ["m: AState raised, and nothing handles Exception"]


@pytest.mark.parametrize("state", ["Exception", "ErrLost"])
def test_who_handles_the_error_or_its_state_hears_of_it_and_the_log_does_not(
    state: str, caplog: pytest.LogCaptureFixture
) -> None:
    machine = am.Machine(LOST, {"AState": raises})
    heard: list[am.Event] = []
    machine.bind({f"{state}State": heard.append})
    machine.add("A")
    assert len(heard) == 1 and told(caplog) == []


def test_nor_does_it_if_on_error_or_the_machines_own_log_shows_it(caplog: pytest.LogCaptureFixture) -> None:
    machine = am.Machine({"A": {}}, {"AState": raises})
    errors: list[BaseException] = []
    listening = machine.on_error(lambda _, error: errors.append(error))
    machine.add("A")
    machine.untrace(listening)
    lines: list[str] = []
    machine.log.simple(lines.append, am.LogLevel.CHANGES)
    machine.add("A")
    assert len(errors) == 1 and any("in the woods" in line for line in lines)
    assert told(caplog) == []


# Blocks


def test_catch_turns_what_a_block_raises_into_an_error() -> None:
    machine = am.Machine(LOST)
    with machine.catch("ErrLost"):
        raise OSError("gone")
    assert machine.is_("ErrLost", "Exception")
    assert str(machine.err) == "gone"
    with machine.catch():
        calls = 1
    assert calls == 1
    assert machine.tick("Exception") == 1


def test_catch_lets_interrupts_through() -> None:
    machine = am.Machine(LOST)
    with pytest.raises(KeyboardInterrupt), machine.catch():
        raise KeyboardInterrupt
    assert not machine.is_err()


# The family


def test_all_errors_are_one_family() -> None:
    family = [
        am.SchemaError, am.StateMissing, am.InvalidArgs, am.HandlerError, am.QueryFailed, am.Disposed, am.ScopeEnded,
        am.WaitCanceled, am.WaitTimeout, am.PendingResult, am.EndlessChain, am.HandlerTimeout,
    ]  # fmt: skip
    assert all(issubclass(error, am.AmError) for error in family)
    assert issubclass(am.WaitTimeout, TimeoutError)


def test_missing_states_are_all_named_with_the_nearest_ones() -> None:
    error = am.StateMissing(["Strat", "Xyz"], "m", ["Start", "Ready"])
    assert error.names == ("Strat", "Xyz")
    assert str(error) == "states 'Strat' (did you mean 'Start'?), 'Xyz' are not defined in the schema of 'm'"


def test_a_missing_state_of_a_machine_without_an_id_is_told_without_a_random_one() -> None:
    with pytest.raises(am.StateMissing) as caught:
        am.Machine({"Ready": {}}).add("Redy")
    assert str(caught.value) == (
        "state 'Redy' (did you mean 'Ready'?) is not defined in the schema of a machine that has no id"
    )
