import pytest

import asyncmachine as am
from asyncmachine.states import Basic, NetworkError


def test_the_states_and_their_order() -> None:
    assert Basic.names == (
        "Exception",
        "ErrNetwork",
        "ErrHandlerTimeout",
        "Start",
        "Ready",
        "Healthcheck",
        "Heartbeat",
    )
    multi = [name for name in Basic.names if Basic.schema[name].multi]
    assert multi == ["Exception", "ErrNetwork", "ErrHandlerTimeout", "Healthcheck"]


def test_ready_needs_start_and_goes_with_it() -> None:
    machine = am.Machine(Basic)
    assert machine.add(Basic.Ready).canceled
    machine.add(Basic.Start)
    assert machine.add(Basic.Ready).executed
    machine.remove(Basic.Start)
    assert machine.active_states() == ()


@pytest.mark.parametrize("name", [Basic.ErrNetwork, Basic.ErrHandlerTimeout])
def test_errors_come_with_exception_and_go_with_it(name: Basic) -> None:
    machine = am.Machine(Basic)
    machine.add(name)
    assert machine.is_(name, Basic.Exception)
    machine.remove(Basic.Exception)
    assert machine.active_states() == ()


def test_signs_of_life_leave_auto_states_alone() -> None:
    class Auto(Basic):
        Eager = am.state(auto=True)

    machine = am.Machine(Auto)
    machine.add(Auto.Healthcheck)
    machine.add(Auto.Heartbeat)
    assert Auto.Eager not in machine
    machine.add(Auto.Start)
    assert Auto.Eager in machine


def test_an_error_names_its_state() -> None:
    machine = am.Machine(Basic)
    machine.add_err(NetworkError("no route"))
    assert machine.is_(Basic.ErrNetwork, Basic.Exception)


def test_a_state_of_a_mixin_can_be_extended() -> None:
    class Online(Basic):
        Net = am.state()
        Ready = am.state.extending(Basic.schema["Ready"], require=Net, auto=True)

    assert Online.schema["Ready"] == am.State(auto=True, require=("Start", "Net"))
    assert Online.names.index("Ready") == Basic.names.index("Ready")
    machine = am.Machine(Online)
    machine.add(Online.Start)
    assert Online.Ready not in machine
    machine.add(Online.Net)
    assert Online.Ready in machine
