"""Every message of the debug stream v1, one record each.

On the wire a message is an array: its kind (the `tag` below), then its fields in this order. Fields at the end that
have their default may be left out, and fields this version does not know are skipped, so a later one may append some.

A sender says HELLO, then tells of machines. MACHINE gives one its number on this connection, its states, and its ticks
before the next record; from there on TRANSITIONS carry differences. Records of a machine are numbered without a break;
GAP tells how many were dropped by the sender, and what the ticks are after them. What was lost together with a
connection is told by the number that the next MACHINE of the same session begins with. Nobody answers anything.

States are numbers: their position in the machine's list of names. Points in time are nanoseconds since 1970 by the
sender's clock; a receiver adds its own.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Annotated, Literal

from msgspec import Meta, Struct

VERSION = 1
"""The version of the protocol that is spoken here."""

MAGIC: Literal["amdbg"] = "amdbg"

MOST_NUMBER = 2**64 - 1
MOST_MACHINES = 1 << 16
MOST_STATES = 4096
MOST_RECORDS = 16_384
"""Of one TRANSITIONS message."""

MOST_CHANGES = 1 << 20
"""Of one TRANSITIONS message, those of a shape counted for each of its records."""

MOST_LINES = 1000
MOST_STEPS = 10_000
MOST_ARGS = 64
MOST_TAGS = 256
MOST_GROUPS = 1024
ID_LENGTH = 255
TEXT_LENGTH = 16_384
ARG_LENGTH = 256
"""Characters."""

ABSENT, ANY_STATE = -1, -2
"""In steps: no state, and the one of the global handlers."""

Count = Annotated[int, Meta(ge=0)]
Number = Annotated[int, Meta(ge=0, lt=MOST_MACHINES)]
Name = Annotated[str, Meta(max_length=ID_LENGTH)]
Id = Annotated[str, Meta(min_length=1, max_length=ID_LENGTH)]
Text = Annotated[str, Meta(max_length=TEXT_LENGTH)]
ArgText = Annotated[str, Meta(max_length=ARG_LENGTH)]
Names = Annotated[tuple[Name, ...], Meta(max_length=MOST_STATES)]
States = Annotated[tuple[Count, ...], Meta(max_length=MOST_STATES)]
Column = Annotated[list[Count], Meta(max_length=MOST_RECORDS)]


class Flag(IntFlag):
    """What kind of record it is. The two lowest bits are the mutation's kind: 0 add, 1 remove, 2 set."""

    REMOVE = 1
    SET = 2
    AUTO = 4
    """The machine called its Auto states."""
    ACCEPTED = 8
    CHECK = 16
    """A dry run."""
    QUEUED = 32
    """No transition, but the mutation's entry into the queue."""
    BROKEN = 64
    """A handler raised."""


KIND_BITS = 3
ALL_FLAGS = 127
AUTO_STATE, MULTI_STATE = 1, 2
FINAL_STEP, SELF_STEP, ENTER_STEP = 1, 2, 4
ALL_STEP_FLAGS = 7
OUT_PIPE, ADD_PIPE = 1, 2


class Message(Struct, frozen=True, array_like=True):
    """Base of all messages."""


class Part(Struct, frozen=True, array_like=True):
    """Base of what stands inside of messages."""


class Process(Part, frozen=True):
    """The program that sends. Its arguments are not told, as they may hold secrets."""

    program: Name = ""
    pid: Count = 0
    python: Name = ""
    platform: Name = ""


class Rule(Part, frozen=True):
    """One state of a schema: flags (1 auto, 2 multi), relations, tags. A relation that was never given is None."""

    flags: Count = 0
    require: Names | None = None
    add: Names | None = None
    remove: Names | None = None
    after: Names | None = None
    tags: Names | None = None


class Group(Part, frozen=True):
    """A named list of states. The one that is called `self` stands between inherited groups and own ones."""

    name: Name
    states: States


class Shape(Part, frozen=True):
    """What many records have in common: flags, called states, and changes as ``state, difference, state, …``."""

    flags: Annotated[int, Meta(ge=0, le=ALL_FLAGS)]
    called: States = ()
    changes: Annotated[tuple[int, ...], Meta(max_length=2 * MOST_STATES)] = ()


class Source(Part, frozen=True):
    """Where a mutation came from: the machine, its transition, its time sum."""

    machine: Name
    tx: Name
    time: Count = 0


class Failure(Part, frozen=True):
    """The error that came with the mutation: its class, its text, the stack, and the handler that raised it."""

    type: Name
    message: Text = ""
    trace: Text = ""
    handler: Name = ""


