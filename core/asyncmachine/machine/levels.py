"""How much a machine tells: levels, and the entries of a log."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class LogLevel(IntEnum):
    """Each level includes those before it."""

    NOTHING = 0
    EXTERNAL = 1
    """What is logged by the machine's users."""
    CHANGES = 2
    """Changes of states, and errors."""
    OPS = 3
    """Mutations, handlers, waits, and why something was rejected; what a debugger needs."""
    DECISIONS = 4
    """Also what was decided about states that nobody called."""
    EVERYTHING = 5
    """Also what was asked without an answer, and states that have not changed."""


NOTHING, EXTERNAL, CHANGES, OPS, DECISIONS, EVERYTHING = LogLevel


class Sem(NamedTuple):
    """What an entry says, for programs: nobody has to read its text again.

    | kind | event | states | numbers | names |
    | --- | --- | --- | --- | --- |
    | when, whenNot | new, match | those waited for | | |
    | whenTime | new, match | those waited for | their ticks | |
    | whenArgs | new, match | the one waited for | | of arguments |
    | whenQueue | new, match | | queue tick | |
    | whenQuery | new, match | | the query's own | |
    | ctx | new, match | the one whose scope it is | | |
    | queue | skipped | called | | kind of the mutation |
    | handler | | | the binding's own | handler |
    | cancel | veto, self, timeout, recover | what was to be active | | handler |
    | cancel | reject | called, and not to be had | | |
    | reject | called, auto | those | how many each misses | what they require in vain, one after the other |
    | rel | remove | one | | who keeps it out |
    | pipe | out:add, out:remove, in:add, in:remove | piped | | the other machine |
    | pipe | gc | | | a machine without pipes now |
    | error | the mutation's kind, or raised | called | | |
    | breakpoint | | called | | |
    | eval | new, run, end, timeout | | | source |
    | log | | | | handler that logged, if one did |

    Entries of other kinds (bindings, imports, what was asked in vain) have none.
    """

    kind: str
    event: str = ""
    states: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    names: tuple[str, ...] = ()


class LogEntry(NamedTuple):
    """One line of the log, without the machine's id in front. Only stack traces make it several lines."""

    level: LogLevel
    text: str
    sem: Sem | None = None
