"""Attaching: from a machine and an address to a stream, in one call.

Natively a URL is dialled from a thread of its own, so that a program without an event loop is seen, and one whose loop
is blocked. In a browser, and for a dial function, the sender lives in the running loop.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import socket
import threading
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from asyncmachine.helpers.logs import log_env
from asyncmachine.machine.api import Api
from asyncmachine.machine.settings import Settings, flag
from asyncmachine.machine.view import View
from asyncmachine.telemetry.dbg.address import IN_BROWSER, Dial, dial_to, url_of
from asyncmachine.telemetry.dbg.line import FAREWELL, IN_PAGE, NATIVE
from asyncmachine.telemetry.dbg.sender import Sender, SenderOptions

AT_EXIT: Final = 1.0
"""Seconds that the end of the program waits for what is left to send."""


class Running(Protocol):
    """A sender at work."""

    @property
    def sender(self) -> Sender:
        """The sender."""


@dataclass(frozen=True, slots=True)
class InLoop:
    """A sender in the loop that was running when it was made."""

    sender: Sender
    task: asyncio.Task[None]


def _own_loop() -> asyncio.AbstractEventLoop:
    """One that looks names up where it runs: a program that ends lets no thread begin, and has things to tell yet."""

    class Loop(asyncio.SelectorEventLoop):
        async def getaddrinfo(self, *place: Any, **hints: Any) -> Any:
            return socket.getaddrinfo(*place, **hints)

    return Loop()


class InThread:
    """A sender in a thread of its own, which ends with it."""

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="asyncmachine-debugger", daemon=True)
        self._thread.start()
        self._ready.wait()

    def close(self, farewell: float) -> None:
        """Ends it from another thread; takes at most about `farewell` seconds."""
        loop = self._loop
        if loop is not None and self._thread.is_alive():
            try:
                loop.call_soon_threadsafe(self._closing.set)
            except RuntimeError:
                return  # it has just ended
            self._thread.join(2 * farewell)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=_own_loop) as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            task = self.sender.start()
        finally:
            self._ready.set()
        closing = self._loop.create_task(self._closing.wait())
        await asyncio.wait({task, closing}, return_when=asyncio.FIRST_COMPLETED)
        closing.cancel()
        await self.sender.close(AT_EXIT)


_guard = threading.Lock()
_running: dict[Hashable, Running] = {}


@dataclass(frozen=True, slots=True)
class Attachment:
    """A watched machine."""

    machine: View[Any]
    sender: Sender

    def detach(self) -> None:
        """Watches the machine no longer. Its children stay watched."""
        self.sender.detach(self.machine)

    async def close(self, farewell: float = FAREWELL) -> None:
        """Sends what waits, for `farewell` seconds at most, and ends the stream of all machines of this address."""
        await self.sender.close(farewell)


def attach(machine: View[Any], address: str | Dial = "1", *, options: SenderOptions | None = None) -> Attachment | None:
    """Streams what a machine does to the recorder at an address, or behind a dial function. None if it is disposed of.

    Its children follow. All machines of one address share a connection, whose options are those of the first; attaching
    one twice does nothing. Connecting, and coming back after a loss, is done behind the scenes. Raises `AddressError`,
    and `RuntimeError` for a dial function without a running loop.
    """
    target: Hashable = url_of(address) if isinstance(address, str) else address
    while not machine.is_disposed:
        with _guard:
            for ended in [key for key, running in _running.items() if running.sender.is_finished]:
                del _running[ended]
            running = _running.get(target)
            if running is None:
                running = _running[target] = _start(target, options)
        if running.sender.attach(machine) is not None:
            return Attachment(machine, running.sender)
    return None


def debug_env(
    machine: View[Any], settings: Settings | None = None, *, internal: bool | None = None
) -> Attachment | None:
    """Sets up a machine's log and debug stream as the environment says, or the given settings.

    Without `AM_DBG_ADDR`, and in a test (`AM_TEST_RUNNER`), there is no stream and None is returned. A page gives what
    it has in place of an environment: ``debug_env(machine, Settings.from_env(mapping))``. `internal` is that of
    `SenderOptions`; None asks `AM_RPC_DBG`.
    """
    internal = flag(os.environ, "AM_RPC_DBG") if internal is None else internal
    settings = Settings.from_env() if settings is None else settings
    log_env(cast("Api[Any]", machine), settings)
    if not settings.is_telemetry:
        return None
    options = SenderOptions(internal=internal, stacks=settings.debugger_traces, trace_filter=settings.trace_filter)
    return attach(machine, settings.debugger, options=options)


def _start(target: Hashable, options: SenderOptions | None) -> Running:
    if not isinstance(target, str):
        sender = Sender(target, options=options)  # type: ignore[arg-type]
        return InLoop(sender, sender.start())
    sender = Sender(dial_to(target), name=target, options=options, absence=IN_PAGE if IN_BROWSER else NATIVE)
    return InLoop(sender, sender.start()) if IN_BROWSER else InThread(sender)


@atexit.register
def _close_all() -> None:
    """Sends what is left of a program that ends."""
    for running in tuple(_running.values()):
        if isinstance(running, InThread):
            running.close(AT_EXIT)
