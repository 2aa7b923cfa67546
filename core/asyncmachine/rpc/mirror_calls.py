"""What a mirror asks of its client: to carry mutations, questions and waits to the source (`caller`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from asyncmachine.machine.machine import Machine
from asyncmachine.machine.mutation import Kind, MutationSource
from asyncmachine.machine.result import Result
from asyncmachine.rpc import events as e
from asyncmachine.rpc.calling import Calling
from asyncmachine.rpc.calls import MAX_CALLS
from asyncmachine.rpc.connections import Connections
from asyncmachine.rpc.netmach import NetworkMachine
from asyncmachine.rpc.own_loop import OwnLoop
from asyncmachine.rpc.questions import Questions
from asyncmachine.rpc.reacting import Reacting
from asyncmachine.rpc.states import ClientStates
from asyncmachine.rpc.transport import MAX_FRAME
from asyncmachine.rpc.values import pack_args
from asyncmachine.rpc.watching import Watch, Watching


class MirrorCalls:
    """What `client` adds a life to. All may be called from any thread."""

    __slots__ = ()

    machine: Machine[ClientStates]
    netmach: NetworkMachine[Any]
    _calling: Calling
    _connections: Connections
    _in_loop: Callable[..., None]
    _loop: OwnLoop
    _reacting: Reacting
    _watching: Watching

    @property
    def room(self) -> int:
        """How many calls may wait for their answers at once: fewer where the server says so."""
        session = self._connections.session
        return MAX_CALLS if session is None else session.calls.limit

    @property
    def is_full(self) -> bool:
        """Whether as much waits to be sent to the source as may."""
        connection = self._connections.connection
        frames, size = (0, 0) if connection is None else connection.unsent
        return frames >= MAX_CALLS or size >= MAX_FRAME

    def call(
        self,
        kind: Kind,
        states: tuple[str, ...],
        args: Mapping[str, Any],
        source: MutationSource | None,
        within: float | None = None,
    ) -> Result:
        """Sends a mutation to the source. Raises `Unsendable`; whatever goes wrong later fails the result.

        It fails with `CallTimedOut` if there is no answer `within` so many seconds (60 by default).
        """
        return self._calling.call(kind, states, args, source, within)

    def notify(self, states: tuple[str, ...], args: Mapping[str, Any], source: MutationSource | None) -> Result:
        """Asks the source to add states, and for no answer."""
        return self._calling.notify(states, args, source)

    def sync(self) -> Result:
        """Asks the source for its whole clock. The mirror is right without it: gaps are noticed and mended."""
        return self._calling.sync()

    def can(self, kind: e.CanKind, states: tuple[str, ...], args: Mapping[str, Any]) -> Result:
        """Asks the source whether it would accept a mutation. Raises `Unsendable`."""
        return self._asking().can(kind, states, pack_args(args))

    async def arg_names(self) -> tuple[str, ...]:
        """`State.argument` for each typed argument of the states that are followed, as the source's process knows them.

        Raises `NotConnected`, and `Misuse` if the server is too old to be asked.
        """
        return await self._asking().arg_names()

    def _asking(self) -> Questions:
        found = self._reacting.questions
        if found is None:
            ready, places, failed = self._connections.ready_link, self._calling.places_of, self.machine.add_err
            found = self._reacting.questions = Questions(ready, self._loop.get, self._in_loop, places, failed)
        return found

    def watch(self, watch: Watch) -> None:
        """Ends a wait when a state of the source is called with certain arguments."""
        self._watching.watch(watch)

    def handler_failed(self, error: Exception) -> None:
        """A handler of the mirror raised: the source is told."""
        self.netmach.add_err(error)
