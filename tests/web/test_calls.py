"""What goes over when a pool calls a function: equal, or an error of the caller before anything is sent."""

from __future__ import annotations

import asyncio
import enum
import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

import asyncmachine as am
from asyncmachine_web.page import calls


@dataclass
class Mark:
    at: float
    tags: set[str]
    note: Any = None


class Color(enum.StrEnum):
    RED = "red"


def number(x: float) -> float:
    return x


def anything(x: Any) -> Any:
    return x


def items(x: list[Any]) -> list[Any]:
    return x


def marked(x: Mark) -> Mark:
    return x


def named(x: uuid.UUID) -> uuid.UUID:
    return x


def pair(x: tuple[int, str], y: frozenset[int]) -> tuple[int, str]:
    return x


def as_set(x: Any) -> Any:
    return set(x)


def as_half(x: int) -> float:
    return x + 1


async def called(function: Callable[..., Any], *args: Any) -> Any:
    """What comes back of a call, over both ways, without the worker between them."""
    request = msgspec.msgpack.decode(calls.encode_call(1, function, args, {}), type=calls.Request)
    result = await calls._call(request)
    done = calls.Done(1, msgspec.Raw(result))
    return calls.result_of(done, calls.Signature.of(function).result)


@pytest.mark.parametrize(
    ("function", "value"),
    [
        (number, 1.5), (number, 2**53), (anything, None), (anything, [1, {"a": b"x"}]), (anything, 2**64 - 1),
        (anything, Color.RED), (marked, Mark(1.0, {"a", "b"})), (named, uuid.UUID(int=7)),
        (items, [[1], {"k": [2.5]}]), (anything, "long " * 300_000),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)  # fmt: skip
async def test_what_fits_its_annotation_arrives_equal(function: Callable[..., Any], value: Any) -> None:
    assert await called(function, value) == value


async def test_nan_arrives_in_a_record_too() -> None:
    assert math.isnan(await called(number, math.nan))
    assert math.isnan((await called(marked, Mark(math.nan, set()))).at)


async def test_tuples_and_sets_arrive_where_they_are_annotated() -> None:
    assert await called(pair, (1, "a"), frozenset({2})) == (1, "a")


@pytest.mark.parametrize(
    ("function", "value", "shown"),
    [
        (number, 2**53 + 1, "9007199254740992.0"), (anything, {1}, "[1]"), (anything, (1, 2), "[1, 2]"),
        (anything, uuid.UUID(int=7), "'00000000-000"), (items, (1,), "[1]"),
        (items, [(1,)], "[[1]]"), (marked, Mark(2**53 + 1, set()), "Mark("),
        (marked, Mark(0.0, set(), {"k": {1}}), "Mark("),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)  # fmt: skip
def test_what_would_arrive_as_something_else_is_refused(function: Callable[..., Any], value: Any, shown: str) -> None:
    with pytest.raises(am.InvalidArgs) as caught:
        calls.encode_call(1, function, (value,), {})
    assert f"tests.web.test_calls:{function.__name__} cannot be called like this: x would arrive as " in str(
        caught.value
    )
    assert shown in str(caught.value) and str(caught.value).endswith("annotate it with its exact type")


@pytest.mark.parametrize(("function", "value", "shown"), [(as_set, [1], "[1]"), (as_half, 2**53, "9007199254740992.0")])
async def test_so_is_a_result_where_it_comes_from(function: Callable[..., Any], value: Any, shown: str) -> None:
    with pytest.raises(am.InvalidArgs, match="cannot be sent: it would arrive as") as caught:
        await called(function, value)
    assert shown in str(caught.value)


# What answers in a worker


class FakePort:
    """A port whose other end is this test."""

    def __init__(self) -> None:
        self.answers: asyncio.Queue[bytes] = asyncio.Queue()

    def listen(self, arrived: Callable[[bytes | None], None]) -> None:
        self.arrived = arrived

    def post(self, message: bytes) -> None:
        self.answers.put_nowait(message)

    def close(self) -> None: ...

    async def answer(self) -> calls.Done | calls.Failed:
        return calls.decode_answer(await self.answers.get())


async def leaves() -> None:
    raise SystemExit(3)


async def is_speechless() -> None:
    class Speechless(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    raise Speechless


def interrupts() -> None:
    raise KeyboardInterrupt


async def test_a_call_that_is_cancelled_before_it_began_is_answered_like_any_other() -> None:
    port = FakePort()
    calls.serve_on(port)
    port.arrived(calls.encode_call(1, number, (0.5,), {}))
    port.arrived(calls.encode_cancel(1))
    port.arrived(calls.encode_call(2, number, (0.5,), {}))
    answers = {answer.number: answer for answer in (await port.answer(), await port.answer())}
    assert isinstance(answers[2], calls.Done)
    with pytest.raises(calls.CallFailed, match="the call was cancelled"):
        calls.result_of(answers[1], float)


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (leaves, "SystemExit: 3"),
        (interrupts, "KeyboardInterrupt"),
        (is_speechless, "Speechless: it cannot tell what it is about"),
    ],
    ids=["exit", "interrupt", "speechless"],
)
async def test_whatever_a_function_raises_its_caller_is_told(function: Callable[..., Any], told: str) -> None:
    port = FakePort()
    calls.serve_on(port)
    port.arrived(calls.encode_call(1, function, (), {}))
    with pytest.raises(calls.CallFailed, match=told):
        calls.result_of(await port.answer(), type(None))
