"""The conformance runner: it finds a difference in every field, fails rather than skips, and says how many passed."""

from __future__ import annotations

import copy
import random
import signal
from pathlib import Path

import pytest

from tests.conformance.__main__ import OWN_VECTORS, main
from tests.conformance.check import time_limit
from tests.conformance.compare import Coverage
from tests.conformance.functions import FUNCTIONS
from tests.conformance.load import Json, Line, load
from tests.conformance.report import Report, described
from tests.conformance.scenario import handler_names
from tests.conformance_sample import SCENARIO, altered, leaves, planted, scenario, value_at, verdict, written

FIELDS = leaves(SCENARIO["results"], "results")


# A whole scenario


def test_the_scenario_passes_as_it_stands() -> None:
    found = verdict(scenario())
    assert found.passed, "\n".join(described(found))
    assert found.coverage is Coverage.WHOLE


@pytest.mark.parametrize("path", FIELDS)
def test_a_planted_difference_is_found_in_each_field(path: str) -> None:
    value = [{}] if path.endswith(".tx") else altered(value_at(SCENARIO, path))
    found = verdict(planted(path, value))
    assert any(difference.path.startswith(path) for difference in found.differences), f"{value!r} was not noticed"


@pytest.mark.parametrize("path", FIELDS)
def test_a_field_that_is_missing_is_found(path: str) -> None:
    assert path in [difference.path for difference in verdict(planted(path, None)).differences]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("results[0].qlen", 1),
        ("results[0].err", "boom"),
        ("results[0].resolved", ["s1"]),
        ("results[0].unheard_of", 1),
        ("results[0].tx[0].auto", True),
        ("results[0].tx[0].exits", ["B"]),
        ("results[1].n", 0),
        ("results[2].tx[0].qtick", 3),
    ],
)
def test_a_field_that_ours_does_not_have_is_found(path: str, value: object) -> None:
    assert [difference.path for difference in verdict(planted(path, value)).differences] == [path]


@pytest.mark.parametrize("way", ["results[0].active", "results[3].tx[0].exits"])
def test_order_counts(way: str) -> None:
    reverse = list(reversed(value_at(SCENARIO, way)))
    assert [difference.path for difference in verdict(planted(way, reverse)).differences] == [way]


def test_one_is_not_true() -> None:
    assert not verdict(planted("results[0].tx[0].accepted", 1)).passed


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_transitions_is_found(count: int) -> None:
    recorded = value_at(SCENARIO, "results[0].tx")
    found = verdict(planted("results[0].tx", (recorded * 2)[:count]))
    assert found.differences[-1].path == ("results[0].tx[1]" if count == 1 else "results[0].tx[2]")


def test_only_the_first_operation_that_differs_is_shown() -> None:
    data = planted("results[2].n", 7)
    data["results"][4]["n"] = 7
    assert [difference.path for difference in verdict(data).differences] == ["results[2].n"]


def test_all_handler_names_of_two_states() -> None:
    assert set(handler_names(["A", "B"])) == {
        *("AEnter", "AExit", "AState", "AEnd", "BEnter", "BExit", "BState", "BEnd"),
        *("AA", "AB", "BA", "BB", "AnyEnter", "AnyState"),
    }


def test_all_handlers_are_bound_and_called() -> None:
    data = scenario(bind="all", handlers={}, ops=SCENARIO["ops"][:1], results=[copy.deepcopy(SCENARIO["results"][0])])
    data["results"][0]["tx"] = data["results"][0]["tx"][:1]
    data["results"][0] |= {"time": [1, 0, 0, 0], "active": ["A"], "qtick": 2}
    data["results"][0]["tx"][0]["log"] = ["AEnter", "AnyEnter", "AState", "AnyState"]
    found = verdict(data)
    assert found.passed, "\n".join(described(found))


def test_names_that_are_never_called_are_not_bound() -> None:
    handlers = {**SCENARIO["handlers"], **{name: {"do": "panic"} for name in ("AnyExit", "AnyEnd", "AAny", "AnyAny")}}
    assert verdict(scenario(handlers=handlers)).passed


def test_an_empty_list_of_handlers_binds_nothing() -> None:
    found = verdict(scenario(handlers={}, compare_until=1, quirks=["end_raise"]))
    assert "results[0].time" in [difference.path for difference in found.differences]


def test_what_ours_raises_is_a_failure_with_its_operation() -> None:
    data = scenario()
    data["ops"][3]["states"] = ["Nowhere"]
    found = verdict(data)
    assert not found.passed and found.operation == 3
    assert "StateMissing" in found.error and "Nowhere" in found.error
    assert found.trace


# Lines that ask for something unknown


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ops": [{"op": "explode"}], "results": [{}]}, "unknown operation 'explode'"),
        ({"handlers": {"AState": {"do": "mutate", "mutations": [{"op": "explode"}]}}}, "unknown operation 'explode'"),
        ({"handlers": {"AState": {"do": "dance"}}}, "unknown behaviour 'dance' of AState"),
        ({"handlers": {"AState": {"do": "mutate"}}}, "the behaviour of AState lacks 'mutations'"),
        ({"bind": "some"}, "unknown way to bind handlers 'some'"),
        ({"order": "random"}, "unknown order 'random'"),
        ({"quirks": ["end_raise"]}, "need 'compare_until'"),
        ({"ops": SCENARIO["ops"][:2]}, "2 operations have 6 results"),
        ({"ops": [{"op": "add"}], "results": [{}]}, "add lacks 'states'"),
        ({"ops": [{"op": "ctx_cancel", "ctx": "c"}], "results": [{}]}, "the context 'c', which was never made"),
        (
            {"ops": [{"op": "when_query", "sub": "s", "query": [["A", "~", 1]]}], "results": [{}]},
            "unknown comparison '~'",
        ),
    ],
)
def test_what_is_unknown_or_contradictory_is_a_failure(change: Json, said: str) -> None:
    found = verdict(scenario(**change))
    assert not found.passed
    assert said in found.error


