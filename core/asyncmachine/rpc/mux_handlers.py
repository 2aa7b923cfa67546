"""What the states of a mux do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncmachine.machine.event import Event
from asyncmachine.rpc.states import MuxStates as M

if TYPE_CHECKING:
    from asyncmachine.rpc.mux import Mux


class MuxHandlers:
    """Handlers of `MuxStates`."""

    __slots__ = ("_mux",)

    def __init__(self, mux: Mux) -> None:
        self._mux = mux

    def StartState(self, e: Event) -> None:
        mux = self._mux
        mux._accepting = mux._run(mux._keep_accepting(), f"{e.machine.id}.listen")
        e.scope.adopt(mux._accepting)

    def StartEnd(self, e: Event) -> None:
        self._mux._hang_up()

    def ClientConnectedState(self, e: Event) -> None:
        e.remove(M.ClientConnected)

    def DeliveryErrState(self, e: Event) -> None:
        e.remove(M.DeliveryErr)

    def HasClientsEnter(self, e: Event) -> bool:
        return bool(self._mux._admitted)

    def HasClientsExit(self, e: Event) -> bool:
        return not self._mux._admitted or M.Start not in e.tx.target
