"""The night's minutes: read from the command line, shared among the tests, counted."""

from __future__ import annotations

import itertools
import subprocess
from typing import Any

import pytest

from scripts import nightly
from scripts.console import SetupError
from tests.rounds import BY_HAND, Rounds


@pytest.mark.parametrize("time", ["soon", "0", "-3", "nan", "inf"])
def test_a_time_that_is_no_number_of_minutes_is_refused(time: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert nightly.main([time]) == 2
    assert "TIME is a number of minutes" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "minutes"), [(["1.5"], "1.5"), ([], "10.0")])
def test_the_minutes_reach_the_tests(monkeypatch: pytest.MonkeyPatch, arguments: list[str], minutes: str) -> None:
    calls: list[tuple[list[str], dict[str, str]]] = []

    def call(command: list[str], *, cwd: object, env: dict[str, str]) -> int:
        calls.append((command, env))
        return 7

    monkeypatch.setattr(subprocess, "call", call)
    monkeypatch.setattr(nightly, "fuzzed", lambda seconds: seconds != float(minutes) * 6)
    assert nightly.main(arguments) == 7
    assert [command[-1] for command, _ in calls] == ["tests", "playwright"]
    for command, env in calls:
        assert command[-4:-2] == ["-m", "nightly"]
        assert env["AM_NIGHTLY_MINUTES"] == minutes


def test_a_fuzzer_that_cannot_be_had_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(command: list[object], label: str, *, cwd: object) -> None:
        assert command[-2:] == ["--group", "fuzz"]
        raise SetupError("no matching distribution")

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(nightly, "run", refuse)
    assert nightly.fuzzed(60.0) == 0
    told = capsys.readouterr().err
    assert "no fuzzing" in told
    assert "no matching distribution" in told


def test_the_fuzzer_runs_for_its_share_and_its_find_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def call(command: list[str], *, cwd: object) -> int:
        commands.append(command)
        return 77

    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr(subprocess, "call", call)
    assert nightly.fuzzed(60.4) == 77
    assert "-max_total_time=60" in commands[0]


def test_by_hand_a_test_takes_a_few_rounds() -> None:
    rounds = Rounds(first=100, seconds=None)
    assert list(rounds) == list(range(100, 100 + BY_HAND))
    assert rounds.taken == BY_HAND


def test_even_the_shortest_share_is_one_round() -> None:
    assert list(Rounds(first=5, seconds=0.0)) == [5]


def test_rounds_go_on_until_the_share_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    clock: Any = itertools.count()
    monkeypatch.setattr("tests.rounds.time.monotonic", lambda: float(next(clock)))
    rounds = Rounds(first=0, seconds=3.0)
    assert list(rounds) == [0, 1, 2]


def test_a_round_that_fails_is_the_last_one_counted() -> None:
    rounds = Rounds(first=0, seconds=None)
    for number in rounds:
        if number == 4:
            break
    assert rounds.first + rounds.taken == 4
