"""Secrets come from files that only their owner may read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from asyncmachine_relay.policy import RelayConfigError
from asyncmachine_relay.tokens import MIN_SECRET


def secret_of(path: Path, field: str) -> bytes:
    """A secret from a file that only its owner may read; blanks at its ends do not count. Raises `RelayConfigError`."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            content = file.read(4096).strip()
    except OSError as error:
        raise RelayConfigError(f"{path}: {error.strerror}; make it with: openssl rand -hex 32", field=field) from None
    if found.st_uid not in {0, os.geteuid()}:
        raise RelayConfigError(f"{path} belongs to another user, who knows it: chown it", field=field)
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise RelayConfigError(f"{path} can be read by others: chmod 600 {path}", field=field)
    if len(content) < MIN_SECRET:
        wrong = f"{path} has {len(content)} bytes: at least {MIN_SECRET}; make it with: openssl rand -hex 32"
        raise RelayConfigError(wrong, field=field)
    return content
