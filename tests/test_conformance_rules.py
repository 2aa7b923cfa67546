"""What the tags and the order of a vector let differ, and that they let nothing else differ."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.compare import STOPPING_TAGS, Coverage, Rules, compare_function, compare_results
from tests.conformance.load import Json, VectorError
from tests.conformance_sample import planted, scenario, verdict


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


@pytest.mark.parametrize("tag", sorted(STOPPING_TAGS))
def test_a_tag_whose_effect_begins_somewhere_needs_the_place(tag: str) -> None:
    assert "need 'compare_until'" in verdict(scenario(quirks=[tag])).error
    assert verdict(scenario(quirks=[tag], compare_until=6)).passed


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
