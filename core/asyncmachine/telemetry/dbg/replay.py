"""Replay: a dump, message by message, with what is known of the machines at each.

`summary` counts, `transitions` lists; both read the file once, from its beginning to its end, and keep little.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict

from asyncmachine.machine.schema import EXCEPTION
from asyncmachine.telemetry.dbg import messages as m
from asyncmachine.telemetry.dbg.amdbg import DumpReader, open_dump
from asyncmachine.telemetry.dbg.codec import decode
from asyncmachine.telemetry.dbg.errors import DumpError, StreamFault
from asyncmachine.telemetry.dbg.records import Record, records_of
from asyncmachine.telemetry.dbg.stream import Stream, Track

MOST_CONNECTIONS: Final = 10_000
"""Open at once in one file."""

MOST_DESCRIBED: Final = 64 << 20
"""Bytes of all descriptions of machines that are open at once."""

MOST_MACHINES: Final = 100_000
"""Machines of one file, one after the other."""

MOST_ERRORS: Final = 1_000
"""Errors that a summary lists, the newest."""


@dataclass(frozen=True, slots=True)
class Told:
    """One message of a dump. `machine` is the one it is about, `before` its ticks before a batch of records."""

    connection: int
    received: int
    message: m.AnyMessage
    hello: m.Hello | None
    track: Track | None = None
    machine: m.Machine | None = None
    before: tuple[int, ...] = ()

    def records(self) -> Iterator[Record]:
        """The records of a batch; none for other messages."""
        if isinstance(self.message, m.Transitions) and self.machine is not None:
            yield from records_of(self.message, self.machine, self.before, self.received)


class Replay:
    """A dump, message by message, in the order they came. Raises `DumpError` for one that does not fit."""

    def __init__(self, reader: DumpReader) -> None:
        self._reader = reader
        self._streams: dict[int, Stream] = {}
        self._machines: dict[tuple[int, int], tuple[m.Machine, int]] = {}
        self._described = 0
        self._count = 0

    def __iter__(self) -> Iterator[Told]:
        for record in self._reader:
            try:
                yield self._told(record.connection, record.received, bytes(record.message))
            except StreamFault as error:
                raise DumpError(f"connection {record.connection}: {error}", self._reader.offset) from error

    def _told(self, connection: int, received: int, frame: bytes) -> Told:
        message = decode(frame)
        stream = self._streams.get(connection)
        if stream is None:
            if len(self._streams) >= MOST_CONNECTIONS:
                raise StreamFault(f"more than {MOST_CONNECTIONS} connections at once")
            stream = self._streams[connection] = Stream(m.MOST_MACHINES)
        before: tuple[int, ...] = ()
        if isinstance(message, m.Transitions) and message.machine in stream.tracks:
            before = tuple(stream.tracks[message.machine].ticks)
        is_new = isinstance(message, m.Machine) and message.machine not in stream.tracks
        track = stream.take(message, frame)
        if isinstance(message, m.Machine):
            self._count += is_new
            if self._count > MOST_MACHINES:
                raise StreamFault(f"more than {MOST_MACHINES} machines")
            self._forget(connection, message.machine)
            self._machines[connection, message.machine] = message, len(frame)
            self._described += len(frame)
            if self._described > MOST_DESCRIBED:
                raise StreamFault(f"the machines described at once take more than {MOST_DESCRIBED} bytes")
        machine = None if track is None else self._machines[connection, track.number][0]
        if isinstance(message, m.Gone):
            self._forget(connection, message.machine)
        elif isinstance(message, m.Bye):
            for number in stream.tracks:
                self._forget(connection, number)
            del self._streams[connection]
        return Told(connection, received, message, stream.hello, track, machine, before)

    def _forget(self, connection: int, number: int) -> None:
        _, size = self._machines.pop((connection, number), (None, 0))
        self._described -= size


def transitions(path: Path | str, machine: str = "") -> Iterator[Record]:
    """The records of a file, of all machines or of those with this id."""
    with open_dump(path) as reader:
        for told in Replay(reader):
            if told.machine is not None and machine in ("", told.machine.id):
                yield from told.records()


class MachineSummary(Struct):
    """One machine as one connection told of it. Times are by the receiver's clock, nanoseconds since 1970.

    `transitions` are all that ran, of which `accepted` changed something or could have; `canceled` are the others.
    `lost` records were not sent, or lost with a connection.
    """

    id: str
    connection: int
    session: str
    program: str
    parent: str
    tags: tuple[str, ...]
    states: int
    is_remote: bool
    first: int
    last: int
    transitions: int = 0
    accepted: int = 0
    canceled: int = 0
    auto: int = 0
    checks: int = 0
    queued: int = 0
    errors: int = 0
    log_entries: int = 0
    lost: int = 0
    is_gone: bool = False
    active: tuple[str, ...] = ()


class ErrorSummary(Struct, frozen=True):
    """One record that brought an error: the machine's, and the states that it activated."""

    machine: str
    number: int
    id: str
    sent: int
    states: tuple[str, ...]
    type: str = ""
    message: str = ""
    handler: str = ""


