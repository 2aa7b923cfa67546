"""Where the tools of this machine find a page's REPL: `<dir>/<id>.addr` holds the address that leads to it.

A file is written once the port is open, whole or not at all, for its owner only, and removed when the port closes. Its
lock is held as long, so that files of a process that was killed can be told from those of one that lives.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from asyncmachine_relay.policy import RelayConfigError, check_id

logger = logging.getLogger("asyncmachine.relay")

PREFIX = "repl-"
"""Ids that begin so get a file."""
SUFFIX = ".addr"


class AddressFiles:
    """The files in one directory, which is made if it is not there. Raises `RelayConfigError` if it cannot be."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise RelayConfigError(f"{directory}: {error.strerror}; give a directory that can be written") from error

    def sweep(self) -> list[str]:
        """Removes files that a relay left behind when it was killed; returns their names."""
        removed = []
        for path in sorted(self._directory.glob(f"{PREFIX}*{SUFFIX}")):
            with suppress(OSError):
                file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                    removed.append(path.name)
                finally:
                    os.close(file)
        return removed

    @contextmanager
    def holding(self, id: str, address: str) -> Iterator[None]:
        """The file of an id, as long as this is entered; other ids than a REPL's get none."""
        if not id.startswith(PREFIX):
            yield
            return
        path = self._directory / f"{check_id(id)}{SUFFIX}"
        file = self._write(path, address)
        try:
            yield
        finally:
            with suppress(OSError):
                if os.path.samestat(os.fstat(file), path.lstat()):
                    path.unlink()
            os.close(file)

    def _write(self, path: Path, address: str) -> int:
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            os.write(file, address.encode())
            draft.replace(path)
        except BaseException:
            os.close(file)
            with suppress(OSError):
                draft.unlink()
            raise
        return file
