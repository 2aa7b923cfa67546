"""What can go wrong with the debug stream. None of it reaches a machine that is being watched."""

from __future__ import annotations

from asyncmachine.machine.errors import AmError

BAD_FRAME, BAD_VERSION, LIMIT, FRAME_TOO_LARGE = 4400, 4406, 4429, 1009
"""Close codes, as everywhere in this project."""


class DbgError(AmError):
    """Base of the errors of this package."""


class StreamFault(DbgError):
    """The sender sent what the protocol does not allow. Nothing has changed; close its connection with `close`."""

    def __init__(self, message: str, close: int = BAD_FRAME) -> None:
        super().__init__(message)
        self.close = close


class Unsendable(DbgError):
    """A message that would not fit into a frame, or that msgpack cannot hold. Nothing was sent."""


class DumpError(DbgError):
    """A file is no dump, or is damaged. `offset` counts the bytes of the file up to where this was noticed."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} (at byte {offset})")
        self.offset = offset


class AddressError(DbgError):
    """A text that does not tell where the recorder is."""
