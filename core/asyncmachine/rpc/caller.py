"""What a mirror needs of whoever connects it with its source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from asyncmachine.machine.mutation import Kind, MutationSource
from asyncmachine.machine.result import Result
from asyncmachine.machine.view import View
from asyncmachine.rpc.events import CanKind
from asyncmachine.rpc.watching import Watch


class Caller(Protocol):
    """Who carries mutations to the source."""

    @property
    def machine(self) -> View[Any]:
        """Tells whether there is a connection, in `ClientStates`."""

    @property
    def room(self) -> int:
        """How many calls may wait for their answers at once."""

    @property
    def is_full(self) -> bool:
        """Whether as much waits to be sent as may."""

    def call(
        self,
        kind: Kind,
        states: tuple[str, ...],
        args: Mapping[str, Any],
        source: MutationSource | None,
        within: float | None = None,
    ) -> Result:
        """Sends a mutation; the result is pending. It fails if there is no answer `within` so many seconds."""

    def notify(self, states: tuple[str, ...], args: Mapping[str, Any], source: MutationSource | None) -> Result:
        """Sends the adding of states; nothing comes back."""

    def can(self, kind: CanKind, states: tuple[str, ...], args: Mapping[str, Any]) -> Result:
        """Asks the source whether it would accept a mutation; the result is pending."""

    def watch(self, watch: Watch) -> None:
        """Ends a wait when the source says that a state was called with certain arguments."""

    def handler_failed(self, error: Exception) -> None:
        """A handler or a tracer of the mirror raised."""
