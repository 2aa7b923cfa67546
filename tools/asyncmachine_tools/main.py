"""`am COMMAND …`: one command for all of the project's tools.

A subcommand is a function `configure(parser)` that adds its options and says with `parser.set_defaults(run=…)` what to
call; that takes the options and returns the exit code. It is found by its entry point, so that a package brings its
own, and is imported only when it is called. Exit codes: 0 it went well, 1 it did not, 2 it was called wrongly, 130 it
was interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import cast

import asyncmachine as am

GROUP = "asyncmachine.commands"
FAILED, BAD_USE, INTERRUPTED = 1, 2, 130

Configure = Callable[[argparse.ArgumentParser], None]


class Parser(argparse.ArgumentParser):
    """Says of a command that is none what `am` says of its own."""

    def _check_value(self, action: argparse.Action, value: object) -> None:
        # argparse has no public place for this; where it calls this no more, its own words are told.
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            kind = str(action.metavar or "command").lower()
            self.exit(BAD_USE, f"{self.prog}: there is no {kind} {value!r}; {kind}s: {', '.join(action.choices)}\n")
        super()._check_value(action, value)


def commands() -> Mapping[str, EntryPoint]:
    """Name and entry point of every subcommand that is installed, by name."""
    return {found.name: found for found in sorted(entry_points(group=GROUP))}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    known = commands()
    chosen = next((word for word in given if not word.startswith("-")), None)
    parser = argparse.ArgumentParser(prog="am", description="Tools for asyncmachine.", add_help=False)
    parser.add_argument("-h", "--help", action="store_true", help="this, or the help of a command")
    parser.add_argument("-v", "--version", action="version", version=f"asyncmachine {am.__version__}")
    parser.usage = "am [-h] [-v] COMMAND ..."
    if chosen is None:
        parser.parse_args(given)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = overview(known)
        parser.print_help(sys.stdout if {"-h", "--help"} & set(given) else sys.stderr)
        return 0 if given else BAD_USE
    if chosen not in known:
        names = ", ".join(known) or "none is installed"
        print(f"am: there is no command {chosen!r}; commands: {names}", file=sys.stderr)
        return BAD_USE
    before = given[: given.index(chosen)]
    rest = given[given.index(chosen) + 1 :]
    if parser.parse_args(before).help:
        rest = ["--help"]
    return run(chosen, known[chosen], rest)


def overview(known: Mapping[str, EntryPoint]) -> str:
    """What each command is for, in its own words: it is imported for that, unless what it needs is missing."""
    lines = ["commands:"]
    width = max(map(len, known), default=0)
    for name, found in known.items():
        parser = argparse.ArgumentParser()
        try:
            cast(Configure, found.load())(parser)
            about = parser.description or ""
        except ImportError as error:
            about = f"(needs the package {error.name or error})"
        except Exception as error:  # noqa: BLE001 (of somebody else's package; the others are shown)
            about = f"(cannot be loaded: {error})"
        lines.append(f"  {name.ljust(width)}  {about}".rstrip())
    return "\n".join(lines if known else ["commands: none is installed"])


def run(name: str, found: EntryPoint, arguments: Sequence[str]) -> int:
    """Imports a subcommand and calls it."""
    try:
        configure = cast(Configure, found.load())
    except ImportError as error:
        missing = error.name or str(error)
        print(f"am {name}: the package {missing} is missing: pip install 'asyncmachine[all]'", file=sys.stderr)
        return FAILED
    parser = Parser(prog=f"am {name}")
    configure(parser)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has enough. Python would complain again when it closes its output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        told = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        print(f"am {name}: {told}", file=sys.stderr)
        return FAILED
    except am.AmError as error:
        print(f"am {name}: {error}", file=sys.stderr)
        return FAILED