class Sem(Part, frozen=True):
    """What an entry of the log says, for programs: `asyncmachine.Sem` has the table. States are told by name here."""

    kind: Name
    event: Name = ""
    states: Names = ()
    numbers: Annotated[tuple[Count, ...], Meta(max_length=MOST_STATES)] = ()
    names: Names = ()


class Line(Part, frozen=True):
    """One entry of the machine's log: as text, and what it says."""

    level: Annotated[int, Meta(ge=0, le=5)]
    text: Text = ""
    sem: Sem | None = None


Lines = Annotated[tuple[Line, ...], Meta(max_length=MOST_LINES)]


class Detail(Part, frozen=True):
    """What one record has beside its shape. `duration` is in nanoseconds, `queue_len` is at the end.

    `steps` are five numbers each: type, from, to (`ABSENT`, `ANY_STATE`), relation (-1 without one), and flags (1
    final, 2 self, 4 enter). `due` is the queue tick at which a queued mutation runs. One that was put to the front has
    no tick; it has a `token` instead, on the record of its entry and on that of its transition. `stack` tells who
    called.
    """

    id: Name = ""
    queue_len: Count = 0
    duration: Count = 0
    source: Source | None = None
    args: Annotated[dict[Name, ArgText], Meta(max_length=MOST_ARGS)] = {}
    failure: Failure | None = None
    log: Lines = ()
    pre: Lines = ()
    steps: Annotated[tuple[int, ...], Meta(max_length=5 * MOST_STEPS)] = ()
    due: Count = 0
    token: Count = 0
    stack: Text = ""


class Pipe(Part, frozen=True):
    """One piped state: flags (1 outgoing, 2 on activation), the state's name, the other machine's id."""

    flags: Annotated[int, Meta(ge=0, le=3)]
    state: Name
    machine: Name


class Hello(Message, frozen=True, tag=1):
    """First. `session` is the same for all connections of one program run."""

    magic: Literal["amdbg"]
    version: Count
    session: Id
    process: Process = Process()


class Machine(Message, frozen=True, tag=2):
    """A machine, or its new schema if its number is known. `next` is the number of its next record, counted from 1.

    `time` are the ticks before that record. A machine that mirrors one elsewhere is `remote`.
    """

    machine: Number
    id: Id
    names: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=MOST_STATES)]
    rules: Annotated[tuple[Rule, ...], Meta(max_length=MOST_STATES)]
    time: States
    next: Count
    now: Count
    queue_tick: Count = 0
    machine_tick: Count = 0
    parent: Name = ""
    tags: Annotated[tuple[Name, ...], Meta(max_length=MOST_TAGS)] = ()
    groups: Annotated[tuple[Group, ...], Meta(max_length=MOST_GROUPS)] = ()
    remote: bool = False


class Transitions(Message, frozen=True, tag=3):
    """Records of one machine, in columns.

    Record number ``first + i`` has the shape ``shapes[which[i]]``, happened ``sum(times[:i + 1])`` after `now`, at
    queue tick ``queue_tick + sum(queue_ticks[:i + 1])``, and has ``details[i]``, if any.
    """

    machine: Number
    first: Count
    now: Count
    queue_tick: Count
    shapes: Annotated[tuple[Shape, ...], Meta(min_length=1, max_length=MOST_RECORDS)]
    which: Column
    times: Column
    queue_ticks: Annotated[list[int], Meta(max_length=MOST_RECORDS)]
    details: Annotated[dict[Count, Detail], Meta(max_length=MOST_RECORDS)] = {}


class Log(Message, frozen=True, tag=4):
    """Log entries that no transition has taken along."""

    machine: Number
    now: Count
    lines: Lines


class Gap(Message, frozen=True, tag=5):
    """`lost` records (and `lines` log entries) were dropped before record number `next`, whose ticks begin at `time`.

    With nothing lost, the machine was given another time (restored from an export).
    """

    machine: Number
    next: Count
    lost: Count
    time: States
    now: Count
    queue_tick: Count = 0
    machine_tick: Count = 0
    lines: Count = 0


class Pipes(Message, frozen=True, tag=6):
    """All pipes of a machine, in the place of those told before."""

    machine: Number
    now: Count
    pipes: Annotated[tuple[Pipe, ...], Meta(max_length=MOST_STATES)] = ()


class Gone(Message, frozen=True, tag=7):
    """The machine was disposed of, or is not watched any more. Its number is free."""

    machine: Number
    now: Count


class Bye(Message, frozen=True, tag=8):
    """The sender leaves on purpose."""


class Forwarded(Message, frozen=True, tag=9):
    """A frame that somebody else received first, at `received` by its clock, from the connection named so there."""

    connection: Id
    received: Count
    frame: bytes


AnyMessage = Hello | Machine | Transitions | Log | Gap | Pipes | Gone | Bye | Forwarded
