"""Rows compare, aims are judged but never fail, and five minutes are five minutes."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.report import Row, collect, figure, main, row, table


@pytest.mark.parametrize(
    ("ours", "peers", "more", "ratio"),
    [
        (2.0, {"a": 6.0, "b": 4.0}, False, 2.0),
        (8.0, {"a": 6.0, "b": 4.0}, False, 0.5),
        (9.0, {"a": 3.0, "b": 1.0}, True, 3.0),
        (1.0, {}, False, None),
        (0.0, {"a": 3.0}, False, None),
    ],
)
def test_the_ratio_is_to_the_best_peer(ours: float, peers: dict[str, float], more: bool, ratio: float | None) -> None:
    assert row("r", "ms", ours, peers=peers, more_is_better=more).ratio == ratio


@pytest.mark.parametrize(
    ("aim", "holds"),
    [(None, None), ("ours <= 2", True), ("ours <= 1.5", False), ("ratio >= 2", True), ("ratio >= 2.1", False)],
)
def test_an_aim_holds_or_is_missed(aim: str | None, holds: bool | None) -> None:
    assert row("r", "ms", 2.0, peers={"a": 4.0}, aim=aim).holds is holds


@pytest.mark.parametrize("aim", ["fast", "ours < 3", "theirs <= 3", "ours <= x"])
def test_an_aim_that_cannot_be_read_is_an_error(aim: str) -> None:
    with pytest.raises(ValueError, match="is not of the form"):
        row("r", "ms", 2.0, aim=aim)


def test_an_aim_for_the_ratio_needs_a_peer() -> None:
    with pytest.raises(ValueError, match="needs a peer"):
        row("r", "ms", 2.0, aim="ratio >= 1")


def test_the_table_lines_up() -> None:
    lines = table([row("add", "µs", 2.1, peers={"x": 31.0}, aim="ratio >= 20"), row("boot, cold", "ms", 812.0)])
    assert lines.splitlines() == [
        "figure      ours      peers  ratio   aim",
        "add         2.1   µs  x 31   14.76×  ratio >= 20  missed",
        "boot, cold  812   ms",
    ]


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (0.01234, "0.0123"), (12.345, "12.3"), (1234.5, "1,234")])
def test_figures_have_three_digits(value: float, text: str) -> None:
    assert figure(value) == text


def some_rows() -> Iterator[Row]:
    yield row("one", "ms", 1.0, peers={"p": 2.0}, aim="ratio >= 9")
    yield row("two", "ms", 2.0)


def test_json_has_the_seven_keys_and_a_missed_aim_exits_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("some", some_rows, ["--json", str(tmp_path / "rows.json")]) == 0
    assert json.loads((tmp_path / "rows.json").read_text()) == [
        {
            "name": "one",
            "unit": "ms",
            "ours": 1.0,
            "peers": {"p": 2.0},
            "ratio": 2.0,
            "aim": "ratio >= 9",
            "holds": False,
        },
        {"name": "two", "unit": "ms", "ours": 2.0, "peers": {}, "ratio": None, "aim": None, "holds": None},
    ]
    assert "missed" in capsys.readouterr().out


def test_overtime_keeps_the_rows_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def endless() -> Iterator[Row]:
        yield row("one", "ms", 1.0)
        while True:
            pass

    assert main("endless", endless, ["--json", str(tmp_path / "rows.json")], limit=0.05) == 1
    assert [each["name"] for each in json.loads((tmp_path / "rows.json").read_text())] == ["one"]
    assert "figures are missing" in capsys.readouterr().err


def test_each_row_is_told_at_once_with_the_seconds_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    def slow() -> Iterator[Row]:
        begun = time.monotonic()
        while time.monotonic() - begun < 0.2:
            pass
        yield from some_rows()

    assert collect(slow, 60.0)[1]
    first, second = (re.split(r"\s{2,}", line.strip()) for line in capsys.readouterr().err.splitlines())
    assert (first[0], second[0]) == ("one: 1 ms", "two: 2 ms")
    assert float(first[1].removesuffix(" s")) >= 0.2
    assert float(second[1].removesuffix(" s")) >= 0.0


def test_overtime_reaches_through_asyncio_and_broad_handlers() -> None:
    async def stubborn() -> None:
        begun = time.monotonic()
        while time.monotonic() - begun < 3:
            try:
                sum(range(10_000))
                await asyncio.sleep(0)
            except Exception:  # noqa: BLE001
                continue

    def endless() -> Iterator[Row]:
        yield row("one", "ms", 1.0)
        asyncio.run(stubborn())

    rows, complete = collect(endless, 0.05)
    assert (len(rows), complete) == (1, False)


def test_the_alarm_and_its_timer_are_given_back() -> None:
    """Without that the time-out of the tests themselves, an alarm too, would be lost."""
    handler, (left, _) = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    assert left > 0
    assert collect(some_rows, 60.0)[1]
    assert signal.getsignal(signal.SIGALRM) is handler
    assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= left
