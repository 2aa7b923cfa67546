"""What is told of arguments and errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import asyncmachine as am
from asyncmachine.helpers.log_args import Logged
from asyncmachine.machine.args import ErrorArgs
from asyncmachine.machine.log_args import new_log_args_mapper
from asyncmachine.telemetry.dbg.texts import arg_texts, clipped, failure_of, one_line, told

SECRET = b"s3cret-payload"


@dataclass(frozen=True)
class Upload(am.Args, prefix="dbgtexts", state="Uploading"):
    path: Annotated[str, Logged()]
    password: str = "hunter2"
    payload: Annotated[bytes, Logged("data")] = SECRET


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __iter__(self) -> Any:
        raise RuntimeError("no items")

    def __contains__(self, item: object) -> bool:
        return False


def test_without_a_mapper_types_and_sizes_are_told_and_marked_fields() -> None:
    args = {"name": "Ann", "data": SECRET, "rows": [1, 2], "n": 7, "view": memoryview(SECRET), **raw(Upload("/tmp/a"))}
    assert arg_texts(args, None) == {
        "name": "str[3]",
        "data": "14 bytes",
        "rows": "list[2]",
        "n": "int",
        "view": "memoryview[14]",
        "dbgtexts__Uploading": "Upload",
        "path": "/tmp/a",
    }


def raw(record: am.Args) -> dict[str, Any]:
    return {record.key: record}


def test_a_mapper_decides_but_never_sees_bytes() -> None:
    seen: list[Any] = []

    def mapper(args: Any) -> dict[str, str]:
        seen.append(args)
        return {key: str(value) for key, value in args.items()}

    found = arg_texts({"name": "Ann", "data": SECRET, "deep": {"a": [SECRET, "x"], SECRET: 1}}, mapper)
    assert found == {"name": "Ann", "data": "bytes[14]", "deep": "{'a': ['bytes[14]', 'x'], 'bytes[14]': 1}"}
    assert SECRET not in seen[0].values()


def items(value: Any) -> list[Any]:
    """The value and all that is inside of it."""
    if isinstance(value, dict):
        return [value, *(found for pair in value.items() for part in pair for found in items(part))]
    if isinstance(value, list | tuple | set):
        return [value, *(found for part in value for found in items(part))]
    return [value]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_mapper_sees_no_bytes_wherever_they_are(kind: Any) -> None:
    seen: list[Any] = []

    def mapper(args: Any) -> dict[str, str]:
        seen.extend(items(args))
        return {}

    deep: Any = kind(SECRET)
    for _ in range(10):
        deep = [deep]
    args = {"plain": kind(SECRET), "tuple": (1, kind(SECRET)), "deep": deep, "many": [kind(SECRET)] * 1000}
    arg_texts(args, mapper)
    assert "list[1]" in seen
    assert "list[1000]" in seen
    assert not any(isinstance(found, bytes | bytearray | memoryview) for found in seen)


@pytest.mark.parametrize("limit", [5, 20, 1000])
def test_bytes_that_a_record_shows_by_itself_are_taken_out(limit: int) -> None:
    mapper = new_log_args_mapper(limit, [Upload.key])
    (text,) = arg_texts(raw(Upload("/tmp/a", payload=SECRET)), mapper).values()
    assert "s3cret" not in text


plain = st.none() | st.booleans() | st.integers() | st.text(alphabet="xyz") | st.just(SECRET)
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(alphabet="xyz") | st.just(SECRET), inner)
    ),
    max_leaves=30,
)


@given(st.dictionaries(st.text(alphabet="abc"), values), st.booleans(), st.integers(5, 400))
def test_bytes_never_travel(args: dict[str, Any], everything: bool, limit: int) -> None:
    mapper = new_log_args_mapper(limit, args) if everything else None
    assert "s3cret" not in repr(arg_texts(args, mapper))


def test_values_that_cannot_be_shown_are_not() -> None:
    assert arg_texts({"x": Hostile()}, None) == {"": "arguments not shown: RuntimeError"}
    assert arg_texts({"x": Hostile()}, new_log_args_mapper(9, ["x"])) == {"": "arguments not shown: RuntimeError"}


def test_texts_have_an_end() -> None:
    found = arg_texts(
        {f"k{i}": "v" * 9999 for i in range(999)}, new_log_args_mapper(9999, [f"k{i}" for i in range(999)])
    )
    assert len(found) == 64
    assert {len(text) for text in found.values()} == {256}
    assert one_line("a\nb\r\nc") == "a b c"
    assert clipped("x" * 10, 4) == "xxx…"


@given(st.text() | st.text(alphabet=st.characters(categories=["Cs"])), st.integers(1, 50))
def test_a_clipped_text_is_unicode_and_short(text: str, limit: int) -> None:
    found = clipped(text, limit)
    found.encode()
    assert len(found) <= limit
    if len(text) <= limit and max(text, default="") < "\ud800":
        assert found == text


def test_errors_are_told_with_their_stack() -> None:
    error = ValueError(f"bad {SECRET!r}")
    found = failure_of({ErrorArgs.key: ErrorArgs(error, "Trace\n" * 9999 + "the end", "FooState")})
    assert found is not None
    assert (found.type, found.message, found.handler) == ("ValueError", "bad bytes", "FooState")
    assert found.trace.endswith("the end")
    assert len(found.trace) <= 16_384
    assert failure_of({"err": error}) is None
    hostile = failure_of({ErrorArgs.key: ErrorArgs(type("E", (Exception,), {"__str__": Hostile.__str__})())})
    assert hostile is not None
    assert hostile.message == "(text not shown: RuntimeError)"


def test_an_error_is_no_argument() -> None:
    assert arg_texts({ErrorArgs.key: ErrorArgs(ValueError("x")), "n": 1}, None) == {"n": "int"}


def test_bytes_in_any_text_are_taken_out() -> None:
    assert told("""KeyError: b'a\\'b' and b"c" or ab'd'""") == "KeyError: bytes and bytes or ab'd'"
    assert told("cut b'abc") == "cut bytes"
