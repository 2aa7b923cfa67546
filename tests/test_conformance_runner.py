"""The conformance runner: it finds a difference in every field, honours each tag, and fails rather than skips."""

from __future__ import annotations

import bz2
import copy
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.__main__ import main
from tests.conformance.check import Verdict, check
from tests.conformance.compare import Coverage, Rules, compare_function, compare_results
from tests.conformance.load import Broken, Json, Line, VectorError, load
from tests.conformance.report import Report, described
from tests.conformance.scenario import handler_names

SCENARIO: Json = {
    "id": "planted",
    "category": "planted",
    "states": ["A", "B", "M", "Exception"],
    "schema": {"A": {}, "B": {"remove": ["A"]}, "M": {"multi": True}},
    "bind": "listed",
    "handlers": {
        "AState": {"do": "mutate", "on": [1], "mutations": [{"op": "add", "states": ["M"]}]},
        "BEnter": {"do": "veto", "on": [2]},
        "MEnd": {"do": "log"},
    },
    "order": "exact",
    "ops": [
        {"op": "add", "states": ["A"]},
        {"op": "when_not", "states": ["A"], "sub": "s1"},
        {"op": "can_add", "states": ["B"]},
        {"op": "set", "states": ["B"]},
        {"op": "add_err", "err": "out of luck"},
        {"op": "remove", "states": ["A", "M"]},
    ],
    "results": [
        {
            "result": "executed",
            "n": 0,
            "time": [1, 0, 1, 0],
            "active": ["M", "A"],
            "qtick": 3,
            "tx": [
                {
                    "type": "add",
                    "called": ["A"],
                    "qtick": 2,
                    "accepted": True,
                    "target": ["A"],
                    "enters": ["A"],
                    "after": [1, 0, 0, 0],
                    "log": ["AState", {"op": "add", "states": ["M"], "result": "queued", "n": 3}],
                },
                {
                    "type": "add",
                    "called": ["M"],
                    "qtick": 3,
                    "accepted": True,
                    "target": ["M", "A"],
                    "enters": ["M"],
                    "after": [1, 0, 1, 0],
                },
            ],
        },
        {"result": "-", "time": [1, 0, 1, 0], "active": ["M", "A"], "qtick": 3, "tx": []},
        {
            "result": "executed",
            "n": 0,
            "time": [1, 0, 1, 0],
            "active": ["M", "A"],
            "qtick": 3,
            "tx": [
                {
                    "type": "add",
                    "called": ["B"],
                    "check": True,
                    "accepted": True,
                    "target": ["B", "M"],
                    "enters": ["B"],
                    "exits": ["A"],
                    "after": [1, 0, 1, 0],
                    "log": ["BEnter"],
                }
            ],
        },
        {
            "result": "canceled",
            "n": 1,
            "time": [1, 0, 1, 0],
            "active": ["M", "A"],
            "qtick": 4,
            "tx": [
                {
                    "type": "set",
                    "called": ["B"],
                    "qtick": 4,
                    "accepted": False,
                    "target": ["B"],
                    "enters": ["B"],
                    "exits": ["M", "A"],
                    "after": [1, 0, 1, 0],
                    "log": ["BEnter"],
                }
            ],
        },
        {
            "result": "executed",
            "n": 0,
            "time": [1, 0, 1, 1],
            "active": ["Exception", "M", "A"],
            "qtick": 5,
            "err": "out of luck",
            "tx": [
                {
                    "type": "add",
                    "called": ["Exception"],
                    "qtick": 5,
                    "accepted": True,
                    "target": ["Exception", "M", "A"],
                    "enters": ["Exception"],
                    "after": [1, 0, 1, 1],
                }
            ],
        },
        {
            "result": "executed",
            "n": 0,
            "time": [2, 0, 2, 1],
            "active": ["Exception"],
            "qtick": 6,
            "err": "out of luck",
            "resolved": ["s1"],
            "tx": [
                {
                    "type": "remove",
                    "called": ["A", "M"],
                    "qtick": 6,
                    "accepted": True,
                    "target": ["Exception"],
                    "exits": ["M", "A"],
                    "after": [2, 0, 2, 1],
                    "log": ["MEnd"],
                }
            ],
        },
    ],
}


def scenario(**changes: Any) -> Json:
    """A copy of the scenario with other top-level fields."""
    return {**copy.deepcopy(SCENARIO), **changes}


def verdict(data: Json) -> Verdict:
    return check(Line("here:1", data))


