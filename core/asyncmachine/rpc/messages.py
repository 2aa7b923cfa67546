"""Every message of aRPC v1, one record each.

On the wire a message is an array: its kind (the `tag` below), then its fields in this order. Fields at the end that
have their default are left out, and fields this version does not know are skipped, so a later version may append some.

States are numbers: their position in the session's list of names, which WELCOME fixes for both directions. Clock
changes are one flat list ``index, difference, index, difference …``. Queue and machine ticks travel as differences
too, but for WELCOME and FULL, which carry everything. `hash` is the seal of a clock message (see `clock`).
"""

# Annotations are no strings here: each would be compiled when the decoder is made, while a page starts.
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

VERSION = 1
"""The version of the protocol that is spoken here."""

MAGIC: Literal["amrpc"] = "amrpc"

LARGEST_CHUNK = 256 << 10
"""Bytes of data that one CHUNK may have."""

NAME, TEXT = 255, 4096
"""Characters of a name and of a text."""

Count = Annotated[int, Meta(ge=0)]
Name = Annotated[str, Meta(max_length=NAME)]
Id = Annotated[str, Meta(min_length=1, max_length=NAME)]
Text = Annotated[str, Meta(max_length=TEXT)]
Token = Annotated[bytes, Meta(min_length=1, max_length=64)]
Trace = Annotated[bytes, Meta(max_length=25)]
Digest = Annotated[bytes, Meta(max_length=8)]
Feature = Annotated[str, Meta(min_length=1, max_length=32)]
Features = Annotated[tuple[Feature, ...], Meta(max_length=32)]
"""What a side knows beyond the first release (see `features`)."""
Part = Annotated[bytes, Meta(min_length=1, max_length=LARGEST_CHUNK)]
Sha256 = Annotated[bytes, Meta(max_length=32)]
WireArgs = dict[str | int, Any]
"""Plain values by name; typed records under small integers, since a record knows its own name."""


class Message(Struct, frozen=True, array_like=True):
    """Base of all messages."""


class Sync(Struct, frozen=True, array_like=True):
    """What the client knows of the schema and wants to have: `hash` is empty when it knows none.

    With `schema` it is told the source's when its own is another, and what changes in it later.

    Its session has the states that are `allowed` (None: all) and not `skipped`. `shallow`: only whether states are
    active counts, so that a tick stands for a change from active to inactive or back. `steps`: every transition is told
    by itself, by ClockSteps.
    """

    schema: bool = False
    hash: Digest = b""
    allowed: tuple[Name, ...] | None = None
    skipped: tuple[Name, ...] = ()
    shallow: bool = False
    steps: bool = False


class Resume(Struct, frozen=True, array_like=True):
    """The session a client had before.

    `epoch` and `seq`, the last clock message it applied, are reserved: nothing of the clock is replayed.
    """

    session: Token
    epoch: Count = 0
    seq: Count = 0


class Limits(Struct, frozen=True, array_like=True):
    """What this side accepts: bytes in one frame, calls without an answer. 0: it does not say.

    A client keeps to the `calls` of WELCOME. `frame`, and what HELLO says, are reserved: whatever stands there, frames
    of 1 MiB are taken, and a server makes no calls.
    """

    frame: Count = 0
    calls: Count = 0


class Source(Struct, frozen=True, array_like=True):
    """Where a mutation came from: the machine, its transition, its time sum."""

    machine: Name
    tx: Name
    time: Count = 0


class Step(Struct, frozen=True, array_like=True):
    """One transition: its kind (0 add, 1 remove, 2 set), the states it was called with, and what it changed."""

    kind: Count
    called: tuple[Count, ...] = ()
    queue: Count = 0
    changes: tuple[Count, ...] = ()
    accepted: bool = True


class GrantList(Struct, frozen=True, array_like=True):
    """What the client may do, as patterns of state names, and of payload names."""

    mutate: list[Name]
    read: list[Name]
    payload: list[Name]


class Hello(Message, frozen=True, tag=1):
    """C→S, first. `versions` is the lowest and highest one spoken, `id` the client machine's.

    `features` are those that the client knows.
    """

    magic: Literal["amrpc"]
    versions: tuple[Count, Count]
    id: Id
    token: Text = ""
    sync: Sync = Sync()
    resume: Resume | None = None
    features: Features = ()
    limits: Limits | None = None


