"""What a client does with the events of its sessions: they become clocks, results and states."""

from __future__ import annotations

from asyncmachine.machine.machine import Machine
from asyncmachine.rpc import events as e
from asyncmachine.rpc.calling import Calling, Link
from asyncmachine.rpc.connecting import Connecting
from asyncmachine.rpc.connections import Connections
from asyncmachine.rpc.consuming import Consuming
from asyncmachine.rpc.errors import Rejected
from asyncmachine.rpc.mirror_sync import MirrorSync
from asyncmachine.rpc.questions import Questions
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.watching import Watching


class Reacting:
    """Hands each event to the part of the client that it is for. Most clients never ask any `questions`."""

    __slots__ = (
        "_calling",
        "_connecting",
        "_connections",
        "_consuming",
        "_machine",
        "_mirror_sync",
        "_watching",
        "questions",
    )

    def __init__(
        self,
        machine: Machine[C],
        connecting: Connecting,
        connections: Connections,
        mirror_sync: MirrorSync,
        calling: Calling,
        watching: Watching,
        consuming: Consuming,
    ) -> None:
        self._machine = machine
        self._connecting = connecting
        self._connections = connections
        self._mirror_sync = mirror_sync
        self._calling = calling
        self._watching = watching
        self._consuming = consuming
        self.questions: Questions | None = None

    def react(self, connection: Link, event: e.Event) -> None:
        """To an event of the connection there is, or of the one that is to take its place.

        Of one that was left calls count still, and while it is parting the clock that their answers have led to.
        """
        if self._calling.settle(connection, event):
            return
        if connection is self._connections.connection:
            self._react(connection, event)
        elif connection is self._connections.next:
            self._react_to_next(connection, event)
        elif connection is self._connections.parting and isinstance(event, e.ClockChanged | e.SourceGrew):
            self._show(event)

    def _show(self, event: e.ClockChanged | e.SourceGrew) -> None:
        if isinstance(event, e.ClockChanged):
            self._mirror_sync.show(event)
        else:
            self._mirror_sync.grew(event)

    def _react(self, connection: Link, event: e.Event) -> None:
        match event:
            case e.ClockChanged() | e.SourceGrew():
                self._show(event)
            case e.QuestionAnswered() if self.questions is not None:
                self.questions.answered(event.reply)
            case e.Fired():
                self._watching.fired(connection, event)
            case e.PayloadReceived():
                self._consuming.take(event.payload)
            case e.PayloadComplete():
                self._consuming.complete(event)
            case e.PayloadLost():
                self._consuming.lost(event)
            case e.WelcomeReceived():
                self._welcomed(connection, event)
            case e.UpstreamTold(away=True):
                self._machine.add(C.SourceAway)
            case e.UpstreamTold():
                self._machine.remove(C.SourceAway)
            case _:
                self._react_to_end(event)

    def _react_to_end(self, event: e.Event) -> None:
        """To what ends the connection, or will."""
        match event:
            case e.RejectReceived():
                self._rejected(event)
            case e.GoAwayReceived():
                self._connections.move(self._machine, event.within)
            case e.ByeReceived() if not event.reconnect:
                self._machine.remove(C.Start)
            case e.SessionFailed():
                self._machine.add_err(event.error)

    def _react_to_next(self, connection: Link, event: e.Event) -> None:
        """To the connection that is to take the place of the one there is. What else goes wrong with it ends it."""
        match event:
            case e.WelcomeReceived():
                held = self._connections.take_over()
                self._welcomed(connection, event)
                for outcome in held:
                    self._calling.settle(connection, outcome)
                self._calling.moved()
            case e.RejectReceived():
                self._connections.refused(event.retry_after)

    def _welcomed(self, connection: Link, event: e.WelcomeReceived) -> None:
        with self._calling.held():  # what handlers of the mirror call for the welcome's clock goes out behind READY
            self._mirror_sync.welcomed(event)
            connection.session.ready(connection.now, self._watching.open())
        self._calling.arrived(connection.session)
        if self.questions is not None:
            self.questions.resume()
        if event.welcome.away:
            self._machine.add((C.HandshakeDone, C.SourceAway))
        else:
            self._machine.remove(C.SourceAway)
            self._machine.add(C.HandshakeDone)

    def _rejected(self, event: e.RejectReceived) -> None:
        self._machine.add_err(Rejected(event.code, event.message, event.retry_after))
        if event.retry_after is None:
            self._machine.add(C.ConnRetryFailed)
        else:
            self._connecting.pause = event.retry_after
