"""Functions that pools of the tests run."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Any

import asyncmachine as am


@dataclass
class Values:
    """What may go wrong on its way over a border."""

    whole: int
    real: float
    raw: bytes
    some: set[int]
    nothing: None
    text: str
    pair: tuple[int, str]
    by_name: dict[str, list[int]]


def same(values: Values) -> Values:
    return values


def digest(data: bytes, *, rounds: int = 1) -> bytes:
    for _ in range(rounds):
        data = hashlib.sha256(data).digest()
    return data


def backwards(data: bytes) -> bytes:
    return data[::-1]


async def later(seconds: float, text: str) -> str:
    await asyncio.sleep(seconds)
    return text


async def never() -> None:
    await asyncio.Event().wait()


def fail(text: str) -> None:
    raise KeyError(text)


def lie() -> int:
    return "no number"  # type: ignore[return-value]


def spin() -> None:
    while True:
        pass


def spin_on() -> None:
    """Does not let itself be stopped."""
    while True:
        try:
            spin()
        except am.HandlerDeadline:
            pass


def silent(value: int):  # type: ignore[no-untyped-def]
    return value


def anything(value: Any) -> Any:
    return value
