"""What a session tells its shell, in the order it happened: one record for each thing to do."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from asyncmachine.rpc.clock import Clock
from asyncmachine.rpc.errors import RpcError
from asyncmachine.rpc.messages import Hello, Payload, Reply, Source, Step, Welcome
from asyncmachine.rpc.requests import Answer

MutationKind = Literal["add", "remove", "set"]
CanKind = Literal["add", "remove"]


class Event(Struct, frozen=True):
    """Base of all events."""


class HelloReceived(Event, frozen=True):
    """Server: a client introduces itself. Answer with `welcome` or `reject`."""

    hello: Hello


class WelcomeReceived(Event, frozen=True):
    """Client: the server took us in. Install the names and the clock, then send `ready`."""

    welcome: Welcome
    clock: Clock


class RejectReceived(Event, frozen=True):
    """Client: the server refused us, and closes. Without `retry_after` (seconds) it would do so again."""

    code: str
    message: str
    retry_after: float | None


class Established(Event, frozen=True):
    """Server: the client has applied the welcome. Calls may come and pushes may go from now on."""


class MutationRequested(Event, frozen=True):
    """Server: run a mutation of the states at these positions, then answer with `reply` or `refuse`.

    Not if it `expires` (a time of the session) before. One that is not to be `answered` is told of with `done`. Its
    message has `size` bytes.
    """

    id: int
    kind: MutationKind
    states: tuple[int, ...]
    args: dict[str | int, Any] | None
    source: Source | None
    expires: float | None = None
    trace: bytes = b""
    answered: bool = True
    size: int = 0


class AnswerRequested(Event, frozen=True):
    """Server: a call came once more. It has been run: answer it again, as it was answered before."""

    id: int
    answer: Answer


class SyncRequested(Event, frozen=True):
    """Server: answer with `full`."""

    id: int


class ArgsRequested(Event, frozen=True):
    """Server: answer with the names of typed arguments."""

    id: int


class CanRequested(Event, frozen=True):
    """Server: answer whether the states at these positions could be added or removed. Its frame had `size` bytes."""

    id: int
    kind: CanKind
    states: tuple[int, ...]
    args: dict[str | int, Any] | None
    size: int = 0


class QuestionAnswered(Event, frozen=True):
    """Client: the answer to a question has come."""

    reply: Reply


class WatchRequested(Event, frozen=True):
    """Server: tell with `fired` when the state at this position is called with these arguments.

    The message had so many bytes.
    """

    token: int
    state: int
    args: dict[str | int, Any] | None
    size: int


class WatchEnded(Event, frozen=True):
    """Server: nobody waits for this any more."""

    token: int


class Fired(Event, frozen=True):
    """Client: what was watched for has happened, or (with a `code`) will not be told."""

    token: int
    code: str
    message: str


class PayloadWanted(Event, frozen=True):
    """Server: the client has so many bytes of a large payload, and wants the others: they go out by `chunk`.

    If that payload will not come any more, answer with `withdraw`.
    """

    token: bytes
    received: int


class PayloadSettled(Event, frozen=True):
    """Server: the client has consumed a payload, or refuses it for good with `code` and `message`."""

    token: bytes
    accepted: bool
    code: str = ""
    message: str = ""


class ClockChanged(Event, frozen=True):
    """Client: the source's clock as the messages so far tell it. Show it before anything that follows.

    `step` is the transition that led to it, for a client that wants to see each.
    """

    clock: Clock
    step: Step | None = None


class SourceGrew(Event, frozen=True):
    """Client: the session has more states, at the end of the list of `names`. Show the clock before what follows.

    `schema` tells what is new, to those who have asked for it.
    """

    names: tuple[str, ...]
    schema: dict[str, dict[str, Any]] | None
    clock: Clock


class UpstreamTold(Event, frozen=True):
    """Client: the source is a mirror that is `away` from its own source, or back."""

    away: bool


class Replied(Event, frozen=True):
    """Client: a mutation ran to its end. Why it was canceled is in `reason`, if the source tells."""

    id: int
    executed: bool
    reason: str = ""


class CallFailed(Event, frozen=True):
    """Client: a call has no outcome. The error says what is known."""

    id: int
    error: RpcError


class CallsRepeated(Event, frozen=True):
    """Client: so many calls were sent again, since no answers have come."""

    count: int


class CallsArrived(Event, frozen=True):
    """Client: the last calls that were open have arrived, and nobody waits for an outcome of them."""


class Synced(Event, frozen=True):
    """Client: the clock that was asked for is here."""

    id: int


class PayloadReceived(Event, frozen=True):
    """Client: data for the consumer. Answer with `ack` or `nack` once its fate is known.

    With a `size` they have not come yet: answer with `want` to have them, or with `nack`.
    """

    payload: Payload


class PayloadComplete(Event, frozen=True):
    """Client: all `data` (MessagePack) of a large payload have come. Answer with `ack` or `nack`.

    If they are not `intact` something has changed them on their way.
    """

    payload: Payload
    data: bytearray
    intact: bool


class PayloadLost(Event, frozen=True):
    """Client: a large payload that was under way will not come any more."""

    token: bytes


class ByeReceived(Event, frozen=True):
    """The peer leaves on purpose. Without `reconnect` it does not want to be called again."""

    reason: str
    reconnect: bool


class GoAwayReceived(Event, frozen=True):
    """The connection ends `within` so many seconds. A client makes another one, and continues the session there."""

    within: float
    reason: str


class SessionFailed(Event, frozen=True):
    """It cannot go on: the peer is silent, does not finish the handshake, or says so. Close the transport."""

    error: Exception