class Summary(Struct):
    """A dump at a glance. `cut` says how the file was cut short, if it was. `errors` are the newest ones, in order."""

    created: int
    machines: list[MachineSummary]
    errors: list[ErrorSummary]
    cut: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "created": self.created,
            "machines": [asdict(machine) for machine in self.machines],
            "errors": [asdict(error) for error in self.errors],
            "cut": self.cut,
        }


def summary(path: Path | str) -> Summary:
    """What is in a file. Raises `OSError` if it cannot be opened, `DumpError` if it is no dump or a damaged one."""
    with open_dump(path) as reader:
        found = summary_of(Replay(reader))
        found.created, found.cut = reader.header.created, reader.cut
        return found


def summary_of(story: Iterable[Told]) -> Summary:
    """A summary of messages."""
    machines: list[MachineSummary] = []
    errors: deque[ErrorSummary] = deque(maxlen=MOST_ERRORS)
    open_now: dict[tuple[int, int], tuple[MachineSummary, m.Machine, Track]] = {}
    # Where the records of a machine ended that has left without a word; it may come back on another connection.
    left: dict[tuple[str, str], int] = {}
    for told in story:
        message, track, machine = told.message, told.track, told.machine
        if isinstance(message, m.Bye):
            for key in [key for key in open_now if key[0] == told.connection]:
                found, _, last = _closed(*open_now.pop(key))
                left[found.session, found.id] = last.next
        if track is None or machine is None:
            continue
        key = told.connection, track.number
        if key not in open_now:
            found = _new_summary(told, machine)
            found.lost = max(0, track.next - left.pop((found.session, found.id), track.next))
            machines.append(found)
        else:
            found = open_now[key][0]
        open_now[key] = found, machine, track
        # What a new file repeats at its beginning was written after what it begins with had come.
        found.first, found.last = min(found.first, told.received), max(found.last, told.received)
        match message:
            case m.Machine():
                found.states = len(message.names)
            case m.Transitions():
                _count(found, message)
                for error in _errors(told, machine):
                    found.errors += 1
                    errors.append(error)
            case m.Log():
                found.log_entries += len(message.lines)
            case m.Gone():
                found.is_gone = True
                _closed(*open_now.pop(key))
    for left_open in open_now.values():
        _closed(*left_open)
    return Summary(0, machines, list(errors))


def _closed(found: MachineSummary, machine: m.Machine, track: Track) -> tuple[MachineSummary, m.Machine, Track]:
    found.lost += track.lost
    found.active = tuple(name for name, tick in zip(machine.names, track.ticks, strict=True) if tick & 1)
    return found, machine, track


def _new_summary(told: Told, machine: m.Machine) -> MachineSummary:
    hello = told.hello
    return MachineSummary(
        machine.id,
        told.connection,
        hello.session if hello else "",
        hello.process.program if hello else "",
        machine.parent,
        machine.tags,
        len(machine.names),
        machine.remote,
        told.received,
        told.received,
    )


def _count(machine: MachineSummary, batch: m.Transitions) -> None:
    for number, times in Counter(batch.which).items():
        flags = batch.shapes[number].flags
        if flags & m.Flag.QUEUED:
            machine.queued += times
        elif flags & m.Flag.CHECK:
            machine.checks += times
        else:
            machine.transitions += times
            machine.auto += times if flags & m.Flag.AUTO else 0
            if flags & m.Flag.ACCEPTED:
                machine.accepted += times
            else:
                machine.canceled += times
    for detail in batch.details.values():
        machine.log_entries += len(detail.log) + len(detail.pre)


def is_error(state: str) -> bool:
    """True for states that stand for errors."""
    return state == EXCEPTION or state.startswith("Err")


def _errors(told: Told, machine: m.Machine) -> Iterator[ErrorSummary]:
    """The records of a batch that brought an error. The batch is unfolded only if there can be one."""
    batch, names = told.message, machine.names
    assert isinstance(batch, m.Transitions)
    suspects = {i for i, name in enumerate(names) if is_error(name)}
    touches = any(suspects.intersection(shape.changes[::2]) for shape in batch.shapes)
    if not touches and not any(detail.failure for detail in batch.details.values()):
        return
    for record in told.records():
        if record.is_queued or record.is_check:
            continue
        raised = tuple(
            names[i] for i in sorted(suspects) if record.after[i] & 1 and record.after[i] != record.before[i]
        )
        failure = record.failure or NO_FAILURE
        if raised or record.failure is not None:
            yield ErrorSummary(
                record.machine,
                record.number,
                record.id,
                record.sent,
                raised,
                failure.type,
                failure.message,
                failure.handler,
            )


NO_FAILURE: Final = m.Failure("")
