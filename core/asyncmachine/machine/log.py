"""The log of one machine: what is told, in which detail, and where it goes.

A machine is silent, and pays nothing, until `machine.log.level` is raised or steps are switched on; then an observer
narrates (`observer`, `narrator`). Its entries are kept with the transition they belong to (`tx.log_entries`); those
from between two transitions with the next one that ends (`tx.pre_log_entries`). Each is also handed to `output`, unless
the log is `empty`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from asyncmachine.machine.levels import EXTERNAL, NOTHING, LogEntry, LogLevel, Sem
from asyncmachine.machine.log_args import LOGGED_NAMES, ArgsMapper, new_log_args_mapper
from asyncmachine.machine.log_pipes import LogPipes
from asyncmachine.machine.settings import SWITCHES

if TYPE_CHECKING:
    from asyncmachine.machine.event import Event
    from asyncmachine.machine.view import View

Output = Callable[[LogLevel, str], object]
"""Takes a level and a finished line."""

PENDING_LIMIT = 1_000
"""Entries kept for the next transition; beyond, the oldest are dropped."""

REPEATABLE = ("[pipe-", "[ctx", "[when")
"""Entries that are kept between transitions also if the one before says the same."""

_OWN = Sem("log")

logger = logging.getLogger("asyncmachine")


def to_stdout(level: LogLevel, line: str) -> None:
    """The default output."""
    sys.stdout.write(f"{line}\n")


class Log:
    """`machine.log`. Calling it logs a line of one's own: ``machine.log("got %d rows", n)``.

    * `output` takes finished lines, `empty` keeps entries without handing them out, `show_id` puts the first five
      characters of the machine's id in front, `traces` adds stacks to errors;
    * `args_mapper` picks the arguments shown behind lines, None for none;
    * `steps`, `can`: transitions record steps, dry runs too. `graph`, `queued`, `args`, `when` and `state_ctx` are for
      those who send the log elsewhere: they ask for relations of machines, queued mutations, arguments, waits and
      scopes;
    * `pipes` are the machine's pipes, in both directions.
    """

    __slots__ = (
        "_level",
        "_machine",
        "_pending",
        "_silent",
        "_sink",
        "_steps",
        "args",
        "args_mapper",
        "can",
        "empty",
        "graph",
        "output",
        "pipes",
        "queued",
        "show_id",
        "state_ctx",
        "traces",
        "when",
    )

    def __init__(self, machine: View[Any]) -> None:
        self._machine = machine
        self._level = NOTHING
        self._steps = False
        self._silent = False
        # Where entries go: to the running transition's list, or without one to `_pending`.
        self._sink: list[LogEntry] | None = None
        self._pending: list[LogEntry] = []
        self.output: Output = to_stdout
        self.empty = False
        self.show_id = True
        self.traces = True
        self.args_mapper: ArgsMapper | None = None
        self.graph = False
        self.can = False
        self.queued = False
        self.args = False
        self.when = False
        self.state_ctx = False
        self.pipes = LogPipes(self.write)

    def __repr__(self) -> str:
        on = " ".join(name for name in SWITCHES if getattr(self, name))
        return f"<Log of {self._machine.id}: {self._level.name.lower()}{f' {on}' if on else ''}>"

    @property
    def level(self) -> LogLevel:
        """Entries above this level are not made. Settable, also to the number of a level."""
        return self._level

    @level.setter
    def level(self, level: LogLevel | int) -> None:
        self._level = LogLevel(level)
        self._observe()
        if self._machine._observer is not None:
            self._machine._observer.set_level(self._level)

    @property
    def steps(self) -> bool:
        """Whether transitions record steps. Settable."""
        return self._steps

    @steps.setter
    def steps(self, on: bool) -> None:
        self._steps = on
        self._observe()

    def switch(self, *names: str, on: bool = True) -> None:
        """Turns kinds of detail on or off, all of `SWITCHES` if none is named."""
        unknown = sorted(set(names) - set(SWITCHES))
        if unknown:
            raise ValueError(f"no such switch: {', '.join(unknown)}; there are {', '.join(SWITCHES)}")
        for name in names or SWITCHES:
            setattr(self, name, on)

    def simple(self, write: Callable[[str], object], level: LogLevel | int) -> None:
        """Sends lines to a function of one text, such as `print`, and sets the level."""
        self.output = lambda _, line: write(line)
        self.empty = False
        self.level = LogLevel(level)

    def keep(self, level: LogLevel | int) -> None:
        """Keeps entries for tracers and hands out nothing, and sets the level."""
        self.empty = True
        self.level = LogLevel(level)

    def show_args(self, *names: str, max_len: int = 0) -> None:
        """Shows the arguments that usually tell something (`LOGGED_NAMES`), and those with the given names."""
        self.args_mapper = new_log_args_mapper(max_len, (*LOGGED_NAMES, *names))

    def __call__(self, message: str, *args: object, e: Event | None = None) -> None:
        """Logs a line at the external level, formatted with ``%`` if there are `args`. `e` names the handler in it."""
        if self._level < EXTERNAL:
            return
        text = " ".join((message % args if args else message).splitlines())
        if e is None:
            self.write(EXTERNAL, f"[exter] {text}", _OWN)
        else:
            self.write(EXTERNAL, f"[exter] [{e.name}] {text}", Sem("log", names=(e.name,)))

    def take_pending(self) -> tuple[LogEntry, ...]:
        """Takes the entries that wait for the next transition, for those who cannot wait that long."""
        found, self._pending = self._pending, []
        return tuple(found)

    # For observers

    def write(self, level: LogLevel, text: str, sem: Sem | None = None) -> None:
        """Makes an entry, if the level asks for it and the machine is not disposed."""
        if level <= self._level and not self._silent:
            self.write_all((LogEntry(level, text, sem),))

    def write_all(self, entries: Iterable[LogEntry]) -> None:
        """Keeps entries that have passed the level, and hands them out."""
        if self._sink is not None:
            self._sink += entries
        else:
            for entry in entries:
                self._keep_pending(entry)
        if not self.empty:
            self._print(entries)

    def begin(self, entries: Sequence[LogEntry] = ()) -> list[LogEntry]:
        """From now on entries belong to a transition, which begins with these. Returns the list they go to."""
        self._sink = sink = list(entries)
        if not self.empty and entries:
            self._print(entries)
        return sink

    def end(self) -> tuple[LogEntry, ...]:
        """The transition is over. Returns what came before it."""
        self._sink = None
        return self.take_pending() if self._pending else ()

    def silence(self) -> None:
        """The machine is disposed; nothing is logged any more."""
        self._silent = True

    def _keep_pending(self, entry: LogEntry) -> None:
        pending = self._pending
        if pending:
            if pending[-1] == entry and not entry.text.startswith(REPEATABLE):
                return
            if len(pending) >= PENDING_LIMIT:
                del pending[0]
        pending.append(entry)

    def _print(self, entries: Iterable[LogEntry]) -> None:
        prefix = f"[{self._machine.id[:5]}] " if self.show_id else ""
        try:
            for entry in entries:
                self.output(entry.level, prefix + entry.text)
        except Exception:
            # Somebody's function; the machine goes on without it.
            self.empty = True
            logger.exception("%s: the log's output raised and is not used any more", self._machine.id)

    def _observe(self) -> None:
        """Lets an observer in when there is something to observe, out when there is not."""
        from asyncmachine.machine.narrator import observer_of

        machine, wanted = self._machine, bool(self._level) or self._steps
        observer = machine._observer
        if wanted and observer is None:
            machine._observer = observer = observer_of(machine, self)
            # First, so that other tracers find the entries of a hook already made.
            machine._set_tracers((observer, *machine._tracers))
        elif observer is not None and not wanted:
            machine._set_tracers(tuple(tracer for tracer in machine._tracers if tracer is not observer))
            machine._observer = None
