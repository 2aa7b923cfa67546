"""The settings of the example, from the command line and the environment; the command line wins."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from asyncmachine import AmError
from asyncmachine.telemetry.dbg.dumps import SingleDump
from examples.wasm_workflow.draws import LOWEST_RATE

DEMO_ITERATIONS = 1_200_000
"""Keeps a browser's node busy for about a second, so that one can watch."""

QUICK_ITERATIONS = 10_000
"""For headless runs and tests."""

MOST_ITERATIONS = 20_000_000

NODE_TIMEOUT = 30.0
"""Seconds that a node may take for an attempt."""

MAX_RESTARTS = 50
"""Rounds with wrong digests in a run before the workflow gives up."""


ON, OFF = {"1", "true", "yes"}, {"0", "false", "no"}


class SettingsError(AmError):
    """A setting that can never work, with the reason."""


@dataclass(frozen=True)
class Settings:
    """What a run depends on. `seed` decides all draws; the same seed tells the same story."""

    seed: int
    success_rate: int = 5
    hash_iterations: int = DEMO_ITERATIONS
    port: int = 14050
    headless: bool = False
    exit_on_completed: bool = False
    node_timeout: float = NODE_TIMEOUT
    max_restarts: int = MAX_RESTARTS
    dbg: Path | None = None
    """Where all that the five machines do is recorded."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise SettingsError(f"SEED={self.seed}: must not be negative")
        if self.success_rate < LOWEST_RATE:
            raise SettingsError(
                f"SUCCESS_RATE={self.success_rate}: no run could ever succeed; of the draws 0 to SUCCESS_RATE - 1, "
                f"0 corrupts a result and 1 lets a node fail, so at least {LOWEST_RATE} is needed"
            )
        if not 1 <= self.hash_iterations <= MOST_ITERATIONS:
            raise SettingsError(
                f"HASH_ITERATIONS={self.hash_iterations}: must be from 1 to {MOST_ITERATIONS}; a node has "
                f"{self.node_timeout:g} s for its work, and a browser cannot do more in that time"
            )
        if not 0 <= self.port <= 65535:
            raise SettingsError(f"PORT={self.port}: must be from 0 to 65535 (0 takes any free one)")
        if self.dbg is not None:
            try_out(self.dbg)


def try_out(dbg: Path) -> None:
    """Raises `SettingsError` if nothing can be recorded there: a run should not end without its record."""
    try:
        if dbg.is_dir() or not dbg.parent.is_dir():
            raise SettingsError(f"DBG={dbg}: must be a file in a directory that is there")
        SingleDump(dbg).try_out()
    except OSError as error:
        raise SettingsError(f"DBG={dbg}: cannot be written: {error.strerror}") from error


def read(argv: Sequence[str], environ: Mapping[str, str], *, random_seed: Callable[[], int] | None = None) -> Settings:
    """Reads the settings. Raises `SettingsError` with the reason; `--help` prints the help and ends the program."""
    given = parser().parse_args(argv)
    switch = Reader(given, environ)
    headless = switch.flag("headless")
    seed = switch.number("seed")
    return Settings(
        seed=(random_seed or fresh_seed)() if seed is None else seed,
        success_rate=_or(switch.number("success_rate"), Settings.success_rate),
        hash_iterations=_or(switch.number("hash_iterations"), QUICK_ITERATIONS if headless else DEMO_ITERATIONS),
        port=_or(switch.number("port"), Settings.port),
        headless=headless,
        exit_on_completed=switch.flag("exit_on_completed"),
        dbg=None if (dump := switch.text("dbg")) is None else Path(dump),
    )


def fresh_seed() -> int:
    """A seed that is short enough to be typed again."""
    return secrets.randbelow(1_000_000)


@dataclass(frozen=True)
class Reader:
    """Looks a setting up on the command line first, then in the environment under its name in capitals."""

    given: argparse.Namespace
    environ: Mapping[str, str]

    def text(self, name: str) -> str | None:
        """The setting's text; None when it is not set, or set to nothing."""
        value = getattr(self.given, name)
        return value or self.environ.get(name.upper()) or None

    def number(self, name: str) -> int | None:
        """The setting as a whole number. Raises `SettingsError` for anything else."""
        text = self.text(name)
        try:
            return None if text is None else int(text)
        except ValueError:
            raise SettingsError(f"{name.upper()}={text}: must be a whole number") from None

    def flag(self, name: str) -> bool:
        """The setting as a switch. Raises `SettingsError` for what is neither on nor off."""
        text = (self.text(name) or "0").lower()
        if text not in ON | OFF:
            raise SettingsError(f"{name.upper()}={text}: must be 0 or 1")
        return text in ON


class Parser(argparse.ArgumentParser):
    """Reports every mistake the same way as an impossible setting."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message}; see --help")


def parser() -> Parser:
    """The command line. Its values are kept as texts, so that both sources are read by the same rules."""
    made = Parser(
        prog="python -m examples.wasm_workflow",
        description="Five machines, one here and four in a browser tab, work through a graph of tasks together.",
        epilog="Each option can also be set in the environment, for example SEED=7.",
    )
    made.add_argument("--seed", metavar="N", help="decides every corruption and failure (default: a random number)")
    made.add_argument("--success-rate", metavar="N", help="2 of N draws go wrong (default: 5)")
    made.add_argument(
        "--hash-iterations",
        metavar="N",
        help=f"work per node (default: {DEMO_ITERATIONS}, headless {QUICK_ITERATIONS})",
    )
    made.add_argument("--port", metavar="N", help="port of the page (default: 14050; a busy one is replaced)")
    made.add_argument(
        "--headless", nargs="?", const="1", metavar="1|0", help="open the page in Chromium, print the run, then end"
    )
    made.add_argument("--exit-on-completed", nargs="?", const="1", metavar="1|0", help="end when the work is delivered")
    made.add_argument("--dbg", metavar="FILE", help="record the five machines there; `am dbg ls FILE` lists it")
    return made


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
