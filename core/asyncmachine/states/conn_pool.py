"""Many connections behind one machine."""

from __future__ import annotations

from asyncmachine.machine.schema import StatesDef, group, state


class ConnPool(StatesDef):
    """`Connected` while at least one connection is up, `ConnectedFully` while all are. Needs `Start`.

    Unlike with `Connected`, phases overlap: a pool that is connected may be connecting more.
    """

    ErrConnecting = state(require="Exception")
    Connecting = state(require="Start", remove="Disconnecting")
    Connected = state(require="Start", remove="Disconnected")
    ConnectedFully = state(require=Connected, remove="Disconnected")
    Disconnecting = state(remove=(ConnectedFully, Connected, Connecting))
    Disconnected = state(remove=(Connecting, ConnectedFully, Disconnecting))

    Connection = group(Connected, Disconnected)
