"""`am dbg …`: what is in a recorded debug stream."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from asyncmachine.telemetry.dbg.errors import DbgError
from asyncmachine.telemetry.dbg.replay import ErrorSummary, MachineSummary, Summary, summary


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands."""
    parser.description = "Look into recorded debug streams, which are .amdbg files."
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("ls", help="list machines, transitions and errors of a file")
    listing.add_argument("file", metavar="FILE", type=Path)
    listing.add_argument("--json", action="store_true", help="as one JSON object")
    listing.set_defaults(run=_ls)


def _ls(options: argparse.Namespace) -> int:
    """Returns 1 for a file that is no dump (raised), or a damaged one."""
    try:
        found = summary(options.file)
    except DbgError as error:
        raise DbgError(f"{options.file}: {error}") from error
    if options.json:
        json.dump(found.to_dict(), sys.stdout, indent=1, ensure_ascii=True)
        print()
    else:
        print(text(found))
    return 0


def text(found: Summary) -> str:
    """For a terminal. Nothing in names, which are strangers', can move the cursor or turn what follows."""
    count = len(found.machines)
    lines = [f"recorded {_time(found.created)}, {count} machine{'' if count == 1 else 's'}", ""]
    lines += _table(found.machines)
    if found.errors:
        lines += ["", "errors"]
        lines += [_error(error) for error in found.errors]
    if found.cut:
        lines += ["", found.cut]
    return "\n".join(line.rstrip() for line in lines)


def _table(machines: list[MachineSummary]) -> list[str]:
    head = ("machine", "program", "states", "transitions", "canceled", "queued", "errors", "lost", "active")
    rows = [
        (
            machine.id,
            machine.program,
            *map(
                str,
                (
                    machine.states,
                    machine.transitions,
                    machine.canceled,
                    machine.queued,
                    machine.errors,
                    machine.lost,
                ),
            ),
            " ".join(machine.active),
        )
        for machine in machines
    ]
    cells = [head, *(tuple(_plain(cell) for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return [
        "  ".join(
            cell.rjust(width) if 2 <= column <= 7 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]


def _error(error: ErrorSummary) -> str:
    where = f" in {error.handler}" if error.handler else ""
    what = f"{error.type}: {error.message}" if error.type else ""
    return _plain(f"  {_time(error.sent)}  {error.machine} {error.id}  {' '.join(error.states)}{where}  {what}")


def _plain(value: str) -> str:
    return value if value.isprintable() else "".join(c if c.isprintable() else _escaped(ord(c)) for c in value)


def _escaped(number: int) -> str:
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _time(nanoseconds: int) -> str:
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{nanoseconds} ns after 1970"
