"""`am relay …`: the relay on a command line. `am` finds `configure` by its entry point."""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from asyncmachine.machine.settings import DEBUGGER_ADDRESS
from asyncmachine_relay import logs
from asyncmachine_relay.config import DEFAULT_PORT, Config
from asyncmachine_relay.doubts import doubts
from asyncmachine_relay.lookups import doubtful_names
from asyncmachine_relay.loops import loop_factory
from asyncmachine_relay.policy import RelayConfigError
from asyncmachine_relay.reading import ConfigProblems, Where, examine, read
from asyncmachine_relay.service import check, run

BAD_USE = 2

_UNITS: Mapping[str, float] = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands."""
    parser.description = "Serve pages and carry their tunnels, or record what machines do."
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    wasm = commands.add_parser(
        "wasm",
        help="serve a page, and tunnels to the targets of a configuration",
        description="Serves the files of pages, and carries what they send through WebSockets to TCP targets and back. "
        "Without any option: loopback only, own Origin only, no targets, no files. Every setting of the file can be an "
        "environment variable, as AM_RELAY_SERVER_PORT.",
    )
    _common(wasm, f"127.0.0.1:{DEFAULT_PORT}")
    wasm.add_argument("-s", "--static-dir", metavar="DIR", type=Path, help="serve these files at /")
    wasm.add_argument("-r", "--repl-addr-dir", metavar="DIR", type=Path, help="where addresses of REPLs are left")
    wasm.set_defaults(run=_wasm)

    rotate = commands.add_parser(
        "rotate-dbg",
        help="record the debug stream into rotated files",
        description="Takes what machines send, and writes .amdbg files. A program sends if it calls "
        "asyncmachine.telemetry.dbg.debug_env(machine) and runs with AM_DBG_ADDR=1.",
    )
    _common(rotate, DEBUGGER_ADDRESS)
    rotate.add_argument(
        "-f", "--fwd-addr", metavar="ADDR", action="append", default=[], help="send it on to there as well (repeatable)"
    )
    rotate.add_argument("--interval-tx", metavar="N", type=int, help="begin a file after so many records (10000)")
    rotate.add_argument("--interval-duration", metavar="TIME", type=duration, help="or after that time (24h)")
    rotate.add_argument("-o", "--output", metavar="NAME", help="how the files' names begin (am-dbg-dump)")
    rotate.add_argument("-d", "--dir", metavar="DIR", type=Path, help="where they are written (.)")
    rotate.set_defaults(run=_rotate)

    checking = commands.add_parser("check", help="say what is wrong with a configuration file")
    checking.add_argument("file", metavar="FILE", type=Path)
    checking.set_defaults(run=_check)


def duration(text: str) -> float:
    """Seconds, from `90`, `90s`, `15m`, `24h` or `7d`."""
    unit = _UNITS.get(text[-1:], None)
    try:
        seconds = float(text if unit is None else text[:-1]) * (unit or 1)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 90s, 15m, 24h or 7d")
    return seconds


def address(text: str) -> tuple[str, int]:
    """(host, port), from `host:port`, `[host]:port` or `:port`."""
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no address: write host:port, as 127.0.0.1:12733")
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


def _common(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("-c", "--config", metavar="FILE", type=Path, help="a TOML file (docs/relay.md)")
    parser.add_argument("-l", "--listen-addr", metavar="ADDR", type=address, help=f"host:port ({default})")
    parser.add_argument("-n", "--name", metavar="NAME", help="its machine is relay-NAME")
    parser.add_argument("--log", choices=("text", "json"), help="how log lines are written")
    parser.add_argument(
        "--debug", action="store_true", help="show what it does to a debugger (AM_DBG_ADDR, or localhost:6831)"
    )


def _wasm(options: argparse.Namespace) -> int:
    def with_options(config: Config) -> Config:
        config = _overlay(config, options)
        if options.static_dir is not None:
            roots = (options.static_dir, *config.pages.roots)
            config = replace(config, pages=replace(config.pages, roots=roots))
        if options.repl_addr_dir is not None:
            config = replace(config, operation=replace(config.operation, address_dir=options.repl_addr_dir))
        return config

    return _serve(options, with_options, {})


def _rotate(options: argparse.Namespace) -> int:
    def with_options(config: Config) -> Config:
        config = _overlay(config, options)
        given: dict[str, Any] = {
            "interval_tx": options.interval_tx,
            "interval": options.interval_duration,
            "base": options.output,
            "dir": options.dir,
            "forward": (*config.dbg.forward, *options.fwd_addr),
            "ingest": True,
        }
        debug = replace(config.dbg, **{name: value for name, value in given.items() if value is not None})
        # A program may call this machine by any of its names; none of them can be made to mean another.
        return replace(config, dbg=debug, server=replace(config.server, local_names=True))

    host, port = address(DEBUGGER_ADDRESS)
    return _serve(options, with_options, {("server", "host"): host, ("server", "port"): port})


def _check(options: argparse.Namespace) -> int:
    try:
        config, doubtful = examine(options.file, check, lambda config: [*doubts(config), *doubtful_names(config)])
    except ConfigProblems as error:
        return _complain(error.problems)
    _complain(doubtful)
    count = len(config.targets)
    targets = f"{count} target{'' if count == 1 else 's'}"
    print(f"{options.file}: fine; {targets}, listens on {config.server.host}:{config.server.port}")
    return 0


def _overlay(config: Config, options: argparse.Namespace) -> Config:
    """The options that all commands share count more than the file."""
    if options.listen_addr is not None:
        host, port = options.listen_addr
        config = replace(config, server=replace(config.server, host=host, port=port))
    if options.name is not None:
        config = replace(config, name=options.name)
    if options.log is not None:
        config = replace(config, operation=replace(config.operation, log=options.log))
    return config


def _serve(
    options: argparse.Namespace, with_options: Callable[[Config], Config], defaults: Mapping[Where, object]
) -> int:
    def settings() -> Config:
        return with_options(read(options.config, defaults=defaults))

    try:
        operation = settings().operation
        logs.configure(operation.log)
        with asyncio.Runner(loop_factory=loop_factory(operation.loop)) as runner:
            code = runner.run(run(settings, say=lambda text: print(text, flush=True), debug=options.debug))
        gc.freeze()  # the interpreter would look through all modules for garbage, for a second on a busy computer
        return code
    except ConfigProblems as error:
        return _complain(error.problems)
    except RelayConfigError as error:
        return _complain([str(error)])


def _complain(problems: Sequence[str]) -> int:
    for problem in problems:
        print(problem, file=sys.stderr)
    return BAD_USE
