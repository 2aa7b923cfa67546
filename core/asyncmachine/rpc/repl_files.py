"""Files that tell where a machine can be reached: `<id>-repl.addr`, as long as it can.

The process that writes one keeps it locked. So the file of a process that was killed can be told from that of one that
lives, though another process may listen at its port by now. Where there are no such locks, a file counts as good.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

from asyncmachine.rpc.transport import Dial, Transport, TransportClosed
from asyncmachine.rpc.transport.addresses import AddressError, dial

fcntl: Any
try:
    import fcntl
except ImportError:  # not a Unix
    fcntl = None

SUFFIX: Final = "-repl.addr"
LONGEST: Final = 1024
"""Bytes of an address."""


class AddressFile:
    """A file of this process. Written as a whole or not at all; nobody else may read it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: int | None = None

    def write(self, address: str) -> None:
        """Puts an address in the place of what is there. Raises `OSError`."""
        draft = self.path.with_name(f".{self.path.name}.{token_hex(4)}")
        held = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            if fcntl is not None:
                with suppress(OSError):  # some file systems of networks have no locks
                    fcntl.flock(held, fcntl.LOCK_EX)
            os.write(held, address.encode())
            draft.replace(self.path)
        except BaseException:
            os.close(held)
            draft.unlink(missing_ok=True)
            raise
        self._let_go()
        self._held = held

    def remove(self) -> None:
        """Removes it, unless another process has put its own in its place."""
        with suppress(OSError):
            if self._held is not None and os.path.samestat(os.fstat(self._held), self.path.lstat()):
                self.path.unlink()
        self._let_go()

    def _let_go(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None


def sweep(folder: Path) -> list[Path]:
    """Removes the files of processes that were killed; returns which they were."""
    removed = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with suppress(OSError):
            file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            try:
                # Another process may have put its own there meanwhile.
                if not _is_held(file) and os.path.samestat(os.fstat(file), path.lstat()):
                    path.unlink()
                    removed.append(path)
            finally:
                os.close(file)
    return removed


def repl_address(file: str | Path) -> str:
    """What a file says, for `rpc.Client`. Raises `AddressError` if no machine is behind it (any more)."""
    path = Path(file)
    try:
        found = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise AddressError(f"{path}: {error.strerror}; no machine can be reached by this file now") from error
    try:
        if not _is_held(found):
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
            raise TransportClosed(reason=str(error)) from error
        return await connect()

    return to_file


def _is_held(file: int) -> bool:
    """Whether the process that wrote it lives."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False
