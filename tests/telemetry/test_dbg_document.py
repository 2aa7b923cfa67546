"""docs/debug-stream.md says what the messages are; a field that comes later may be missing there, a wrong one not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from asyncmachine.telemetry.dbg import messages as m
from asyncmachine.telemetry.dbg.codec import decode

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "debug-stream.md").read_text()
KINDS = get_args(m.AnyMessage)
PARTS = [
    each for each in vars(m).values() if isinstance(each, type) and issubclass(each, m.Part) and each is not m.Part
]


def row(begin: str) -> str:
    [found] = [line for line in PAGE.splitlines() if line.startswith(begin)]
    return found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_message_stands_there_with_its_number_and_fields(kind: type[msgspec.Struct]) -> None:
    fields = row(f"| {kind.__struct_config__.tag} | {kind.__name__} |").split("|")[3]
    assert tuple(re.findall(r"`(\w+)`", fields)) == kind.__struct_fields__


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_every_part_stands_there_with_its_fields(part: type[msgspec.Struct]) -> None:
    assert tuple(re.findall(r"`(\w+)`", row(f"| {part.__name__} |"))) == part.__struct_fields__


def test_the_frames_that_it_shows_are_what_it_says() -> None:
    shown: list[Any] = [decode(bytes.fromhex(found)) for found in re.findall(r"`(9[0-9a-f]{3,})`", PAGE)]
    assert shown == [m.Hello(m.MAGIC, m.VERSION, "s"), m.Bye(), m.Gone(0, 9)]
