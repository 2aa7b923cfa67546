"""Commands for the tests of `am`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn

import asyncmachine as am


def command(act: Callable[[argparse.Namespace], int]) -> Callable[[argparse.ArgumentParser], None]:
    """A `configure` of something to do."""

    def configure(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--size", type=int, default=0)
        parser.set_defaults(run=act)

    return configure


def _raising(error: BaseException) -> Callable[[argparse.Namespace], int]:
    def act(options: argparse.Namespace) -> NoReturn:
        raise error

    return act


def _endless(options: argparse.Namespace) -> int:
    while True:
        print("more", flush=True)


fine = command(lambda options: options.size)
failing = command(_raising(OSError("it cannot be")))
refusing = command(_raising(am.AmError("it cannot be")))
interrupted = command(_raising(KeyboardInterrupt()))
endless = command(_endless)
