import asyncmachine as am
from asyncmachine.states import Basic, ConnPool


class Pool(ConnPool, Basic):
    pass


def test_the_states_and_their_order() -> None:
    assert ConnPool.names == (
        "Exception",
        "ErrConnecting",
        "Connecting",
        "Connected",
        "ConnectedFully",
        "Disconnecting",
        "Disconnected",
    )
    assert ConnPool.groups["Connection"] == ("Connected", "Disconnected")


def test_connecting_more_while_connected() -> None:
    machine = am.Machine(Pool)
    assert machine.add(Pool.Connecting).canceled, "nothing connects before Start"
    machine.add([Pool.Start, Pool.Connecting])
    machine.add(Pool.Connected)
    machine.add(Pool.Connecting)
    assert machine.is_(Pool.Connecting, Pool.Connected)
    assert machine.switch(Pool.Connection) == "Connected"
    assert machine.add(Pool.ConnectedFully).executed


def test_fully_needs_connected_and_goes_with_it() -> None:
    machine = am.Machine(Pool)
    machine.add(Pool.Start)
    assert machine.add(Pool.ConnectedFully).canceled
    machine.add([Pool.Connected, Pool.ConnectedFully])
    machine.remove(Pool.Connected)
    assert machine.active_states() == ("Start",)


def test_disconnecting_ends_it_all_and_disconnected_ends_that() -> None:
    machine = am.Machine(Pool)
    machine.add([Pool.Start, Pool.Connecting, Pool.Connected, Pool.ConnectedFully])
    machine.add(Pool.Disconnecting)
    assert set(machine.active_states()) == {"Start", "Disconnecting"}
    machine.add(Pool.Disconnected)
    assert set(machine.active_states()) == {"Start", "Disconnected"}


def test_without_start_nothing_is_connected() -> None:
    machine = am.Machine(Pool)
    machine.add([Pool.Start, Pool.Connecting, Pool.Connected, Pool.ConnectedFully])
    machine.remove(Pool.Start)
    assert machine.active_states() == ()
