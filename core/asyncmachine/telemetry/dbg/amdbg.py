"""The file format `.amdbg`: what a recorder has received, as it came. Data only; reading it runs nothing.

A header line of JSON, ``{"magic": "amdbg", "version": 1, "created": …, "compression": "zlib"}``, then one zlib stream.
In it stands record after record, each the msgpack of a byte string, which again is the msgpack of
``[connection, received, message]``: a number for the connection, the receiver's clock (nanoseconds since 1970), and the
message as it is on the wire. A file begins with the machines that were known when it was begun, so that it stands for
itself.

Both ends work in pieces: neither a large file nor one that claims to be larger takes more memory than one record.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Any, BinaryIO, Final

import msgspec

from asyncmachine.telemetry.dbg.codec import MAX_FRAME
from asyncmachine.telemetry.dbg.errors import DumpError

MAGIC: Final = "amdbg"
VERSION: Final = 1
SUFFIX: Final = ".amdbg"
COMPRESSION: Final = "zlib"

MOST_HEADER: Final = 4096
MOST_RECORD: Final = MAX_FRAME + 64
MOST_BYTES: Final = 16 << 30
"""Bytes that a file may decompress to, unless the reader says otherwise."""

LATEST: Final = 2**64 - 1
"""Nanoseconds since 1970 that a time may say, as for those of records."""

PIECE: Final = 64 << 10
_HEAD: Final = Struct(">BI")
_BIN_32: Final = 0xC6


class DumpRecord(msgspec.Struct, frozen=True, array_like=True):
    """One received frame. `message` is its msgpack."""

    connection: int
    received: int
    message: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a file. `created` is in nanoseconds since 1970."""

    created: int
    version: int = VERSION
    compression: str = COMPRESSION


class DumpWriter:
    """Writes into an open file, which it does not close."""

    def __init__(self, file: BinaryIO, created: int, *, level: int = 6) -> None:
        self._file = file
        self._encoder = msgspec.msgpack.Encoder()
        self._compressor = zlib.compressobj(level)
        header = {"magic": MAGIC, "version": VERSION, "created": created, "compression": COMPRESSION}
        line = json.dumps(header).encode() + b"\n"
        file.write(line)
        self.size = len(line)
        """Bytes of the file so far, as far as they have left the compressor."""

    def write(self, connection: int, received: int, frame: bytes) -> None:
        """Appends one frame."""
        body = self._encoder.encode(DumpRecord(connection, received, msgspec.Raw(frame)))
        self._put(self._compressor.compress(_HEAD.pack(_BIN_32, len(body)) + body))

    def flush(self) -> None:
        """Lets a reader see all that was written so far, at the cost of some compression."""
        self._put(self._compressor.flush(zlib.Z_SYNC_FLUSH))
        self._file.flush()

    def finish(self) -> None:
        """Writes the end. Nothing may follow."""
        self._put(self._compressor.flush(zlib.Z_FINISH))
        self._file.flush()

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self.size += len(data)


class DumpReader:
    """Reads an open file from its beginning to its end, record by record. Raises `DumpError` for what is no dump.

    A file that was cut short (its writer was killed, a copy was broken off) gives the records that are whole; `cut`
    then says so.
    """

    def __init__(self, file: BinaryIO, *, most_bytes: int = MOST_BYTES) -> None:
        self._file = file
        self._most_bytes = most_bytes
        self._taken = 0
        self._made = 0
        self._decompressor = zlib.decompressobj()
        self._decoder = msgspec.msgpack.Decoder(DumpRecord)
        self.cut = ""
        """How the file ends before its end; empty for a whole one, and before the end was reached."""
        self.header = self._read_header()

    @property
    def offset(self) -> int:
        """Bytes of the file that were used so far."""
        return self._taken - len(self._decompressor.unconsumed_tail)

    def __iter__(self) -> Iterator[DumpRecord]:
        buffer = bytearray()
        for piece in self._pieces():
            buffer += piece
            begin = 0
            while len(buffer) - begin >= _HEAD.size:
                mark, length = _HEAD.unpack_from(buffer, begin)
                if mark != _BIN_32:
                    raise DumpError(f"expected a record, got the byte {mark:#04x}", self.offset)
                if length > MOST_RECORD:
                    raise DumpError(f"a record of {length} bytes is over the limit of {MOST_RECORD}", self.offset)
                end = begin + _HEAD.size + length
                if len(buffer) < end:
                    break
                yield self._decoded(buffer[begin + _HEAD.size : end])
                begin = end
            del buffer[:begin]
        if buffer and not self.cut:
            raise DumpError(f"the last record lacks bytes: {len(buffer)} are there", self.offset)

    def _decoded(self, body: bytearray) -> DumpRecord:
        try:
            record = self._decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError) as error:
            raise DumpError(f"not a record: {error}", self.offset) from error
        if record.connection < 0 or record.received < 0:
            raise DumpError("not a record: connections and times are counted from 0", self.offset)
        return record

    def _pieces(self) -> Iterator[bytes]:
        """The decompressed content, in pieces of a bounded size."""
        decompressor = self._decompressor
        while not decompressor.eof:
            taken = decompressor.unconsumed_tail or self._read()
            if not taken:
                self.cut = f"the file ends before its end, at byte {self._taken}; what came before is whole"
                return
            try:
                piece = decompressor.decompress(taken, PIECE)
            except zlib.error as error:
                raise DumpError(f"damaged: {error}", self.offset) from error
            self._made += len(piece)
            if self._made > self._most_bytes:
                raise DumpError(f"holds more than {self._most_bytes} bytes", self.offset)
            yield piece
        if decompressor.unused_data or self._read():
            raise DumpError("something follows the end", self._taken - len(decompressor.unused_data))

    def _read(self) -> bytes:
        found = self._file.read(PIECE)
        self._taken += len(found)
        return found

    def _read_header(self) -> Header:
        line = self._file.readline(MOST_HEADER)
        self._taken = len(line)
        try:
            found: Any = json.loads(line) if line.endswith(b"\n") else None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, Mapping) or found.get("magic") != MAGIC:
            raise DumpError(f"not a dump: its first line is not the header of an {SUFFIX} file", 0)
        version, created = found.get("version"), found.get("created")
        if version != VERSION:
            raise DumpError(f"version {version!r} of the format is not read here, only {VERSION}", 0)
        if found.get("compression") != COMPRESSION:
            raise DumpError(f"compression {found.get('compression')!r} is not read here, only {COMPRESSION!r}", 0)
        if not isinstance(created, int) or isinstance(created, bool) or not 0 <= created <= LATEST:
            raise DumpError("the header has no time in `created`", 0)
        return Header(created)


@contextmanager
def open_dump(path: Path | str, *, most_bytes: int = MOST_BYTES) -> Iterator[DumpReader]:
    """A file on disk, for reading. Raises `OSError` if it cannot be opened, `DumpError` if it is no dump."""
    with Path(path).open("rb") as file:
        yield DumpReader(file, most_bytes=most_bytes)
