"""The hook for a REPL: a machine can be looked at and moved from another process, if the environment says so.

::

    AM_REPL_ADDR=1 AM_REPL_DIR=run python app.py

    hook = rpc.repl_hook(machine)                              # None without AM_REPL_ADDR
    client = rpc.Client(rpc.repl_dial(file), no_schema=True)   # what a REPL does

Who can connect may do everything with the machine. So it listens at a loopback address, and elsewhere only if `allow`
decides who that is.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from asyncmachine.machine.args import Args
from asyncmachine.machine.event import Event
from asyncmachine.machine.settings import Settings, SettingsError
from asyncmachine.machine.view import View
from asyncmachine.machine.wait import Wait
from asyncmachine.rpc.grants import Allow
from asyncmachine.rpc.held_files import HeldFile, sweep
from asyncmachine.rpc.mux import Mux
from asyncmachine.rpc.repl_files import SUFFIX
from asyncmachine.rpc.server import Server
from asyncmachine.rpc.states import Listening
from asyncmachine.rpc.states import ServerStates as S
from asyncmachine.rpc.transport import Dial
from asyncmachine.rpc.transport.addresses import Address, AddressError

FILE_ID: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
"""Ids that may be a part of a file's name."""

logger = logging.getLogger("asyncmachine.rpc")


class ReplHook:
    """An exposed machine. It ends with the machine, or by `stop`. Made by `repl_hook`.

    At an address a mux `repl-<id>` takes any number of clients, and `<id>-repl.addr` in the `folder` tells where while
    it listens (files of processes that were killed are removed there, and told from others by `repl_dial`); through a
    relay a server `repl-<id>` takes one. What happens shows in the `machine` of either.
    """

    def __init__(self, end: Mux | Server, source: View[Any], folder: Path | None = None) -> None:
        self.end = end
        self._file = None if folder is None else HeldFile(folder / f"{source.id}{SUFFIX}")
        self._loop = asyncio.get_running_loop()
        self._ending: asyncio.Task[None] | None = None
        if isinstance(end, Mux):
            end.machine.bind({"ReadyState": self._opened, "ReadyEnd": self._closed})
        source.on_dispose(self._disposed)

    @property
    def file(self) -> Path | None:
        """Where the address is written."""
        return None if self._file is None else self._file.path

    @property
    def address(self) -> str:
        """Where it listens, as `rpc.Client` takes it; empty before it is ready, and through a relay."""
        return self.end.address if isinstance(self.end, Mux) else ""

    def when_ready(self) -> Wait:
        """Met when a REPL can connect."""
        return self.end.when_ready() if isinstance(self.end, Mux) else self.end.machine.when(S.RpcReady)

    async def stop(self) -> None:
        """Says goodbye to whoever is connected, and removes the file."""
        self._remove()
        await self.end.stop()
        self._remove()  # should it have come to listen meanwhile
        self.end.machine.dispose()

    def _opened(self, e: Event) -> None:
        if self._file is not None:
            try:
                self._file.write(e.args(Listening).address)
            except OSError:
                logger.exception("%s: no REPL will find this machine", e.machine.id)

    def _closed(self, e: Event) -> None:
        self._remove()

    def _remove(self) -> None:
        if self._file is not None:
            self._file.remove()

    def _disposed(self, _: str) -> None:
        self._remove()
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if self._ending is None:
            self._ending = self._loop.create_task(self.stop())


def repl_hook(
    machine: View[Any],
    settings: Settings | None = None,
    *,
    dial: Dial | None = None,
    allow: Allow | None = None,
    args: Iterable[type[Args]] | None = None,
) -> ReplHook | None:
    """Exposes a machine to REPLs, if `settings` (the environment's unless given) say so. Needs a running loop.

    None without `AM_REPL_ADDR`, and in a test (`AM_TEST_RUNNER`). With `dial` it is reached through a relay: in a page
    there is no other way. A REPL gives arguments by name: they are made into the typed records of their states, of the
    classes in `args` (all that are known, unless given), or refused with the reason.

    Raises `SettingsError` for an address that is none or is not of this computer (`allow` lets it be), and for an id
    that cannot be part of a file's name; `SchemaError` if the machine has handlers but no state `ErrOnClient`.
    """
    settings = settings or Settings.from_env()
    if not settings.is_repl:
        return None
    name = f"repl-{machine.id}"
    kinds = Args.registry.values() if args is None else tuple(args)
    if dial is not None:
        server = Server(machine, name, allow=allow, args=kinds)
        server.listen(dial)
        return ReplHook(server, machine)
    if sys.platform == "emscripten":
        raise SettingsError("a page cannot listen: give repl_hook the dial= of a relay")
    address = _checked(settings.repl, elsewhere=allow is not None)
    folder = _folder(settings.repl_dir, machine.id)
    mux = Mux(machine, address, name, allow=allow, args=kinds)
    hook = ReplHook(mux, machine, folder)
    mux.start()
    return hook


def _checked(text: str, *, elsewhere: bool) -> str:
    address = text if "://" in text else f"tcp://{text}"
    try:
        parsed = Address.parse(address)
    except AddressError as error:
        raise SettingsError(f"AM_REPL_ADDR: {error}") from error
    if parsed.host and not elsewhere and not _is_loopback(parsed.host):
        raise SettingsError(
            f"AM_REPL_ADDR: {parsed.host} is not of this computer, and whoever connects may do everything: "
            "say who may by allow="
        )
    return address


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _folder(text: str, id: str) -> Path | None:
    if not text:
        return None
    if FILE_ID.fullmatch(id) is None:
        raise SettingsError(f"AM_REPL_DIR: {id!r} cannot be part of a file's name, expected letters, digits, _ . -")
    folder = Path(text)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"AM_REPL_DIR: {error}") from error
    sweep(folder, f"*{SUFFIX}")
    return folder
