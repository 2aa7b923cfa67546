"""Files that tell by a lock whether the process that writes them lives: the lock goes with it, however it ends.

Where there are no such locks (not a Unix, some file systems of networks), a file counts as one of the living.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

fcntl: Any
try:
    import fcntl
except ImportError:  # not a Unix
    fcntl = None


def hold(file: int) -> None:
    """Locks an open file of this process until it is closed. Waits for others that only look."""
    if fcntl is not None:
        with suppress(OSError):  # some file systems of networks have no locks
            fcntl.flock(file, fcntl.LOCK_EX)


def is_held(file: int) -> bool:
    """Whether whoever wrote an open file lives, and still has it open."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def share(file: int) -> None:
    """As `hold`, but others may do the same."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_SH)


def take(file: int) -> bool:
    """Locks an open file as `hold` does, unless somebody else who lives holds or shares it."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
