"""Schemas to inherit from. Each is small and named after what it gives a machine.

::

    class Download(am.states.Connected, am.states.Disposed, am.states.Basic):
        Downloading = am.state(require=am.states.Basic.Start)

`Basic` is for nearly every machine, `Connected` for one that holds a connection, `ConnPool` for one that holds many,
`Disposed` with `DisposedHandlers` for one that has to clean up before it goes. To change a state of a mixin, declare it
again: ``Ready = am.state.extending(Basic.schema["Ready"], require=Online)``.
"""

from asyncmachine.states.basic import Basic, NetworkError
from asyncmachine.states.conn_pool import ConnPool
from asyncmachine.states.connected import Connected, ConnectingError, add_err_connecting
from asyncmachine.states.disposed import DISPOSAL, DisposalCallback, Disposed, DisposedHandlers

__all__ = [
    "DISPOSAL",
    "Basic",
    "ConnPool",
    "Connected",
    "ConnectingError",
    "DisposalCallback",
    "Disposed",
    "DisposedHandlers",
    "NetworkError",
    "add_err_connecting",
]
