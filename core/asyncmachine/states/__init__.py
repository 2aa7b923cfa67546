"""Schemas to inherit from. Each is small and named after what it gives a machine.

::

    class Download(am.states.Connected, am.states.Disposed, am.states.Basic):
        Downloading = am.state(require=am.states.Basic.Start)

`Basic` is for nearly every machine, `Connected` for one that holds a connection, `Disposed` with `DisposedHandlers` for
one that has to clean up before it goes.
"""

from asyncmachine.states.basic import Basic
from asyncmachine.states.connected import Connected, ConnectingError, add_err_connecting
from asyncmachine.states.disposed import DISPOSAL, DisposalCallback, Disposed, DisposedHandlers

__all__ = [
    "DISPOSAL",
    "Basic",
    "Connected",
    "ConnectingError",
    "DisposalCallback",
    "Disposed",
    "DisposedHandlers",
    "add_err_connecting",
]
