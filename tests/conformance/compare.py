"""Recorded against ours, by the rules that the vectors' README gives.

First the rules of a line are read off its tags: how many operations count, which fields stay out, which lists are
sets. Then both sides are brought into the form in which they have to be equal, and every field that is not is a
`Difference`. Comparing stops at the first operation that has any; what comes later follows from it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .load import Json, VectorError, need

STOPPING_TAGS = frozenset(
    {
        "dup_collapse",
        "check_multi",
        "exception_rel",
        "self_veto_last",
        "end_raise",
        "raise_multi_tick",
        "skipped_after_raise",
        "err_state_rejected",
        "err_queue_full",
    }
)
"""Tags whose effect begins at an operation, `compare_until`; nothing from there on is compared."""

RESOLVED_TAGS = frozenset({"when_transient", "when_ctx_gc", "args_reuse"})
"""Tags that leave `resolved` out as a whole."""

STALE_TAG = "after_stale"
FUNCTION_TAG = "fn_quirk"


class Coverage(StrEnum):
    """How much of a line is compared."""

    WHOLE = "whole"
    PART = "in part"
    NOTHING = "in nothing"


class Missing:
    """Stands for a field that one side does not have."""

    def __repr__(self) -> str:
        return "(none)"


MISSING = Missing()


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that is not the same. `path` leads to it from the top of the line: `results[3].tx[0].target`."""

    path: str
    recorded: object
    ours: object


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts in a scenario line.

    Operations before `until` are compared. `as_sets`: lists of states in the order of the resolver have no order here.
    `ignored` are the subscriptions that may resolve at another operation; `any_resolved` leaves all of them out.
    `stale_after` leaves out the time after a transition whose final phase raised.
    """

    until: int
    as_sets: bool
    ignored: frozenset[str]
    any_resolved: bool
    stale_after: bool

    @classmethod
    def of(cls, data: Json) -> Rules:
        """Raises `VectorError` if the line contradicts itself."""
        tags = set(data.get("quirks", ()))
        operations, results = need(data, "ops", "the scenario"), need(data, "results", "the scenario")
        if len(operations) != len(results):
            raise VectorError(f"{len(operations)} operations have {len(results)} results")
        until = data.get("compare_until")
        if until is None and tags & STOPPING_TAGS:
            raise VectorError(f"the tags {sorted(tags & STOPPING_TAGS)} need 'compare_until'")
        if data.get("order") not in ("exact", "set"):
            raise VectorError(f"unknown order {data.get('order')!r}")
        return cls(
            until=len(operations) if until is None else min(until, len(operations)),
            as_sets=data["order"] == "set",
            ignored=frozenset(ignored_subscriptions(data, tags)),
            any_resolved=bool(tags & RESOLVED_TAGS),
            stale_after=STALE_TAG in tags,
        )

    def coverage(self, data: Json) -> Coverage:
        """How much of the line these rules leave."""
        if not self.until:
            return Coverage.NOTHING
        stale = self.stale_after and any(any(stale_transitions(result)) for result in data["results"])
        if self.until < len(data["ops"]) or self.ignored or self.any_resolved or stale:
            return Coverage.PART
        return Coverage.WHOLE


def ignored_subscriptions(data: Json, tags: set[str]) -> Iterator[str]:
    """Names of the subscriptions whose moment the tags leave open, made in handlers or outside of them."""
    nested = [op for behaviour in data.get("handlers", {}).values() for op in behaviour.get("mutations", ())]
    for op in (*data["ops"], *nested):
        if "sub" in op and (
            ("query_bind" in tags and op["op"] == "when_query")
            or ("when_queue" in tags and op["op"] == "when_queue")
            or ("ctx_end" in tags and "ctx" in op)
        ):
            yield op["sub"]


def compare_results(rules: Rules, recorded: list[Json], ours: Iterable[Json]) -> list[Difference]:
    """The differences in the first operation that has any. `ours` is read no further than that."""
    for index, (theirs, own) in enumerate(zip(recorded, ours, strict=False)):
        left, right = prepared(theirs, own, rules)
        found = list(differences(left, right, f"results[{index}]"))
        if found:
            return found
    return []


def prepared(recorded: Json, ours: Json, rules: Rules) -> tuple[Json, Json]:
    """Both entries in the form in which they have to be equal."""
    stale = list(stale_transitions(recorded)) if rules.stale_after else []
    return counted(recorded, rules, stale), counted(ours, rules, stale)


def counted(result: Json, rules: Rules, stale: list[bool]) -> Json:
    """What counts in one entry of results: without the fields left out, with sets in one order."""
    entry = {key: value for key, value in result.items() if key not in ("tx", "resolved")}
    if rules.as_sets and "active" in entry:
        entry["active"] = in_one_order(entry["active"])
    resolved = [name for name in result.get("resolved", ()) if name not in rules.ignored]
    if resolved and not rules.any_resolved:
        entry["resolved"] = resolved
    if "tx" in result:
        entry["tx"] = [
            counted_transition(tx, rules.as_sets, index < len(stale) and stale[index])
            for index, tx in enumerate(result["tx"])
        ]
    return entry


def counted_transition(tx: Json, as_sets: bool, stale_after: bool) -> Json:
    """What counts in one transition."""
    entry = {key: value for key, value in tx.items() if not (stale_after and key == "after")}
    if as_sets:
        unordered = ("target", "enters", "exits", "log", *(["called"] if tx.get("auto") else ()))
        entry.update({key: in_one_order(entry[key]) for key in unordered if key in entry})
    return entry


def stale_transitions(result: Json) -> Iterator[bool]:
    """For each recorded transition: whether its time after was taken before the correction of a raise.

    Such a one is not accepted, and the adding of `Exception` alone, at the front of the queue, follows it.
    """
    transitions = result.get("tx", [])
    for tx, following in zip(transitions, [*transitions[1:], None], strict=True):
        yield (
            tx.get("accepted") is False
            and following is not None
            and following.get("type") == "add"
            and following.get("called") == ["Exception"]
            and not {"qtick", "auto", "check"} & set(following)
        )


def in_one_order(items: Iterable[Any]) -> list[Any]:
    """The same items in an order of their own, to compare lists whose order does not count."""
    return sorted(items, key=canonical)


def canonical(value: object) -> str:
    """The same text for the same JSON value; unlike Python's own equality it tells 1 from true."""
    return json.dumps(value, sort_keys=True, default=repr)


