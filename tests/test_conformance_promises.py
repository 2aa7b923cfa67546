"""What ours does where a vector's tag lets it differ: the repaired behaviour, checked on the recorded scenarios.

The conformance runner leaves these fields out. Here they are worked out from the rest of the same results, so a tag
hides nothing but the defect it names.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.__main__ import OWN_VECTORS
from tests.conformance.compare import Rules, stale_transitions
from tests.conformance.load import Json, Line, load
from tests.conformance.operations import query
from tests.conformance.scenario import start


def lines_with(tag: str) -> list[Json]:
    """All lines with the tag. There has to be one, else a test would check nothing."""
    lines = [e.data for e in load([OWN_VECTORS]) if isinstance(e, Line) and tag in e.data.get("quirks", ())]
    assert lines, f"no line has the tag {tag!r}"
    return lines


def one_by_one(lines: list[Json]) -> pytest.MarkDecorator:
    """One test a line."""
    return pytest.mark.parametrize("line", lines, ids=[line["id"] for line in lines])


def broken_finals() -> list[Json]:
    """Lines in which the final phase of a transition breaks before another tag's effect begins."""
    return [
        line
        for line in lines_with("after_stale")
        if any(any(stale_transitions(result)) for result in line["results"][: Rules.of(line).until])
    ]


def played(line: Json) -> list[Json]:
    """Our results for all operations, also where they cannot be compared with the recorded ones any more."""
    run = start(line)
    return [run.operate(op) for op in line["ops"]]


def resolved_at(results: list[Json], name: str) -> int | None:
    """Index of the operation in which the subscription resolved."""
    return next((index for index, result in enumerate(results) if name in result.get("resolved", ())), None)


def operations(line: Json, name: str) -> Iterator[tuple[int, Json]]:
    """The operations of one kind, each with its index."""
    return ((index, op) for index, op in enumerate(line["ops"]) if op["op"] == name)


@one_by_one(lines_with("query_bind"))
def test_a_query_that_holds_already_is_met_when_it_is_made(line: Json) -> None:
    results = played(line)
    checked = 0
    for index, op in operations(line, "when_query"):
        clock = dict(zip(line["states"], results[index]["time"], strict=True))
        if query(op["query"])(clock):
            assert resolved_at(results, op["sub"]) == index
            checked += 1
    assert checked


@one_by_one(lines_with("when_queue"))
def test_a_wait_for_a_queue_tick_ends_when_the_mutation_has_finished_executed_or_not(line: Json) -> None:
    results = played(line)
    checked = 0
    for index, op in operations(line, "when_queue"):
        reached = (i for i in range(index, len(results)) if results[i]["qtick"] >= op["tick"])
        assert resolved_at(results, op["sub"]) == next(reached, None)
        checked += 1
    assert checked


@one_by_one(lines_with("ctx_end"))
def test_waits_bound_to_a_context_end_with_it(line: Json) -> None:
    results = played(line)
    cancelled = {op["ctx"]: index for index, op in operations(line, "ctx_cancel")}
    checked = 0
    for index, op in enumerate(line["ops"]):
        if "sub" in op and op.get("ctx") in cancelled:
            end = resolved_at(results, op["sub"])
            assert end is not None and end <= max(index, cancelled[op["ctx"]])
            checked += 1
    assert checked


@one_by_one(broken_finals())
def test_the_time_after_a_broken_transition_has_its_correction(line: Json) -> None:
    until = Rules.of(line).until
    for recorded, ours in zip(line["results"][:until], played(line)[:until], strict=True):
        transitions = ours["tx"]
        for position, stale in enumerate(stale_transitions(recorded)):
            if stale:
                broken, following = transitions[position], transitions[position + 1]
                changed = {*following.get("enters", ()), *following.get("exits", ())}
                for name, then, now in zip(line["states"], broken["after"], following["after"], strict=True):
                    assert (now > then) is (name in changed and following["accepted"]), name
