"""A relay as a program: from its settings to its exit code, with the signals in between.

SIGTERM, SIGINT   no new tunnels, those that are open may leave, then 1001; a second one does not wait
SIGHUP            reads the settings again; targets, meetings and secrets are taken over, tunnels stay
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import fields, is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from asyncmachine.telemetry.dbg.address import dial_to, url_of
from asyncmachine.telemetry.dbg.dumps import RotatingDumps, Rotation
from asyncmachine.telemetry.dbg.errors import AddressError, DbgError
from asyncmachine.telemetry.dbg.line import FAREWELL
from asyncmachine.telemetry.dbg.recorder import Recorder
from asyncmachine_relay.app import Relay
from asyncmachine_relay.cluster_config import Cluster
from asyncmachine_relay.config import Config, Debug
from asyncmachine_relay.policy import RelayConfigError
from asyncmachine_relay.reading import Where
from asyncmachine_relay.secret_files import secret_of
from asyncmachine_relay.server import RelayServer, bind, place_of
from asyncmachine_relay.watching import Watched

logger = logging.getLogger("asyncmachine.relay")

IN_TIME = 9.0
"""Seconds from the first signal until nothing is waited for any more; what is there after 10 s is killed."""
CLOSING = 1.5
"""Seconds of these for closing what did not leave, less after the longest drain; after that it is dropped."""
PARTING = 0.1
"""Seconds of these that are kept for the other relays, and as many for those to whom the debug stream is sent on."""

RELOADED = frozenset({"targets", "meetings", "server.secret_file", "operation.token_file"})
"""Settings that SIGHUP takes over. To have no secret file any more is not among them."""

Settings = Callable[[], Config]
"""Reads the settings, again and again. Raises `RelayConfigError`."""


async def run(settings: Settings, *, say: Callable[[str], object] = print, debug: bool = False) -> int:
    """Serves until a signal comes; returns 0. Raises `RelayConfigError` for what cannot be served.

    With `debug` a debugger sees what it does, without `AM_DBG_ADDR` too.
    """
    config = settings()
    cluster_of(config.cluster)
    server = config.server
    async with AsyncExitStack() as stack:
        recorder = recorder_of(config.dbg)
        relay = Relay.of(config, recorder=recorder)
        bound = bind(server.host, server.port, move=server.move, insecure=server.insecure)
        if bound.notice:
            say(bound.notice)
        watched = Watched(relay.machine, bound.host, bound.port, debug=debug)
        if recorder is not None:
            await stack.enter_async_context(recorder.running())
        serving = RelayServer(relay, bound)
        signals = _Signals(asyncio.get_running_loop(), lambda: reload(relay, settings, config))
        stack.callback(signals.close)
        await serving.start()
        say(f"{relay.machine.id} on {serving.origin}")
        if recorder is not None:
            say(f"records what machines do into {config.dbg.dir.resolve() / config.dbg.base}-*.amdbg")
        await signals.first.wait()
        begun = asyncio.get_running_loop().time()
        await _end(serving, config.operation.drain, signals.second)
        left = parting(asyncio.get_running_loop().time() - begun)
        if recorder is not None:
            recorder.farewell = left
        saying = asyncio.create_task(watched.end(left))
        await stack.aclose()
        await saying
    return 0


def recorder_of(debug: Debug) -> Recorder | None:
    """What takes the debug stream, None when it is off. Raises `RelayConfigError`, for a wrong `forward` then too."""
    try:
        dials = [dial_to(url_of(address)) for address in debug.forward]
    except AddressError as error:
        wrong = f"{error}; write it as ws://localhost:6831/dbg.ws"
        raise RelayConfigError(wrong, field="forward") from error
    if not debug.ingest:
        return None
    rotation = Rotation(
        records=debug.interval_tx,
        seconds=debug.interval,
        bytes=debug.file_bytes,
        keep_files=debug.max_files,
        keep_bytes=debug.max_bytes,
    )
    try:
        dumps = RotatingDumps(debug.dir, debug.base, rotation)
        dumps.try_out()
    except DbgError as error:
        raise RelayConfigError(str(error), field="base") from error
    except OSError as error:
        wrong = f"dir {debug.dir}: {error.strerror}; give a directory that the relay's user can write to"
        raise RelayConfigError(wrong, field="dir") from error
    return Recorder(dumps, forward=dials)


def check(config: Config) -> list[tuple[Where, str]]:
    """What a file cannot say about itself: secrets, functions and directories that are not there. Listens nowhere.

    Each problem has the setting that it is of.
    """
    server = config.server
    problems: list[tuple[Where, str]] = []
    attempts: list[tuple[str, Callable[[], object]]] = [
        ("server", lambda: place_of(server.host, server.port, insecure=server.insecure)),
        ("server", server.load_authorize),
        ("server", server.load_secret),
        ("operation", config.operation.load_token),
        ("cluster", lambda: cluster_of(config.cluster)),
        ("dbg", lambda: recorder_of(config.dbg)),
        ("operation", lambda: _check_directory(config.operation.address_dir)),
    ]
    for section, attempt in attempts:
        try:
            attempt()
        except RelayConfigError as error:
            problems.append(((section, error.field), str(error)))
    return problems


def cluster_of(cluster: Cluster) -> None:
    """Raises `RelayConfigError` for what a cluster needs and is not there."""
    if not cluster.on:
        return
    if find_spec("nats") is None:
        raise RelayConfigError(
            "a cluster needs the package nats-py: pip install asyncmachine[relay-nats]", field="nats"
        )
    cluster.tls()
    if cluster.token_file is not None:
        secret_of(cluster.token_file, "token_file")


def _check_directory(path: Path | None) -> None:
    if path is not None and path.exists() and not path.is_dir():
        wrong = f"address_dir {path} is no directory; give one that can be written"
        raise RelayConfigError(wrong, field="address_dir")


def dropping(drain: float) -> float:
    """Seconds from the first signal until what has not ended is dropped."""
    return min(drain + CLOSING, IN_TIME - 2 * PARTING)


def parting(passed: float) -> float:
    """Seconds that are left after `passed` ones for what is still to be sent on."""
    return max(PARTING, min(FAREWELL, IN_TIME - passed))


async def _end(serving: RelayServer, drain: float, hurry: asyncio.Event) -> None:
    """Drains, closes, and drops what is left."""
    stopping = asyncio.create_task(serving.stop(drain=drain))
    hurrying = asyncio.create_task(hurry.wait())
    await asyncio.wait({stopping, hurrying}, timeout=dropping(drain), return_when=asyncio.FIRST_COMPLETED)
    hurrying.cancel()
    if not stopping.done():
        logger.warning("what has not ended by now is dropped")
        stopping.cancel()
        await asyncio.wait({stopping}, timeout=PARTING)  # for a word to the other relays
        # Whoever was still given time to leave is told why it ends.
        with suppress(TimeoutError):
            async with asyncio.timeout(PARTING):
                await serving.stop()
    stopping.cancel()
    with suppress(asyncio.CancelledError):
        await stopping


def reload(relay: Relay, settings: Settings, running: Config) -> None:
    """Takes over what can be changed while it runs, and tells of what cannot: `running` it began with."""
    try:
        config = settings()
        relay.reload(config)
    except RelayConfigError as error:
        logger.error("the settings of before stay: %s", error)  # noqa: TRY400 (the message tells all)
    except Exception:
        logger.exception("the settings of before stay")
    else:
        logger.info("targets, meetings and secrets were read again")
        waiting = list(later(running, config))
        if waiting:
            logger.warning("a restart is needed for what has changed in %s", ", ".join(waiting))


def later(running: Any, config: Any, section: str = "") -> Iterator[str]:
    """The names of settings that differ and are not taken over by `reload`, as "limits.tunnels"."""
    for each in fields(running):
        name, one, other = f"{section}{each.name}", getattr(running, each.name), getattr(config, each.name)
        if is_dataclass(one):
            yield from later(one, other, f"{name}.")
        elif one != other and (name not in RELOADED or (name == "server.secret_file" and other is None)):
            yield name


class _Signals:
    """SIGTERM and SIGINT set `first`, then `second`; SIGHUP calls `reload`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, reload: Callable[[], None]) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        self._loop = loop
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, reload)

    def close(self) -> None:
        """Gives the signals back."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._loop.remove_signal_handler(number)

    def _stop(self) -> None:
        (self.second if self.first.is_set() else self.first).set()
