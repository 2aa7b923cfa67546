import asyncmachine as am
from asyncmachine.states import Basic, Connected, ConnectingError, add_err_connecting


class Client(Connected, Basic):
    pass


def test_the_states_and_their_order() -> None:
    assert Connected.names == (
        "Exception",
        "ErrConnecting",
        "Connecting",
        "Connected",
        "Disconnecting",
        "Disconnected",
    )
    assert Connected.groups["Connection"] == ("Connecting", "Connected", "Disconnecting", "Disconnected")


def test_one_phase_at_a_time_and_disconnected_is_where_it_rests() -> None:
    machine = am.Machine(Client)
    machine.add(Client.Start)
    assert machine.switch(Client.Connection) == "Disconnected"
    for phase in (Client.Connecting, Client.Connected, Client.Disconnecting, Client.Disconnected):
        assert machine.add(phase).executed
        assert machine.active_states(Client.Connection) == (phase,)
    machine.add(Client.Connected)
    machine.remove(Client.Connected)
    assert machine.switch(Client.Connection) == "Disconnected"


def test_without_start_there_is_no_connection() -> None:
    machine = am.Machine(Client)
    assert machine.add(Client.Connecting).canceled
    machine.add(Client.Start)
    machine.add(Client.Connected)
    machine.remove(Client.Start)
    assert machine.active_states() == ("Disconnected",)


def test_the_reason_of_a_failed_connection_is_kept() -> None:
    machine = am.Machine(Client)
    reason = OSError("no route")
    assert add_err_connecting(machine, reason, {"try": 2}).executed
    assert machine.is_(Client.ErrConnecting, Client.Exception)
    assert isinstance(machine.err, ConnectingError)
    assert machine.err.__cause__ is reason
    assert str(machine.err) == "error connecting: no route"


def test_no_reason_is_no_error() -> None:
    machine = am.Machine(Client)
    assert add_err_connecting(machine, None).executed
    assert not machine.is_err() and machine.err is None
