"""Arguments in log lines."""

from __future__ import annotations

import pytest

import asyncmachine as am
from asyncmachine.machine.log_args import LOGGED_NAMES, args_text, shortened
from tests.machine.listening import listen


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("foofoofoo", 5, "fo..."),
        ("foofoofoo", 4, "foof"),
        ("foofoofoo", 9, "foofoofoo"),
        ("foofoofoo", 8, "foofo..."),
        ("foo", 0, ""),
        ("two\nlines", 20, "two lines"),
    ],
)
def test_texts_are_cut(text: str, limit: int, expected: str) -> None:
    assert shortened(text, limit) == expected


def test_only_named_arguments_are_shown_sorted_by_name() -> None:
    mapper = am.new_log_args_mapper(names=["b", "a", "missing"])
    assert args_text({"a": 1, "b": "x" * 30, "secret": "s"}, mapper) == f" (a=1 b={'x' * 17}...)"
    assert args_text({"secret": "s"}, mapper) == ""
    assert args_text({"a": 1}, None) == ""


def test_mappers_merge() -> None:
    mapper = am.merge_log_args_mappers(am.new_log_args_mapper(0, ["a"]), lambda args: {"size": str(len(args))})
    assert args_text({"a": 1, "b": 2}, mapper) == " (a=1 size=2)"


def test_usual_names_and_more() -> None:
    machine = am.Machine({"A": {}})
    lines = listen(machine, am.LogLevel.CHANGES)
    machine.log.show_args("job")
    machine.add("A", job=7, path="/tmp/x", password="p")
    assert lines == ["[state] +A (job=7 path=/tmp/x)"]
    assert "url" in LOGGED_NAMES


def test_an_argument_without_a_text_is_no_reason_to_fail() -> None:
    class Mute:
        def __str__(self) -> str:
            raise RuntimeError("no")

    machine = am.Machine({"A": {}})
    lines = listen(machine, am.LogLevel.CHANGES)
    machine.log.show_args("x")
    assert machine.add("A", x=Mute()).executed
    assert lines == ["[state] +A (arguments not shown: RuntimeError('no'))"]