class Welcome(Message, frozen=True, tag=2):
    """S→C, the answer: the session, and the whole clock as of `seq`.

    `names` is None when the client's schema hash is the session's, and it has all states. `schema` is sent if it was
    asked for and the client's is none or another; it holds all states that the client may see, also those that it has
    left out. `epoch` is another number when the source is not the one of an earlier session. `resumed`: the session is
    the one that was asked for, and calls beyond `received` have not arrived. `features` are those of the client that
    the server knows too and has a use for: no others are used on this connection. `away` (with the feature "upstream"):
    the source is a mirror that is cut off, as UPSTREAM tells later.
    """

    version: Count
    session: Token
    epoch: Count
    seq: Count
    features: Features
    limits: Limits | None
    source: Id
    names: tuple[Id, ...] | None
    schema: dict[Id, dict[str, Any]] | None
    hash: Digest
    time: tuple[Count, ...]
    queue_tick: Count
    machine_tick: Count
    grants: GrantList | None = None
    resumed: bool = False
    received: Count = 0
    away: bool = False


class Reject(Message, frozen=True, tag=3):
    """S→C, the answer to a HELLO that is refused. The server closes next. `retry_after` in seconds, None: never."""

    code: Name
    message: Text = ""
    retry_after: float | None = None


class Ready(Message, frozen=True, tag=4):
    """C→S: WELCOME is applied. Only now may the server push, and the client call."""

    session: Token


class Ping(Message, frozen=True, tag=5):
    """Either side, to be answered by PONG. `time` is the sender's own clock, `seq` its last clock message (0: none).

    So a client notices that the last push before a silence was lost.
    """

    nonce: Count
    time: float = 0.0
    seq: Count = 0


class Pong(Message, frozen=True, tag=6):
    """The answer to PING, with its number and time. `received` is the id of the last call that has arrived (server)."""

    nonce: Count
    time: float = 0.0
    received: Count = 0


class Bye(Message, frozen=True, tag=7):
    """Either side: the session ends on purpose. Nothing follows."""

    reason: Text = ""
    reconnect: bool = True


class GoAway(Message, frozen=True, tag=8):
    """Either side, with the feature "goaway": this connection ends `within` so many milliseconds. The session goes on.

    A client then makes its next connection while this one still works, and continues the session there. A server may
    say it before WELCOME, to a client that has offered the feature.
    """

    within: Count = 0
    reason: Text = ""


class Compressed(Message, frozen=True, tag=9):
    """Either side, with the feature "zlib": another message, whose whole frame was compressed (RFC 1950).

    It stands for that message, and is legal when that one is. Not for another COMPRESSED.
    """

    data: bytes


class Mutation(Message, frozen=True):
    """Base of the calls. Their ids count from 1 in each session, and are taken in this order, each once.

    `deadline`: the call is not to be run later than so many milliseconds after it has arrived (0: it may). `trace` is
    the W3C trace context it belongs to: 16 bytes of the trace, 8 of the span, 1 of flags. A call of no states was given
    up by its caller, and is answered as canceled.
    """

    id: Count
    states: tuple[Count, ...]
    args: WireArgs | None = None
    event: Source | None = None
    deadline: Count = 0
    trace: Trace = b""


class Add(Mutation, frozen=True, tag=16):
    """C→S: activate states. Answered by RESULT or ERROR with its `id`."""


class Remove(Mutation, frozen=True, tag=17):
    """C→S: deactivate states. Answered likewise."""


class Set(Mutation, frozen=True, tag=18):
    """C→S: activate these states and deactivate all others. Answered likewise."""


class AddUnanswered(Mutation, frozen=True, tag=19):
    """C→S: activate states. Not answered; WELCOME and PONG tell which have arrived, and ERROR if it failed."""


class SyncRequest(Message, frozen=True, tag=20):
    """C→S: send everything. Answered by FULL. Its ids are no calls' ids: questions are numbered by themselves."""

    id: Count


class ArgsRequest(Message, frozen=True, tag=21):
    """C→S, with the feature "ask": which typed arguments do the states take that this client follows?

    Answered by REPLY. Questions are numbered by themselves, from 1 in each connection, and change nothing.
    """

    id: Count


class WhenArgs(Message, frozen=True, tag=22):
    """C→S: tell when this state is called with arguments that hold all of these. Again, it changes nothing.

    Tokens are chosen by the client, and count for the session. WHEN_CANCEL ends it, and tells that WHEN_FIRED has come.
    """

    token: Count
    state: Count
    args: WireArgs | None = None


class WhenCancel(Message, frozen=True, tag=23):
    """C→S: the token is free again."""

    token: Count


class Can(Message, frozen=True, tag=24):
    """C→S, with the feature "ask": would the source add these states (or remove them), if it were called so now?

    The source asks its relations and its negotiation handlers, and changes nothing. Answered by REPLY, which does not
    say why not.
    """

    id: Count
    states: tuple[Count, ...]
    removes: bool = False
    args: WireArgs | None = None


class Result(Message, frozen=True, tag=48):
    """S→C: the outcome of a mutation (0 executed, 1 canceled) and what changed in the clock. `seq` 0: nothing did.

    Why it was canceled is the `reason`, for a person to read. Only clients that may read all states are told it.
    """

    id: Count
    result: Count = 0
    seq: Count = 0
    queue: Count = 0
    machine: Count = 0
    changes: tuple[Count, ...] = ()
    hash: Count = 0
    reason: Text = ""


