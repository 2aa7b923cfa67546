"""Dumps on disk: what a recorder writes to. A file is written under a temporary name, and renamed when it is whole.

A recorder that is killed leaves its last ``.part`` behind, which reads like any other file cut short. While it lives it
keeps that file locked, so that others who record into the same folder do not take it for one of the dead.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, Final, Protocol

from asyncmachine.helpers.file_locks import hold, is_held
from asyncmachine.telemetry.dbg.amdbg import SUFFIX, DumpWriter
from asyncmachine.telemetry.dbg.errors import DbgError

PART: Final = ".part"
NANOSECONDS: Final = 1_000_000_000
BASE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
MOST_COLLISIONS: Final = 10_000
NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
OWNER_ONLY: Final = 0o600

Entry = tuple[int, int, bytes]
"""Connection, receiver's time, frame."""

logger = logging.getLogger("asyncmachine.telemetry")


class Output(Protocol):
    """Where a recorder writes to. Only `begin` and what follows may raise `OSError`."""

    @property
    def is_open(self) -> bool:
        """True between `begin` and `finish`."""

    @property
    def ends_when_idle(self) -> bool:
        """True if a file is finished when the last sender has left."""

    def begin(self, now: int, known: Iterable[Entry]) -> None:
        """Begins a file with what is known of the machines."""

    def write(self, entry: Entry, records: int) -> None:
        """Appends a frame with so many records."""

    def is_full(self, now: int) -> bool:
        """True if the file should be finished."""

    def flush(self) -> None:
        """Lets readers see what there is."""

    def finish(self, now: int) -> Path | None:
        """Ends the file. Returns it; None if it had nothing to tell, and is gone."""

    def abandon(self) -> None:
        """Closes the file as it is, after an error."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a file ends (records, seconds, bytes) and how much is kept (files, bytes). The oldest go first."""

    records: int = 10_000
    seconds: float = 24 * 3600.0
    bytes: int = 64 << 20
    keep_files: int = 100
    keep_bytes: int = 1 << 30


class Dumps:
    """What all outputs on disk have in common. Files may be read by their owner alone."""

    ends_when_idle = False

    def __init__(self, folder: Path, base: str) -> None:
        self.folder = folder
        self.base = base
        self._part = folder
        self._file: BinaryIO | None = None
        self._writer: DumpWriter | None = None
        self._begun = 0
        self._records = 0

    @property
    def is_open(self) -> bool:
        """True between `begin` and `finish`."""
        return self._writer is not None

    def try_out(self) -> None:
        """Raises `OSError` if no file can be written. Leaves nothing behind, no folders either."""
        missing = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
        made = []
        try:
            for folder in reversed(missing):
                folder.mkdir()
                made.append(folder)
            with NamedTemporaryFile(dir=self.folder, prefix=f"{self.base}-", suffix=PART):
                pass
        finally:
            for folder in reversed(made):
                # Not if another program has put something there.
                with suppress(OSError):
                    folder.rmdir()

    def begin(self, now: int, known: Iterable[Entry]) -> None:
        """Begins a file with what is known of the machines."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._part, self._file = new_part(self.folder, f"{self.base}-{stamp(now)}")
        self._writer = DumpWriter(self._file, now)
        self._begun, self._records = now, 0
        for entry in known:
            self._writer.write(*entry)

    def write(self, entry: Entry, records: int) -> None:
        """Appends a frame with so many records."""
        if self._writer is not None:
            self._writer.write(*entry)
            self._records += records

    def is_full(self, now: int) -> bool:
        """True if the file should be finished."""
        return False

    def flush(self) -> None:
        """Lets readers see what there is, in the ``.part``."""
        if self._writer is not None:
            self._writer.flush()

    def finish(self, now: int) -> Path | None:
        """Ends the file, and gives it its name. Returns that; None if it was not open."""
        file, writer = self._file, self._writer
        if file is None or writer is None:
            return None
        writer.finish()
        os.fsync(file.fileno())
        self._file = self._writer = None
        # Closed, and so let go, when it has its name.
        with file:
            return self._named(self._part, now)

    def abandon(self) -> None:
        """Closes the file as it is, after an error."""
        file, self._file, self._writer = self._file, None, None
        if file is not None:
            with suppress(OSError):
                file.close()

    def _named(self, part: Path, now: int) -> Path:
        raise NotImplementedError


class SingleDump(Dumps):
    """One file, however much there is, finished when the recorder is closed. It replaces one of the same name."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent, path.stem or path.name)
        self._path = path

    def _named(self, part: Path, now: int) -> Path:
        part.replace(self._path)
        return self._path


