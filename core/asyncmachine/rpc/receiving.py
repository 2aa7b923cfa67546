"""Payloads in the client's half of a session: each is told of, and a large one is put together from its parts."""

from __future__ import annotations

from asyncmachine.rpc import events as e
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.chunks import Partial
from asyncmachine.rpc.errors import PeerFault
from asyncmachine.rpc.features import CHUNKS
from asyncmachine.rpc.limits import clipped
from asyncmachine.rpc.session import Session
from asyncmachine.rpc.transport import MAX_FRAME


class ReceivingSession(Session):
    """What `asking` adds the calls to. `partial` is what has come of the large payload that is under way."""

    __slots__ = ("_lender", "partial")

    partial: Partial | None
    # Whoever has what has come of a payload: until WELCOME the earlier connection may still work, and get more.
    _lender: ReceivingSession | None

    # What the shell says

    @property
    def arriving(self) -> Partial | None:
        """The large payload that is under way, in this connection or, until it is welcomed, in the one before."""
        return self.partial if self._lender is None else self._lender.partial

    def want(self, payload: m.Payload) -> None:
        """Asks for the data of a large payload, or for what is still missing of them."""
        self._phase_after(m.PayloadAck)
        if self.partial is None or not self.partial.is_of(payload):
            self.partial = Partial(payload)
        self._tell_received(self.partial)

    def ack(self, token: bytes) -> None:
        """Tells the server that the consumer has taken a payload."""
        self._send(m.PayloadAck(token))

    def nack(self, token: bytes, code: str, message: str = "") -> None:
        """Tells the server that a payload will not be taken."""
        self._send(m.PayloadNack(token, clipped(code, m.NAME), clipped(message)))

    def _under_way(self) -> int:
        return super()._under_way() + (MAX_FRAME if self.arriving is not None else 0)

    # For the client's session

    def _go_on(self) -> None:
        """The session is ready: what is missing of a payload is asked for."""
        if self.partial is not None and CHUNKS in self.features:
            self._tell_received(self.partial)

    def _take_back(self) -> None:
        """The session is welcomed, and the earlier connection gets no more."""
        if self._lender is not None:
            self.partial, self._lender.partial, self._lender = self._lender.partial, None, None

    def _drop_partial(self) -> None:
        self.partial = self._lender = None

    def _arrived(self) -> None:
        """Called when no large payload is under way any more."""

    def _uses(self, feature: str) -> None:
        if feature not in self.features:
            raise PeerFault(f"the server uses {feature!r}, agreed is {self.features}")

    def _tell_received(self, partial: Partial) -> None:
        self._send(m.PayloadAck(partial.payload.token, consumed=False, received=partial.tells()))

    # Reactions

    def _on_payload(self, payload: m.Payload, now: float) -> list[e.Event]:
        if payload.size:
            self._uses(CHUNKS)
            if payload.data is not None:
                raise PeerFault("a payload has its data, and announces them")
        if payload.size and self.partial is not None and not self.partial.is_of(payload):
            self._no_more()  # the server has begun another one, so this one was given up
        self.counters.payloads += 1
        return [e.PayloadReceived(payload)]

    def _on_chunk(self, chunk: m.Chunk, now: float) -> list[e.Event]:
        self._uses(CHUNKS)
        partial = self.partial
        if partial is None or partial.payload.token != chunk.token:
            return []  # of one that was refused meanwhile
        partial.check(chunk)
        self.counters.chunks += 1
        if partial.take(chunk):
            self._no_more()
            return [e.PayloadComplete(partial.payload, partial.data, partial.is_intact(chunk.sha256))]
        if partial.is_due:
            self._tell_received(partial)
        return []

    def _on_withdrawn(self, withdrawn: m.PayloadWithdrawn, now: float) -> list[e.Event]:
        self._uses(CHUNKS)
        if self.partial is not None and self.partial.payload.token == withdrawn.token:
            self._no_more()
        return [e.PayloadLost(withdrawn.token)]

    def _no_more(self) -> None:
        self.partial = None
        self._arrived()
