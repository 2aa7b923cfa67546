"""Files that tell where a machine can be reached: `<id>-repl.addr`, as long as it can.

Another process may listen at the port of one that was killed by now. So its file leads nobody there (see `held_files`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from asyncmachine.helpers.file_locks import is_held
from asyncmachine.rpc.transport import Dial, NotOpened, Transport
from asyncmachine.rpc.transport.addresses import AddressError, dial

SUFFIX: Final = "-repl.addr"
LONGEST: Final = 1024
"""Bytes of an address."""


def repl_address(file: str | Path) -> str:
    """What a file says, for `rpc.Client`. Raises `AddressError` if no machine is behind it (any more)."""
    path = Path(file)
    try:
        found = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise AddressError(f"{path}: {error.strerror}; no machine can be reached by this file now") from error
    try:
        if not is_held(found):
            raise AddressError(f"{path}: the process that wrote it has ended without removing it; start it again")
        return os.read(found, LONGEST).decode(errors="replace").strip()
    finally:
        os.close(found)


def repl_dial(file: str | Path) -> Dial:
    """Connects to the machine of a file, which is read each time: a process that was started again is found again."""

    async def to_file() -> Transport:
        try:
            connect = dial(repl_address(file))
        except AddressError as error:
            raise NotOpened(str(error)) from error
        return await connect()

    return to_file