class Error(Message, frozen=True, tag=49):
    """S→C: a call failed, `id` 0: the session did. `state` is the error state it stands for."""

    id: Count
    code: Name
    message: Text = ""
    state: Name = ""
    retryable: bool = False
    details: dict[str, Any] | None = None


class Reply(Message, frozen=True, tag=50):
    """S→C: the answer to a question. With a `code` there is none.

    `executed` answers CAN; `names` answers ARGS, each as `State.argument`.
    """

    id: Count
    executed: bool = False
    names: tuple[Text, ...] = ()
    code: Name = ""
    message: Text = ""


class ClockPush(Message, frozen=True, tag=64):
    """S→C: what changed in the clock."""

    seq: Count
    queue: Count
    machine: Count
    changes: tuple[Count, ...]
    hash: Count


class ClockSteps(Message, frozen=True, tag=65):
    """S→C: what changed in the clock, one transition after another. It counts as one message, sealed after the last.

    Only with the feature "steps".
    """

    seq: Count
    steps: tuple[Step, ...]
    machine: Count
    hash: Count


class Full(Message, frozen=True, tag=66):
    """S→C: the whole clock, as the answer to SYNC (`reply_to`), or unasked (0) when it went backwards."""

    seq: Count
    reply_to: Count
    time: tuple[Count, ...]
    queue_tick: Count
    machine_tick: Count
    hash: Count


class Grown(Message, frozen=True, tag=67):
    """S→C: the source has more states: the session's list of names as it is now, and the whole clock.

    Only with the feature "grown". Comes unasked (`reply_to` 0), and in the place of every FULL that follows in the
    session. The list only grows at its end, so numbers keep their meaning. `schema` has the states that are new or
    defined anew since WELCOME; None for a client that has not asked for a schema.
    """

    seq: Count
    reply_to: Count
    names: tuple[Id, ...]
    schema: dict[Id, dict[str, Any]] | None
    time: tuple[Count, ...]
    queue_tick: Count
    machine_tick: Count
    hash: Count


class Upstream(Message, frozen=True, tag=68):
    """S→C: the source, a mirror itself, is `away` from its own source, or back. Meanwhile its clock may be old.

    Only with the feature "upstream". Comes when that is not what WELCOME or the last UPSTREAM has told. Who serves the
    mirror that the client keeps tells it on.
    """

    away: bool


class Payload(Message, frozen=True, tag=80):
    """S→C: data for the client's consumer. Sent again in later sessions until it is settled, with the same `token`.

    With a `size` (and the feature "chunks") the data are too large for a frame. They have so many bytes, and follow as
    CHUNKs once the client has told by PAYLOAD_ACK from which byte on it wants them.
    """

    token: Token
    name: Name
    source: Name = ""
    source_tx: Name = ""
    destination: Name = ""
    meta: dict[str, Any] | None = None
    data: Any = None
    trace: Trace = b""
    size: Count = 0


class Chunk(Message, frozen=True, tag=81):
    """S→C: a part of the data of a payload, from byte `offset` on. `sha256` is that of all data, in the last one only.

    Only with the feature "chunks". All parts together are the data's MessagePack. One that does not begin where the one
    before has ended is a fault.
    """

    token: Token
    offset: Count
    data: Part
    sha256: Sha256 = b""


class PayloadAck(Message, frozen=True, tag=82):
    """C→S: the payload is settled; `consumed`: the consumer's transition was accepted.

    Not `consumed`: so many bytes of its data have been `received`, and more are wanted.
    """

    token: Token
    consumed: bool = True
    received: Count = 0


class WhenFired(Message, frozen=True, tag=96):
    """S→C: it was called so, or (with a `code`) that will not be told. `tick` is the state's."""

    token: Count
    tick: Count = 0
    code: Name = ""
    message: Text = ""


class PayloadNack(Message, frozen=True, tag=83):
    """C→S: the payload is refused for good."""

    token: Token
    code: Name
    message: Text = ""


class PayloadWithdrawn(Message, frozen=True, tag=84):
    """S→C: the payload will not come any more. What has come of its data is of no use.

    Only with the feature "chunks".
    """

    token: Token


AnyMessage = (
    Hello | Welcome | Reject | Ready | Ping | Pong | Bye | Add | Remove | Set | AddUnanswered | SyncRequest
    | ArgsRequest | WhenArgs | WhenCancel | Can | Result | Error | Reply | ClockPush | ClockSteps | Full | Grown
    | Upstream | Payload | Chunk | PayloadAck | PayloadNack | PayloadWithdrawn | WhenFired | GoAway | Compressed
)  # fmt: skip
