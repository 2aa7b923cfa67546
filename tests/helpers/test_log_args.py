from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import asyncmachine as am
from asyncmachine.helpers.log_args import Logged, args_to_log_map, log_args


@dataclass(frozen=True)
class Dial(am.Args, state="Dialing", prefix="test_log"):
    address: Annotated[str, Logged("addr")] = ""
    tries: Annotated[int, "of some use elsewhere", Logged()] = 0
    loud: Annotated[bool, Logged()] = False
    pause: Annotated[timedelta | None, Logged()] = None
    tags: Annotated[list[str] | None, Logged()] = None
    body: Annotated[bytes, Logged()] = b""
    password: str = ""


@dataclass(frozen=True)
class Hang(am.Args, state="Hanging", prefix="test_log"):
    why: Annotated[str, Logged()] = ""


def test_only_marked_fields_with_a_value_are_shown() -> None:
    assert args_to_log_map(Dial()) == {}
    record = Dial("host:80", 3, True, timedelta(seconds=90), ["a", "b"], b"12345", "secret")
    assert args_to_log_map(record) == {
        "addr": "host:80",
        "tries": "3",
        "loud": "True",
        "pause": "0:01:30",
        "tags": '"a", "b"',
        "body": "5 bytes",
    }


def test_values_are_cut_and_stay_on_one_line() -> None:
    assert args_to_log_map(Dial("a\nb" * 20)) == {"addr": "a ba ba ba ba ba ..."}
    assert args_to_log_map(Dial("0123456789"), 8) == {"addr": "01234..."}
    assert args_to_log_map(Dial("0123456789"), 1) == {"addr": "0123"}


def test_lists_are_cut_in_both_directions() -> None:
    record = Dial(tags=["long enough to be cut", *"abcdef"])
    assert args_to_log_map(record, 10) == {"tags": '"lo...", "a", "b", "c", "d" ... (2 more)'}


def test_all_records_of_a_mutation() -> None:
    args = {Dial.key: Dial("here"), Hang.key: Hang("late"), "plain": "not shown"}
    assert log_args(args) == {"addr": "here", "why": "late"}
    assert log_args({}) == {}


def test_lines_of_a_machine() -> None:
    machine, lines = am.Machine({"Dialing": {}}, id="m"), list[Any]()
    machine.log.simple(lines.append, am.LogLevel.CHANGES)
    machine.log.args_mapper = log_args
    machine.add("Dialing", Dial("host:80", password="secret"))
    assert lines == ["[m] [state] +Dialing (addr=host:80)"]
