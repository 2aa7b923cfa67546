"""Where the tools of this machine find a page's REPL: `<dir>/<id>.addr` holds the address that leads to it.

A file is written once the port is open, whole or not at all, for its owner only, and removed when the port closes. Its
lock is held as long (`asyncmachine.rpc.held_files`), so that files of a relay that was killed can be told from others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asyncmachine.rpc.held_files import HeldFile, sweep
from asyncmachine_relay.policy import RelayConfigError, check_id

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
        return [path.name for path in sweep(self._directory, f"{PREFIX}*{SUFFIX}")]

    @contextmanager
    def holding(self, id: str, address: str) -> Iterator[None]:
        """The file of an id, as long as this is entered; other ids than a REPL's get none."""
        if not id.startswith(PREFIX):
            yield
            return
        file = HeldFile(self._directory / f"{check_id(id)}{SUFFIX}")
        file.write(address)
        try:
            yield
        finally:
            file.remove()