def planted(path: str, value: object) -> Json:
    """A copy of the scenario in which the field at the path has the value."""
    data = scenario()
    *way, last = [int(part) if part.isdigit() else part for part in path.replace("[", ".").replace("]", "").split(".")]
    found: Any = data
    for part in way:
        found = found[part]
    if value is None:
        del found[last]
    else:
        found[last] = value
    return data


def leaves(value: object, path: str) -> list[str]:
    """The paths to all fields below; a list of anything but objects is one field."""
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item, f"{path}.{key}")]
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return [leaf for index, item in enumerate(value) for leaf in leaves(item, f"{path}[{index}]")]
    return [path]


FIELDS = leaves(SCENARIO["results"], "results")


def value_at(data: Json, path: str) -> Any:
    found: Any = data
    for part in path.replace("[", ".").replace("]", "").split("."):
        found = found[int(part) if part.isdigit() else part]
    return found


def altered(value: object) -> object:
    """Another value of the same kind."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return value + "x"
        case list():
            return [*value, "Zed"]
    raise AssertionError(f"no other value for {value!r}")


def results(**changes: Any) -> list[Json]:
    """One entry of results with one transition; the changes are to its transition."""
    tx = {"type": "add", "called": ["A"], "accepted": True, "target": ["A"], "after": [1], **changes}
    return [{"result": "executed", "n": 0, "time": [1], "active": ["A"], "qtick": 2, "tx": [tx]}]


def line_of(recorded: list[Json], **fields: Any) -> Json:
    """The least of a line that rules can be read from."""
    ops = fields.pop("ops", [{"op": "add", "states": ["A"]}] * len(recorded))
    return {"order": "exact", "ops": ops, "results": recorded, **fields}


def paths(line: Json, ours: list[Json]) -> list[str]:
    """Where ours differs from the line."""
    return [found.path for found in compare_results(Rules.of(line), line["results"], ours)]


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


# What tags and order let differ


def test_compare_until_stops_before_that_operation() -> None:
    data = planted("results[3].n", 7)
    data |= {"quirks": ["end_raise"], "compare_until": 3}
    assert verdict(data).passed and verdict(data).coverage is Coverage.PART
    data["compare_until"] = 4
    assert not verdict(data).passed


def test_what_comes_after_compare_until_is_not_run() -> None:
    data = scenario(quirks=["end_raise"], compare_until=2)
    data["ops"][4]["states"] = data["ops"][5]["states"] = ["Nowhere"]
    assert verdict(data).passed


@pytest.mark.parametrize("until", [6, 9])
def test_compare_until_at_the_end_compares_all(until: int) -> None:
    data = scenario(quirks=["raise_multi_tick"], compare_until=until)
    assert verdict(data).passed and verdict(data).coverage is Coverage.WHOLE
    data["results"][5]["n"] = 7
    assert not verdict(data).passed


def test_nothing_compared_is_told_apart() -> None:
    assert verdict(scenario(quirks=["exception_rel"], compare_until=0)).coverage is Coverage.NOTHING


@pytest.mark.parametrize("tag", ["add_depth", "after_order"])
def test_informative_tags_let_nothing_differ(tag: str) -> None:
    assert verdict(scenario(quirks=[tag])).coverage is Coverage.WHOLE
    assert not verdict({**planted("results[0].tx[1].target", ["A", "M"]), "quirks": [tag]}).passed


@pytest.mark.parametrize("field", ["target", "enters", "exits"])
def test_sets_have_no_order_but_their_members_count(field: str) -> None:
    ours = results(**{field: ["A", "B"]})
    line = line_of(results(**{field: ["B", "A"]}), order="set")
    assert paths(line, ours) == []
    assert paths({**line, "order": "exact"}, ours) == [f"results[0].tx[0].{field}"]
    assert paths(line, results(**{field: ["A", "A", "B"]})) == [f"results[0].tx[0].{field}"]


def test_active_is_a_set_too() -> None:
    recorded, ours = results(), results()
    recorded[0]["active"], ours[0]["active"] = ["A", "B"], ["B", "A"]
    assert paths(line_of(recorded, order="set"), ours) == []
    assert paths(line_of(recorded), ours) == ["results[0].active"]


def test_called_is_a_set_in_auto_transitions_only() -> None:
    recorded, ours = {"called": ["A", "B"]}, {"called": ["B", "A"]}
    assert paths(line_of(results(**recorded), order="set"), results(**ours)) == ["results[0].tx[0].called"]
    auto = {"auto": True}
    assert paths(line_of(results(**recorded, **auto), order="set"), results(**ours, **auto)) == []


def test_log_is_a_multiset() -> None:
    nested = {"op": "add", "states": ["B"], "result": "queued", "n": 3}
    recorded = line_of(results(log=["AA", nested, "AA"]), order="set")
    assert paths(recorded, results(log=[dict(reversed(nested.items())), "AA", "AA"])) == []
    assert paths(recorded, results(log=["AA", nested])) == ["results[0].tx[0].log"]
    assert paths(recorded, results(log=["AA", nested, nested])) == ["results[0].tx[0].log"]


def test_time_and_after_keep_their_order_among_sets() -> None:
    recorded, ours = results(after=[1, 2]), results(after=[2, 1])
    recorded[0]["time"], ours[0]["time"] = [1, 2], [2, 1]
    assert paths(line_of(recorded, order="set"), ours) == ["results[0].time", "results[0].tx[0].after"]


SUBSCRIPTIONS = [
    {"op": "when_query", "sub": "query"},
    {"op": "when_queue", "sub": "queue"},
    {"op": "when", "sub": "bound", "ctx": "c"},
    {"op": "when", "sub": "free"},
]


@pytest.mark.parametrize(
    ("tag", "ignored"), [("query_bind", ["query"]), ("when_queue", ["queue"]), ("ctx_end", ["bound"])]
)
@pytest.mark.parametrize("in_handler", [False, True])
def test_a_tag_leaves_out_when_its_kind_of_subscription_resolves(
    tag: str, ignored: list[str], in_handler: bool
) -> None:
    recorded = results()
    made: Json = {"ops": SUBSCRIPTIONS[:1]}
    if in_handler:
        made = {"handlers": {"AState": {"do": "mutate", "mutations": SUBSCRIPTIONS}}}
    else:
        made = {"ops": SUBSCRIPTIONS, "results": recorded * 4}
    line = {**line_of(recorded), **made, "quirks": [tag]}
    assert Rules.of(line).coverage(line) is Coverage.PART
    for name in ("query", "queue", "bound", "free"):
        ours = [{**recorded[0], "resolved": [name]}, *recorded * 3]
        assert paths(line, ours) == ([] if name in ignored else ["results[0].resolved"])


def test_the_other_subscriptions_resolve_in_the_recorded_order() -> None:
    line = {**line_of(results() * 4), "ops": SUBSCRIPTIONS, "quirks": ["query_bind"]}
    line["results"][0] = {**line["results"][0], "resolved": ["queue", "query", "free"]}
    rest = line["results"][1:]
    assert paths(line, [{**line["results"][0], "resolved": ["queue", "free"]}, *rest]) == []
    assert paths(line, [{**line["results"][0], "resolved": ["free", "queue"]}, *rest]) == ["results[0].resolved"]


@pytest.mark.parametrize("tag", ["when_transient", "when_ctx_gc", "args_reuse"])
def test_a_tag_leaves_out_all_of_resolved_and_nothing_else(tag: str) -> None:
    line = line_of(results(), quirks=[tag])
    assert paths(line, [{**results()[0], "resolved": ["s"]}]) == []
    assert paths(line, [{**results()[0], "n": 1, "resolved": ["s"]}]) == ["results[0].n"]
    assert Rules.of(line).coverage(line) is Coverage.PART


def raised(**changes: Any) -> list[Json]:
    """Results in which a transition is not accepted and `Exception` is added after it."""
    entry = results(accepted=False, after=[1])[0]
    added = {"type": "add", "called": ["Exception"], "accepted": True, "target": [], "after": [2], **changes}
    return [{**entry, "tx": [*entry["tx"], added]}]


def test_a_stale_time_after_may_differ_and_nothing_else() -> None:
    line = line_of(raised(), quirks=["after_stale"])
    ours = raised()
    ours[0]["tx"][0]["after"] = [9]
    assert paths(line, ours) == []
    assert Rules.of(line).coverage(line) is Coverage.PART
    ours[0]["tx"][1]["after"] = [9]
    assert paths(line, ours) == ["results[0].tx[1].after"]
    ours = raised()
    ours[0]["time"] = [9]
    assert paths(line, ours) == ["results[0].time"]
    ours = raised()
    ours[0]["tx"][0]["target"] = ["Zed"]
    assert paths(line, ours) == ["results[0].tx[0].target"]


@pytest.mark.parametrize(
    "following",
    [{"qtick": 3}, {"called": ["ErrX", "Exception"]}, {"type": "set"}, {"check": True}, {"auto": True}],
)
def test_a_time_after_is_stale_only_before_the_adding_of_exception(following: Json) -> None:
    line = line_of(raised(**following), quirks=["after_stale"])
    ours = raised(**following)
    ours[0]["tx"][0]["after"] = [9]
    assert paths(line, ours) == ["results[0].tx[0].after"]
    assert Rules.of(line).coverage(line) is Coverage.WHOLE


def test_the_time_after_of_an_accepted_transition_is_never_stale() -> None:
    recorded, ours = raised(), raised()
    recorded[0]["tx"][0]["accepted"] = ours[0]["tx"][0]["accepted"] = True
    ours[0]["tx"][0]["after"] = [9]
    assert paths(line_of(recorded, quirks=["after_stale"]), ours) == ["results[0].tx[0].after"]


def test_the_rules_of_several_tags_hold_together() -> None:
    line = line_of(raised() + raised() + results(), quirks=["after_stale", "query_bind", "add_depth", "end_raise"])
    line |= {"compare_until": 2, "handlers": {"AState": {"do": "mutate", "mutations": SUBSCRIPTIONS}}}
    ours = raised() + raised()
    ours[0]["tx"][0]["after"] = [9]
    ours[1]["resolved"] = ["query"]
    assert paths(line, ours) == []
    ours[1]["resolved"] = ["queue"]
    assert paths(line, ours) == ["results[1].resolved"]


# Function lines


def function(fn: str, args: Json, result: object, *tags: str) -> Json:
    return {"id": "f", "category": "schema", "fn": fn, "args": args, "result": result, "quirks": list(tags)}


def test_a_function_line_has_to_match() -> None:
    line = function("S.Unique", {"s": ["A", "A"]}, ["A"])
    assert verdict(line).passed and verdict(line).coverage is Coverage.WHOLE
    assert [found.path for found in verdict({**line, "result": ["A", "A"]}).differences] == ["result"]


def test_missing_and_empty_relations_are_the_same() -> None:
    recorded = {"A": {"add": ["B"], "remove": []}, "B": {"multi": False}}
    assert compare_function(function("f", {}, recorded), {"A": {"add": ("B",)}, "B": {}}) == ([], Coverage.WHOLE)
    found, _ = compare_function(function("f", {}, recorded), {"A": {"add": ("B",)}})
    assert [difference.path for difference in found] == ["result.B"]


def test_a_zero_and_an_empty_text_are_not_nothing() -> None:
    found, _ = compare_function(function("f", {}, {"A": 0, "B": ""}), {})
    assert [difference.path for difference in found] == ["result.A", "result.B"]


def test_all_lists_are_subtracted() -> None:
    line = function("S.Delete", {"s": ["A", "B", "C"], "lists": [["A"], ["C"]]}, ["A", "B"], "fn_quirk")
    assert compare_function(line, ["B"]) == ([], Coverage.PART)
    assert compare_function(line, ["A", "B"])[0]
    line = function("S.Delete1", {"s": ["A", "B"], "s2": ["B"]}, ["A", "B"], "fn_quirk")
    assert not compare_function(line, ["A"])[0]
    assert verdict(line).passed


def test_relation_lists_of_a_prefixed_schema_may_differ_its_states_and_flags_not() -> None:
    recorded = {"PreA": {"add": ["PreB"], "auto": True}}
    line = function("Schema.Prefix", {}, recorded, "fn_quirk")
    assert compare_function(line, {"PreA": {"add": ["B"], "auto": True}})[0] == []
    assert [found.path for found in compare_function(line, {"PreA": {"add": ["B"]}})[0]] == ["result.PreA.auto"]
    assert [found.path for found in compare_function(line, {"A": {"auto": True}})[0]] == ["result.PreA", "result.A"]


def test_parsing_may_report_more_errors() -> None:
    line = function("Schema.Parse", {}, {"errors": ["one"], "schema": {"A": {}}}, "fn_quirk")
    assert compare_function(line, {"errors": ["two", "one"], "schema": {"A": {}}})[0] == []
    assert [found.path for found in compare_function(line, {"errors": ["two"], "schema": {"A": {}}})[0]] == [
        "result.errors"
    ]
    assert [found.path for found in compare_function(line, {"errors": ["one"], "schema": {}})[0]] == ["result.schema.A"]
    silent = function("Schema.Parse", {}, {"errors": None, "schema": {}}, "fn_quirk")
    assert compare_function(silent, {"errors": ["two"], "schema": {}})[0] == []


def test_parsed_states_are_the_known_ones_once_each() -> None:
    line = function(
        "Machine.ParseStates", {"s": ["B", "A", "B", "Zed"], "index": ["A", "B"]}, ["A", "B", "Zed"], "fn_quirk"
    )
    assert compare_function(line, ["A", "B"])[0] == []
    assert compare_function(line, ["A", "B", "Zed"])[0]


def test_relations_to_exception_leave_out_the_result_but_not_the_call() -> None:
    line = function("S.Unique", {"s": ["A"]}, ["B"], "exception_rel")
    assert verdict(line).passed and verdict(line).coverage is Coverage.NOTHING
    assert not verdict({**line, "fn": "Time.Fly"}).passed
    assert not verdict({**line, "args": {}}).passed


def test_a_quirk_of_a_function_without_a_rule_is_a_failure() -> None:
    with pytest.raises(VectorError, match=r"no rule for the tag 'fn_quirk' on 'S\.Unique'"):
        compare_function(function("S.Unique", {}, [], "fn_quirk"), [])


# Files


def written(path: Path, *lines: Json, pack: Any = None) -> Path:
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    path.write_bytes(pack(content) if pack else content)
    return path


def reasons(*paths: Path) -> list[str]:
    return [entry.reason for entry in load(paths) if isinstance(entry, Broken)]


@pytest.mark.parametrize(
    ("suffix", "pack"), [("", None), (".gz", gzip.compress), (".xz", lzma.compress), (".bz2", bz2.compress)]
)
def test_files_are_read_compressed_or_not(tmp_path: Path, suffix: str, pack: Any) -> None:
    file = written(tmp_path / f"v.jsonl{suffix}", {"id": "1"}, {"id": "2"}, pack=pack)
    assert list(load([file])) == list(load([tmp_path]))
    assert list(load([file])) == [Line(f"v.jsonl{suffix}:1", {"id": "1"}), Line(f"v.jsonl{suffix}:2", {"id": "2"})]


def test_directories_are_searched_to_the_bottom_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "b" / "deep").mkdir(parents=True)
    written(tmp_path / "b" / "deep" / "x.jsonl.gz", {"id": "2"}, pack=gzip.compress)
    written(tmp_path / "a.jsonl", {"id": "1"})
    (tmp_path / "README.md").write_text("no vectors")
    assert [(e.place, e.data) for e in load([tmp_path]) if isinstance(e, Line)] == [
        ("a.jsonl:1", {"id": "1"}),
        ("b/deep/x.jsonl.gz:1", {"id": "2"}),
    ]


def test_line_separators_inside_of_texts_do_not_split_lines(tmp_path: Path) -> None:
    file = tmp_path / "v.jsonl"
    file.write_text('{"err": "a\u2028b\u0085c"}\r\n\n', encoding="utf-8", newline="")
    assert [e.data for e in load([file]) if isinstance(e, Line)] == [{"err": "a\u2028b\u0085c"}]


def test_places_without_vectors_are_failures(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "notes.txt").write_text("none here")
    assert reasons(tmp_path / "missing") == ["there is no such file or directory"]
    assert reasons(tmp_path / "sub") == ["the directory holds no .jsonl file, compressed or not"]
    assert reasons(tmp_path / "empty.jsonl") == ["the file holds no lines"]


def test_broken_files_and_lines_are_failures_and_the_rest_is_run(tmp_path: Path) -> None:
    written(tmp_path / "cut.jsonl.xz", {"id": "1"}, pack=lambda content: lzma.compress(content)[:-20])
    written(tmp_path / "bad.jsonl.gz", {"id": "1"}, pack=lambda content: gzip.compress(content)[:-9] + b"123456789")
    (tmp_path / "lines.jsonl").write_bytes(b'{"id": "1"}\n{"id": \n[1]\n')
    (tmp_path / "text.jsonl").write_bytes(b"\xff\xfe")
    entries = list(load([tmp_path]))
    broken = {entry.place: entry.reason for entry in entries if isinstance(entry, Broken)}
    assert sorted(broken) == ["bad.jsonl.gz", "cut.jsonl.xz", "lines.jsonl:2", "lines.jsonl:3", "text.jsonl"]
    assert all("cannot be read" in broken[name] for name in ("bad.jsonl.gz", "cut.jsonl.xz", "text.jsonl"))
    assert broken["lines.jsonl:3"] == "is not a JSON object but list"
    assert [entry.place for entry in entries if isinstance(entry, Line)] == ["lines.jsonl:1"]


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
