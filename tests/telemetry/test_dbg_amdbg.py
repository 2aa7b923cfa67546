"""The file format: what is written is read, a file cut short gives what is whole, a bad one says where it is bad."""

from __future__ import annotations

import json
import tracemalloc
import zlib
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmachine.telemetry.dbg.amdbg import MOST_RECORD, DumpReader, DumpRecord, DumpWriter, open_dump
from asyncmachine.telemetry.dbg.codec import MAX_FRAME, encode
from asyncmachine.telemetry.dbg.errors import DbgError, DumpError
from tests.rounds import Rounds
from tests.telemetry.messages import a_batch, a_machine, messages

HEADER = b'{"magic": "amdbg", "version": 1, "created": 7, "compression": "zlib"}\n'

Entry = tuple[int, int, bytes]


def dumped(entries: Iterable[Entry], *, flush: bool = False) -> bytes:
    file = BytesIO()
    writer = DumpWriter(file, 7)
    for entry in entries:
        writer.write(*entry)
        if flush:
            writer.flush()
    writer.finish()
    assert writer.size == len(file.getvalue())
    return file.getvalue()


def read(data: bytes) -> tuple[list[Entry], DumpReader]:
    reader = DumpReader(BytesIO(data))
    return [(record.connection, record.received, bytes(record.message)) for record in reader], reader


def packed(content: bytes, header: bytes = HEADER) -> bytes:
    return header + zlib.compress(content)


def record(body: bytes) -> bytes:
    return b"\xc6" + len(body).to_bytes(4, "big") + body


counts = st.integers(0, 2**63)
entries = st.lists(st.tuples(counts, counts, messages.map(encode)), max_size=8)


@given(entries, st.booleans())
def test_what_is_written_is_read(found: list[Entry], flush: bool) -> None:
    back, reader = read(dumped(found, flush=flush))
    assert back == found
    assert (reader.header.created, reader.cut) == (7, "")


@given(entries, st.data())
def test_a_file_cut_short_gives_what_is_whole(found: list[Entry], data: st.DataObject) -> None:
    whole = dumped(found, flush=True)
    at = data.draw(st.integers(len(HEADER), len(whole) - 1))
    back, reader = read(whole[:at])
    assert back == found[: len(back)]
    assert f"at byte {at};" in reader.cut


def test_what_was_flushed_can_be_read_at_once() -> None:
    file = BytesIO()
    writer = DumpWriter(file, 7)
    for number in range(3):
        writer.write(number, 1, encode(a_machine(number)))
        writer.flush()
        assert len(read(file.getvalue())[0]) == number + 1


def test_the_bytes_of_version_1() -> None:
    """Files are kept for years."""
    message = encode(a_batch())
    data = dumped([(3, 9, message)])
    header, content = data.split(b"\n", 1)
    assert json.loads(header) == {"magic": "amdbg", "version": 1, "created": 7, "compression": "zlib"}
    assert zlib.decompress(content) == record(b"\x93\x03\x09" + message)
    assert msgspec.msgpack.decode(msgspec.msgpack.decode(zlib.decompress(content))) == [
        3, 9, [3, 0, 1, 10, 2, [[8, [1], [1, 1]]], [0], [0], [0]]
    ]  # fmt: skip


BAD: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not a dump"),
    "another file": (b"GIF89a\n....", "not a dump"),
    "an endless line": (b"{" * 10_000, "not a dump"),
    "nested JSON": (b"[" * 4000 + b"\n", "not a dump"),
    "another magic": (HEADER.replace(b"amdbg", b"other"), "not a dump"),
    "a list": (b"[]\n", "not a dump"),
    "a later version": (HEADER.replace(b"1", b"2", 1), "version 2"),
    "another compression": (HEADER.replace(b"zlib", b"zstd"), "'zstd' is not read here"),
    "no time": (HEADER.replace(b"7", b'"x"'), "no time"),
    "a time that is a bool": (HEADER.replace(b"7", b"true"), "no time"),
    "a time before 1970": (HEADER.replace(b"7", b"-1"), "no time"),
    "a time that no clock shows": (HEADER.replace(b"7", b"18446744073709551616"), "no time"),
    "a time of 4,000 digits": (HEADER.replace(b"7", b"7" * 4000), "no time"),
    "no zlib": (HEADER + b"nonsense", "damaged"),
    "damaged": (packed(record(b"\x93\x00\x00\x91\x08"))[:-3] + b"xyz", "damaged"),
    "no record": (packed(b"\x93\x00\x00\x91\x08"), "expected a record"),
    "a record of nothing": (packed(record(b"")), "not a record"),
    "a record that is none": (packed(record(b"\xa1x")), "not a record"),
    "a record with rest": (packed(record(b"\x93\x00\x00\x91\x08\x00")), "not a record"),
    "a negative connection": (packed(record(b"\x93\xff\x00\x91\x08")), "counted from 0"),
    "a claimed record of 4 GiB": (packed(b"\xc6\xff\xff\xff\xff"), "over the limit"),
    "half a record": (packed(record(b"\x93\x00\x00\x91\x08")[:-1]), "lacks bytes"),
    "more after the end": (packed(b"") + b"more", "follows the end"),
    "two files in one": (packed(b"") + packed(b""), "follows the end"),
}


