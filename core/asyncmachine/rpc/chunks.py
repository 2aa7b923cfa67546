"""Payloads that are larger than a frame, in parts. Pure: no socket, no clock.

The server announces a payload. Once the client has told how many bytes of it it has (none, or what came before a cut),
chunks follow, and every `STEP` the client tells how far they have come. The server sends no more than `WINDOW` bytes
beyond that, so that a transport holds little and a clock never waits behind more. To one client one large payload is
under way at a time.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from asyncmachine.rpc.errors import PeerFault
from asyncmachine.rpc.messages import LARGEST_CHUNK, Chunk, Payload

MAX_PAYLOAD: Final = (64 << 20) + 1024
"""Bytes of the largest payload: 64 MiB, and a little for what MessagePack puts around them."""

CHUNK: Final = 64 << 10
"""Bytes of one chunk, unless set."""

WINDOW: Final = 2 * LARGEST_CHUNK
"""Bytes that may be on their way."""

STEP: Final = LARGEST_CHUNK // 2
"""Bytes after which the client tells that it has them. As it is, a window always holds more than that."""


class Parcel:
    """The data of one payload at the server, which may go to several clients. `furthest` is how far any has come."""

    __slots__ = ("_hash", "chunk", "data", "furthest", "token")

    def __init__(self, token: bytes, data: bytes, chunk: int = CHUNK) -> None:
        self.token = token
        self.data = data
        self.chunk = chunk
        self.furthest = 0
        self._hash = sha256()

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)

    def part(self, offset: int) -> Chunk:
        """The chunk that begins there."""
        end = min(offset + self.chunk, len(self.data))
        if end > self.furthest:  # hashed as it goes: all of it at once would hold up everybody else
            self._hash.update(memoryview(self.data)[self.furthest : end])
            self.furthest = end
        last = end == len(self.data)
        return Chunk(self.token, offset, self.data[offset:end], self._hash.digest() if last else b"")


class Transfer:
    """A parcel on its way to one client over one connection."""

    __slots__ = ("_acknowledged", "_is_wanted", "_sent", "parcel")

    def __init__(self, parcel: Parcel) -> None:
        self.parcel = parcel
        self._is_wanted = False
        self._sent = self._acknowledged = 0

    def check(self, received: int) -> None:
        """Raises `PeerFault` for a client that claims to have what was not sent, or less than before."""
        most = self._sent if self._is_wanted else min(self.parcel.furthest, self.parcel.size - 1)
        if not self._acknowledged <= received <= most:
            raise PeerFault(f"{received} bytes of a payload are acknowledged, of {self._acknowledged} to {most}")

    def told(self, received: int) -> None:
        """The client has so many bytes, and wants more."""
        if not self._is_wanted:
            self._is_wanted, self._sent = True, received
        self._acknowledged = received

    @property
    def is_sent(self) -> bool:
        """True once nothing is left to send."""
        return self._sent == self.parcel.size

    def next(self) -> Chunk | None:
        """The next chunk, None as long as none may go."""
        after = min(self._sent + self.parcel.chunk, self.parcel.size)
        if not self._is_wanted or self.is_sent or after - self._acknowledged > WINDOW:
            return None
        return self.parcel.part(self._sent)

    def sent(self, chunk: Chunk) -> None:
        """Notes that it has gone."""
        self._sent = chunk.offset + len(chunk.data)


class Partial:
    """What a client has of a large payload. It is kept from one connection to the next."""

    __slots__ = ("_hash", "_told", "data", "payload")

    def __init__(self, payload: Payload) -> None:
        self.payload = payload
        self.data = bytearray()  # grows with what comes, whatever size was announced
        self._hash = sha256()
        self._told = 0

    @property
    def received(self) -> int:
        """Bytes."""
        return len(self.data)

    def is_of(self, payload: Payload) -> bool:
        """Whether it goes on with this announcement."""
        return (self.payload.token, self.payload.size) == (payload.token, payload.size)

    def check(self, chunk: Chunk) -> None:
        """Raises `PeerFault` for a chunk that is not the next one."""
        end, size = chunk.offset + len(chunk.data), self.payload.size
        if chunk.offset != len(self.data):
            raise PeerFault(f"a chunk begins at byte {chunk.offset}, {len(self.data)} have come")
        if end > size:
            raise PeerFault(f"a chunk ends at byte {end} of a payload of {size}")
        if len(chunk.sha256) != (32 if end == size else 0):
            raise PeerFault(f"a chunk up to byte {end} of {size} with a digest of {len(chunk.sha256)} bytes")

    def take(self, chunk: Chunk) -> bool:
        """Adds a chunk that was checked. True after the last one."""
        self.data += chunk.data
        self._hash.update(chunk.data)
        return len(self.data) == self.payload.size

    def is_intact(self, digest: bytes) -> bool:
        """Whether the data are those that were sent."""
        return self._hash.digest() == digest

    @property
    def is_due(self) -> bool:
        """Whether it is time to tell how far it has come."""
        return len(self.data) - self._told >= STEP

    def tells(self) -> int:
        """What to tell; notes that it is told."""
        self._told = len(self.data)
        return self._told
