"""The relay as a machine that others look at: a debugger and a REPL, where the environment says so.

AM_DBG_ADDR=1 am relay wasm -c relay.toml      every tunnel is a machine in the debugger
am relay wasm --debug -c relay.toml            the same, at localhost:6831 unless AM_DBG_ADDR says where
AM_REPL_ADDR=1 am relay wasm -c relay.toml     a REPL can attach to it
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.machine.settings import SettingsError
from asyncmachine.telemetry.dbg.address import url_of
from asyncmachine.telemetry.dbg.attach import Attachment, debug_env
from asyncmachine.telemetry.dbg.errors import AddressError
from asyncmachine_relay.policy import RelayConfigError

GOODBYE = 0.1
"""Seconds for it."""
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


class Watched:
    """A relay's machine with what the environment attaches to it; with `debug` a debugger in any case.

    `host` and `port` are where it listens: a recorder does not record itself. Needs a running loop. Raises
    `RelayConfigError` for a variable with a value that it cannot have.
    """

    def __init__(
        self,
        machine: am.Machine[Any],
        host: str,
        port: int,
        *,
        debug: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._machine = machine
        self._attachment: Attachment | None = None
        self._hook: rpc.ReplHook | None = None
        try:
            settings = am.Settings.from_env(_with_debugger(os.environ if env is None else env, debug=debug))
            if settings.is_telemetry and _is_at(url_of(settings.debugger), host, port):
                settings = replace(settings, debugger="")
            # In this order, the debugger does not see those of the hook; tunnels are machines of the relay's own.
            self._hook = rpc.repl_hook(machine, settings)
            self._attachment = debug_env(machine, settings, internal=True)
        except (SettingsError, AddressError) as error:
            raise RelayConfigError(str(error)) from error

    async def end(self, farewell: float) -> None:
        """Disposes of the machine. What waits for the debugger has `farewell` seconds; a REPL hears goodbye."""
        hook, self._hook = self._hook, None
        if hook is not None:
            stopping = asyncio.create_task(hook.stop())
            await asyncio.wait({stopping}, timeout=GOODBYE)
            stopping.cancel()
        self._machine.dispose()
        if self._attachment is not None:
            await self._attachment.close(farewell)


def _with_debugger(env: Mapping[str, str], *, debug: bool) -> Mapping[str, str]:
    return {**env, "AM_DBG_ADDR": env.get("AM_DBG_ADDR") or "1"} if debug else env


def _is_at(url: str, host: str, port: int) -> bool:
    parts = urlsplit(url)
    return parts.port == port and parts.hostname in {*_HERE, host}