@pytest.mark.parametrize(("data", "text"), BAD.values(), ids=BAD.keys())
def test_what_is_no_dump_says_so_and_where(data: bytes, text: str) -> None:
    with pytest.raises(DumpError, match=text) as caught:
        read(data)
    assert 0 <= caught.value.offset <= len(data)
    assert f"(at byte {caught.value.offset})" in str(caught.value)
    assert isinstance(caught.value, DbgError)


def test_the_offset_is_near_the_damage() -> None:
    found = [(0, number, encode(a_batch(first=number, times=[number * 7919 % 10_007]))) for number in range(1, 5000)]
    data = bytearray(dumped(found, flush=True))
    at = len(data) // 2
    data[at] ^= 0xFF
    with pytest.raises(DumpError) as caught:
        read(bytes(data))
    assert abs(caught.value.offset - at) < 100_000


def test_a_bomb_does_not_go_off() -> None:
    """A kilobyte that claims a gigabyte of zeros, and one that holds millions of records."""
    zeros = zlib.compressobj()
    bomb = HEADER + b"".join(zeros.compress(bytes(1 << 20)) for _ in range(50)) + zeros.flush()
    endless = packed(record(b"\x93\x00\x00\x91\x08") * 1_000_000)
    assert len(endless) < 100_000
    tracemalloc.start()
    with pytest.raises(DumpError, match="expected a record"):
        read(bomb)
    with pytest.raises(DumpError, match="holds more than 1000000 bytes"):
        for _ in DumpReader(BytesIO(endless), most_bytes=1_000_000):
            pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_000_000


def test_the_largest_record_fits() -> None:
    frame = msgspec.msgpack.encode([9, "c", 0, b"x" * (MAX_FRAME - 20)])
    assert len(read(dumped([(2**63, 2**63, frame)]))[0][0][2]) <= MOST_RECORD
    assert len(frame) > MAX_FRAME - 20


def test_a_file_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "x.amdbg"
    path.write_bytes(dumped([(1, 2, b"\x91\x08")]))
    with open_dump(path) as reader:
        assert list(reader) == [DumpRecord(1, 2, msgspec.Raw(b"\x91\x08"))]
    with pytest.raises(FileNotFoundError), open_dump(tmp_path / "y.amdbg"):
        pass


@given(st.binary(max_size=300), st.booleans())
def test_bytes_at_random_are_a_dump_or_an_error(data: bytes, compressed: bool) -> None:
    try:
        read(packed(data) if compressed else HEADER + data)
    except DumpError:
        pass


@pytest.mark.nightly
def test_damaged_files_are_dumps_or_errors(rounds: Rounds) -> None:
    from random import Random

    whole = dumped([(0, 1, encode(a_machine())), *((0, 2, encode(a_batch(first=i))) for i in range(1, 50))], flush=True)
    plain = zlib.decompress(whole[len(HEADER) :])
    outcomes = {"read": 0, "error": 0}
    for seed in rounds:
        draw = Random(seed)
        for _ in range(100):
            data = bytearray(draw.choice((whole, plain)))
            is_plain = len(data) == len(plain)
            for _ in range(draw.randint(1, 3)):
                at = draw.randrange(len(data))
                data[at : at + draw.randrange(3)] = draw.randbytes(draw.randrange(3))
            try:
                read(packed(bytes(data)) if is_plain else bytes(data))
                outcomes["read"] += 1
            except DumpError:
                outcomes["error"] += 1
    assert all(outcomes.values()), outcomes
