"""Files that stand as long as the process that wrote them, so that they can tell where it can be reached.

The process keeps them locked. So the file of one that was killed can be told from that of one that lives, and be swept.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Final

from asyncmachine.helpers.file_locks import hold, is_held

_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_DRAFT_ID: Final = "[0-9a-f]" * 8


class HeldFile:
    """A file of this process. Written as a whole or not at all; nobody else may read it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: int | None = None

    def write(self, text: str) -> None:
        """Puts a text in the place of what is there. Raises `OSError`."""
        draft, held = self._drafted()
        try:
            os.write(held, text.encode())
            draft.replace(self.path)
        except BaseException:
            os.close(held)
            draft.unlink(missing_ok=True)
            raise
        self._let_go()
        self._held = held

    def remove(self) -> None:
        """Removes it, unless somebody else has put another one in its place."""
        with suppress(OSError):
            if self._held is not None and os.path.samestat(os.fstat(self._held), self.path.lstat()):
                self.path.unlink()
        self._let_go()

    def _drafted(self) -> tuple[Path, int]:
        """A draft beside it that is locked. Another process may sweep one before it is: then there is a next one."""
        while True:
            draft = self.path.with_name(f".{self.path.name}.{token_hex(4)}")
            held = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _NO_FOLLOW, 0o600)
            hold(held)
            if draft.exists():
                return draft, held
            os.close(held)

    def _let_go(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None


def sweep(folder: Path, pattern: str) -> list[Path]:
    """Removes the files of processes that were killed, and what they had not finished; returns which they were."""
    removed = []
    for path in sorted([*folder.glob(pattern), *folder.glob(f".{pattern}.{_DRAFT_ID}")]):
        with suppress(OSError):
            file = os.open(path, os.O_RDONLY | _NO_FOLLOW)
            try:
                # Another process may have put its own there meanwhile.
                if not is_held(file) and os.path.samestat(os.fstat(file), path.lstat()):
                    path.unlink()
                    removed.append(path)
            finally:
                os.close(file)
    return removed
