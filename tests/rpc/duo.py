"""Two sessions that talk to each other without anything in between."""

from __future__ import annotations

from dataclasses import dataclass, field

from asyncmachine.rpc import events as e
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.answering import ServerSession
from asyncmachine.rpc.asking import ClientSession
from asyncmachine.rpc.clock import Clock
from asyncmachine.rpc.codec import decode
from asyncmachine.rpc.features import KNOWN
from asyncmachine.rpc.legality import Phase
from asyncmachine.rpc.session import Session

HELLO = m.Hello("amrpc", (1, 1), "rc-x", features=KNOWN)
SESSION = b"session1"


def welcome(clock: Clock, *, resumed: bool = False, received: int = 0) -> m.Welcome:
    return m.Welcome(
        version=1,
        session=SESSION,
        epoch=7,
        seq=0,
        features=KNOWN,
        limits=None,
        source="source",
        names=tuple(f"S{i}" for i in range(len(clock.ticks))),
        schema=None,
        hash=b"",
        time=clock.ticks,
        queue_tick=clock.queue_tick,
        machine_tick=clock.machine_tick,
        resumed=resumed,
        received=received,
    )


@dataclass
class Duo:
    """A client's and a server's session. `now` is the time of both."""

    first: Clock = field(default_factory=lambda: Clock((0, 0, 0), 1))
    now: float = 0.0
    client: ClientSession = field(init=False)
    server: ServerSession = field(init=False)

    def __post_init__(self) -> None:
        self.client = ClientSession(self.now)
        self.server = ServerSession(self.now)

    def to_server(self) -> list[e.Event]:
        """Carries over what the client has put out."""
        return [event for frame in self.client.outgoing() for event in self.server.receive(frame, self.now)]

    def to_client(self) -> list[e.Event]:
        """Carries over what the server has put out."""
        return [event for frame in self.server.outgoing() for event in self.client.receive(frame, self.now)]

    def advance_to(self, phase: Phase) -> Duo:
        """Goes through the handshake as far as asked."""
        for reached in (Phase.GREETED, Phase.WELCOMED, Phase.READY, Phase.ENDED):
            if self.server.phase is phase:
                break
            self._step(reached)
            assert self.server.phase is self.client.phase is reached
        return self

    def _step(self, reached: Phase) -> None:
        match reached:
            case Phase.GREETED:
                self.client.hello(HELLO)
            case Phase.WELCOMED:
                self.server.welcome(welcome(self.first), self.now)
                self.to_client()
            case Phase.READY:
                self.client.ready(self.now)
            case Phase.ENDED:
                self.client.bye("done")
        self.to_server()


def ready(first: Clock | None = None) -> Duo:
    """A duo after the handshake."""
    return (Duo(first) if first is not None else Duo()).advance_to(Phase.READY)


def sent(session: Session) -> list[m.AnyMessage]:
    """The messages a session has put out."""
    return [decode(frame) for frame in session.outgoing()]


def state_of(session: Session) -> tuple[object, ...]:
    """Everything a session knows, for comparison: an illegal move must not change it."""
    parts: list[object] = [
        session.phase,
        session.id,
        session.features,
        tuple(session._outgoing),
        repr(session.counters),
    ]
    parts += [session._deadline, session.deadline]
    parts += [getattr(session.keepalive, name) for name in ("heard_at", "asked_at", "pings", "rtt")]
    if isinstance(session, ServerSession):
        transfer = session.transfer
        parts += [] if transfer is None else [getattr(transfer, name) for name in type(transfer).__slots__]
        parts += [] if transfer is None else [transfer.parcel.furthest]
        requests, sender = session.requests, session._sender
        parts += [requests.last, tuple(requests._running), tuple(requests._others.items())]
        parts += [] if sender is None else [getattr(sender, name) for name in type(sender).__slots__]
    if isinstance(session, ClientSession):
        parts += [
            repr(session.calls._open),
            session.calls.last,
            session.calls.notifications,
            session.syncs,
            session.epoch,
        ]
        partial = session.partial
        parts += (
            [] if partial is None else [partial.payload, bytes(partial.data), partial._hash.digest(), partial._told]
        )
        following = session._following
        if following is not None:
            receiver = following._receiver
            parts += [tuple(following._held), following.deadline, following.asks]
            parts += [getattr(receiver, name) for name in type(receiver).__slots__]
    return tuple(parts)