def differences(recorded: object, ours: object, path: str) -> Iterator[Difference]:
    """Every field that is not the same. Lists of objects are walked into, other lists are one field."""
    if isinstance(recorded, dict) and isinstance(ours, dict):
        for key in dict.fromkeys((*recorded, *ours)):
            yield from differences(recorded.get(key, MISSING), ours.get(key, MISSING), f"{path}.{key}")
    elif walked(recorded) and walked(ours):
        assert isinstance(recorded, list) and isinstance(ours, list)
        for index in range(max(len(recorded), len(ours))):
            left = recorded[index] if index < len(recorded) else MISSING
            right = ours[index] if index < len(ours) else MISSING
            yield from differences(left, right, f"{path}[{index}]")
    elif recorded is MISSING or ours is MISSING or canonical(recorded) != canonical(ours):
        yield Difference(path, recorded, ours)


def walked(value: object) -> bool:
    """Whether differences inside of this list are told apart."""
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def compare_function(data: Json, ours: object) -> tuple[list[Difference], Coverage]:
    """The differences of one function line."""
    tags = set(data.get("quirks", ()))
    if "exception_rel" in tags:
        return [], Coverage.NOTHING
    recorded, own = plain(need(data, "result", "the line")), plain(ours)
    if FUNCTION_TAG not in tags:
        return list(differences(recorded, own, "result")), Coverage.WHOLE
    if data["fn"] not in FUNCTION_RULES:
        raise VectorError(f"there is no rule for the tag {FUNCTION_TAG!r} on {data['fn']!r}")
    recorded, own = FUNCTION_RULES[data["fn"]](data["args"], recorded, own)
    return list(differences(recorded, own, "result")), Coverage.PART


def plain(value: Any) -> Any:
    """Without what means the same as its absence: an empty relation list, a flag that is not set, no errors."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if item not in (None, [], ()) and item is not False}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def subtracted(args: Json, recorded: Any, ours: Any) -> tuple[Any, Any]:
    """Ours subtracts every list, the recorded function left the first one out."""
    dropped = {name for names in (*args.get("lists", ()), args.get("s2", ())) for name in names}
    return [name for name in args["s"] if name not in dropped], ours


def known_once(args: Json, recorded: Any, ours: Any) -> tuple[Any, Any]:
    """Ours gives known names, once each."""
    return sorted(set(args["s"]) & set(args["index"])), ours


def without_relations(args: Json, recorded: Any, ours: Any) -> tuple[Any, Any]:
    """Ours renames relation targets by a rule of its own; the states and their flags have to match."""

    def flags(schema: Json) -> Json:
        return {
            name: {key: value for key, value in state.items() if key in ("auto", "multi")}
            for name, state in schema.items()
        }

    return flags(recorded), flags(ours)


def at_least_errors(args: Json, recorded: Any, ours: Any) -> tuple[Any, Any]:
    """Ours may report more errors, those recorded have to be among them."""
    left, right = dict(recorded), dict(ours)
    left["errors"] = sorted(left.get("errors", ()))
    right["errors"] = sorted((Counter(left["errors"]) & Counter(right.get("errors", ()))).elements())
    return left, right


FUNCTION_RULES = {
    "S.Delete": subtracted,
    "S.Delete1": subtracted,
    "Schema.Prefix": without_relations,
    "Schema.Parse": at_least_errors,
    "Machine.ParseStates": known_once,
}
"""What the tag `fn_quirk` means for each function that has a repaired defect."""