class RotatingDumps(Dumps):
    """Files ``<base>-<time>.amdbg`` in a folder, called after the time (UTC) of their end. The oldest are deleted."""

    ends_when_idle = True

    def __init__(self, folder: Path, base: str = "am-dbg-dump", rotation: Rotation | None = None) -> None:
        if not BASE_NAME.fullmatch(base):
            raise DbgError(f"a dump cannot be called {base!r}: use letters, digits, and _ . -")
        super().__init__(folder, base)
        self.rotation = rotation or Rotation()

    def is_full(self, now: int) -> bool:
        """True if it has enough records or bytes, or is old enough."""
        rotation, writer = self.rotation, self._writer
        return writer is not None and (
            self._records >= rotation.records
            or writer.size >= rotation.bytes
            or (self._records > 0 and now - self._begun >= rotation.seconds * NANOSECONDS)
        )

    def kept(self) -> list[Path]:
        """The files there are, the oldest first; also those that a recorder which was killed has left behind.

        Not what is being written. Where files cannot be locked, no ``.part`` counts as left behind.
        """
        return [path for path, _ in self._kept()]

    def _kept(self) -> list[tuple[Path, int]]:
        """The same, with their bytes. Others may delete meanwhile."""
        time = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d"
        name = re.compile(rf"{re.escape(self.base)}-{time}(-\d+)?{re.escape(SUFFIX)}({re.escape(PART)})?")
        found = []
        for path in self.folder.iterdir():
            if name.fullmatch(path.name) and not (path.suffix == PART and is_being_written(path)):
                with suppress(FileNotFoundError):
                    status = path.stat()
                    if stat.S_ISREG(status.st_mode):
                        found.append((status.st_mtime_ns, path.name, path, status.st_size))
        return [(path, size) for _, _, path, size in sorted(found)]

    def _named(self, part: Path, now: int) -> Path:
        # Made first, so that the name is ours; nobody else's file is ever replaced.
        path, file = new_file(self.folder, f"{self.base}-{stamp(now)}", SUFFIX)
        file.close()
        try:
            part.replace(path)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        self._retain(path)
        return path

    def _retain(self, newest: Path) -> None:
        """Deletes the oldest files until what is left is within the limits. The newest one always stays."""
        files = self._kept()
        count, size = len(files), sum(each for _, each in files)
        for path, gone in files:
            if count <= self.rotation.keep_files and size <= self.rotation.keep_bytes:
                return
            if path == newest:
                continue
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                logger.warning("%s cannot be deleted: %s", path, error)
                continue
            logger.info("%s deleted, to keep within %d files", path, self.rotation.keep_files)
            count, size = count - 1, size - gone


def new_file(folder: Path, stem: str, suffix: str) -> tuple[Path, BinaryIO]:
    """A file that did not exist: ``<stem><suffix>``, or with a number between the two."""
    for number in range(MOST_COLLISIONS):
        path = folder / f"{stem}{f'-{number}' if number else ''}{suffix}"
        try:
            return path, os.fdopen(os.open(path, NEW_FILE, OWNER_ONLY), "wb")
        except FileExistsError:
            continue
    raise FileExistsError(f"{folder}: {MOST_COLLISIONS} files are called {stem} already")


def new_part(folder: Path, stem: str) -> tuple[Path, BinaryIO]:
    """A file to write, locked. What others delete before it is locked is made again."""
    while True:
        path, file = new_file(folder, stem, f"{SUFFIX}{PART}")
        hold(file.fileno())
        if path.exists():
            return path, file
        file.close()


def is_being_written(path: Path) -> bool:
    """Whether the recorder of a ``.part`` lives; also of one that may not be looked at, or that has gone."""
    try:
        with path.open("rb") as file:
            return is_held(file.fileno())
    except OSError:
        return True


def stamp(now: int) -> str:
    """A time in nanoseconds since 1970 as part of a file name: UTC, to the second."""
    return datetime.fromtimestamp(now / NANOSECONDS, UTC).strftime("%Y-%m-%dT%H-%M-%S")