@pytest.mark.parametrize("key", ["states", "schema", "bind", "order", "ops", "results"])
def test_a_scenario_without_one_of_its_parts_is_a_failure(key: str) -> None:
    data = scenario()
    del data[key]
    assert repr(key) in verdict(data).error or "None" in verdict(data).error


def test_an_unknown_operation_counts_also_where_nothing_is_compared() -> None:
    data = scenario(quirks=["end_raise"], compare_until=0)
    assert verdict(data).passed
    data["ops"][-1] = {"op": "explode"}
    assert verdict(data).error == "unknown operation 'explode'"


def test_an_unknown_function_is_a_failure() -> None:
    assert verdict({"id": "f", "fn": "Time.Fly", "args": {}, "result": 1}).error == "unknown function 'Time.Fly'"


# The command


def output(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_the_last_line_counts_and_all_green_exits_with_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path / "v.jsonl", scenario(), scenario(quirks=["exception_rel"], compare_until=2))
    assert main([str(tmp_path)]) == 0
    *_, counts, last = output(capsys)
    assert last == "2 passed, 0 failed"
    assert counts.startswith("lines compared: 1 whole, 1 in part, 0 in nothing")


def test_a_failure_is_shown_with_its_place_operation_and_both_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "v.jsonl", scenario(), planted("results[3].tx[0].exits", ["A", "M"]))
    assert main([str(tmp_path / "v.jsonl")]) == 1
    lines = output(capsys)
    assert lines[:5] == [
        "FAILED v.jsonl:2 planted",
        '  ops[3] of 6: {"op": "set", "states": ["B"]}',
        "  results[3].tx[0].exits",
        '    recorded ["A", "M"]',
        '    ours     ["M", "A"]',
    ]
    assert lines[-1] == "1 passed, 1 failed"


def test_verbose_shows_the_inputs_and_the_stack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = scenario()
    data["ops"][0]["states"] = ["Nowhere"]
    written(tmp_path / "v.jsonl", data)
    main([str(tmp_path), "--verbose"])
    text = "\n".join(output(capsys))
    assert '  bind: "listed"' in text and "Traceback" in text and "StateMissing" in text
    main([str(tmp_path)])
    assert "Traceback" not in "\n".join(output(capsys))


def test_stop_ends_after_so_many_failures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = planted("results[0].n", 7)
    written(tmp_path / "v.jsonl", scenario(), bad, bad, bad, scenario())
    assert main([str(tmp_path), "--stop", "2"]) == 1
    assert output(capsys)[-1] == "1 passed, 2 failed"


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_nothing_to_run_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / name)]) == 1
    assert output(capsys)[-1] == "0 passed, 1 failed"


def test_a_missing_path_fails_beside_one_that_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path / "v.jsonl", scenario())
    assert main([str(tmp_path / "v.jsonl"), str(tmp_path / "missing")]) == 1
    assert output(capsys)[-1] == "1 passed, 1 failed"


def test_no_verdict_at_all_is_not_green() -> None:
    lines: list[str] = []
    report = Report(lines.append)
    report.close(0.0)
    assert not report.green
    assert lines[-1] == "0 passed, 0 failed"


def test_many_differences_are_cut_short_unless_all_are_asked_for() -> None:
    data = scenario()
    data["results"][0] = {f"field{i}": i for i in range(8)}
    found = verdict(data)
    assert list(described(found))[-1].startswith("  and ")
    assert sum(line.startswith("  results[0]") for line in described(found)) == 5
    assert sum(line.startswith("  results[0]") for line in described(found, all_of_it=True)) == len(found.differences)


# Lines that do not end, and lines of others


def test_a_line_that_does_not_end_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def forever(args: Json) -> None:
        while True:
            pass

    monkeypatch.setitem(FUNCTIONS, "Time.Fly", forever)
    monkeypatch.setattr("tests.conformance.check.SECONDS_PER_LINE", 0.05)
    found = verdict({"id": "f", "fn": "Time.Fly", "args": {}, "result": 1})
    assert found.error == "raised TookTooLong: no end after 0.05 s"


def test_the_limit_of_a_line_gives_back_the_timer_it_found() -> None:
    outer = signal.getsignal(signal.SIGALRM)
    before = signal.getitimer(signal.ITIMER_REAL)[0]
    with time_limit(5.0):
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 5.0
    assert signal.getsignal(signal.SIGALRM) is outer
    after = signal.getitimer(signal.ITIMER_REAL)[0]
    assert (after == 0.0) if before == 0.0 else (0.0 < after <= before)


@pytest.mark.parametrize("file", sorted(OWN_VECTORS.iterdir()), ids=lambda file: file.name)
def test_one_planted_difference_is_noticed_in_every_recorded_line(file: Path) -> None:
    draw = random.Random(file.name)
    lines = [e.data for e in load([file]) if isinstance(e, Line)]
    untagged = [data for data in lines if not data.get("quirks")]
    assert untagged
    for data in draw.sample(untagged, min(40, len(untagged))):
        spoilt, where = spoil(data, draw)
        assert not verdict(spoilt).passed, f"{data['id']}: {where}"


def spoil(data: Json, draw: random.Random) -> tuple[Json, str]:
    """A copy of the line with one field of its results changed, and which one. Functions get another result."""
    if "fn" in data:
        return {**data, "result": {"result": data["result"]}}, "result"
    path = draw.choice([path for path in leaves(data["results"], "results") if not path.endswith(".tx")])
    return planted(path, altered(value_at(data, path)), data), path
