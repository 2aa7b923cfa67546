"""The function lines: which function of ours answers for which recorded one.

Each entry takes the line's arguments and gives what ours returns, as plain JSON values. `Machine.*` entries first make
the machine that the arguments describe and run their operations on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import asyncmachine as am
from asyncmachine.machine import clock, names, verify
from asyncmachine.machine.clock import Time, TimeIndex

from .load import Json, VectorError, need
from .operations import MUTATIONS, make_machine

Function = Callable[[Json], Any]


def call(data: Json) -> Any:
    """What ours returns for the line. Raises `VectorError` for a function that has no entry."""
    fn = need(data, "fn", "the line")
    if fn not in FUNCTIONS:
        raise VectorError(f"unknown function {fn!r}")
    return FUNCTIONS[fn](need(data, "args", "the line"))


def time_of(args: Json) -> Time:
    return Time(args["t"])


def index_of(args: Json) -> TimeIndex:
    return Time(args["t"]).with_names(args["index"])


def result_of(number: int) -> am.Result:
    """The result that the recording writes as this number."""
    if number < 2:
        return am.CANCELED if number else am.EXECUTED
    return am.Result(am.Outcome.QUEUED, number)


def filtered(args: Json) -> Json:
    found = index_of(args).filter(args["s"])
    return {"index": list(found.names), "time": list(found.time)}


def machine_of(args: Json) -> am.Machine[str]:
    """The machine that the arguments describe, after its operations."""
    machine = make_machine(args["schema"], args["index"])
    for op in args["ops"]:
        if op.get("op") not in MUTATIONS:
            raise VectorError(f"unknown operation {op.get('op')!r}")
        MUTATIONS[op["op"]](machine, op)
    return machine


def parsed_states(args: Json) -> list[str]:
    """Known names, once each. In the order of the recording, which is sorted because it was random."""
    return sorted(names.shared(names.unique(args["s"]), machine_of(args).names))


def texts(args: Json) -> Json:
    machine = machine_of(args)
    return {"inspect": machine.inspect(), "string": str(machine), "string_all": machine.string_all()}


def parsed(args: Json) -> Json:
    schema = am.Schema(args["schema"])
    errors = verify.conflicts(schema) + verify.unknown_targets(schema, ("require",))
    return {"errors": sorted(errors) or None, "schema": verify.cleaned(schema).to_dict()}


def related(args: Json, query: Callable[[am.Schema], Any], key: str) -> Json:
    """The answer of a relation query under `key`, or the error for a state that is unknown."""
    try:
        return {"error": None, key: list(query(machine_of(args).schema))}
    except KeyError as error:
        return {"error": f"state unknown: {error.args[0]}", key: []}


def exported(args: Json) -> Json:
    machine = machine_of(args)
    schema = machine.schema
    if "Exception" not in args["schema"]:
        # What `exception_rel` stands for shows in lines that do not carry the tag: the recording has lost relations to
        # an undeclared Exception, in ours they count.
        given = verify.cleaned(am.Schema(args["schema"]))
        schema = am.Schema({name: given.get(name, found) for name, found in schema.items()})
    return {"error": None, "export": {**machine.export().to_dict(), "id": "t"}, "schema": schema.to_dict()}


def prefixed(args: Json) -> Json:
    """`s` lists the states to keep, all of them when empty; `s2` lists those to leave out of them."""
    kept = names.without(args["s"] or args["schema"], args["s2"] or ())
    return am.Schema(args["schema"]).prefixed(args["str"], kept, once=args["flag"]).to_dict()


TIME: dict[str, Function] = {
    "IsActiveTick": lambda a: clock.is_active_tick(a["tick"]),
    "NextActive": lambda a: clock.next_active(a["tick"]),
    "NextActiveIn": lambda a: clock.next_active_in(a["tick"]),
    "NextInactive": lambda a: clock.next_inactive(a["tick"]),
    "NextInactiveIn": lambda a: clock.next_inactive_in(a["tick"]),
    "Time.String": lambda a: str(time_of(a)),
    "Time.Increment": lambda a: time_of(a).increment(a["idx"]),
    "Time.Add": lambda a: time_of(a).add(a["t2"]),
    "Time.DiffSince": lambda a: time_of(a).diff_since(a["t2"]),
    "Time.Sum": lambda a: time_of(a).sum(a["idxs"]),
    "Time.Filter": lambda a: time_of(a).filter(a["idxs"]),
    "Time.NonZeroStates": lambda a: time_of(a).touched(),
    "Time.After": lambda a: time_of(a).after(a["t2"], or_equal=a["flag"]),
    "Time.Before": lambda a: time_of(a).before(a["t2"], or_equal=a["flag"]),
    "Time.Equal": lambda a: time_of(a).equal(a["t2"], strict=a["flag"]),
    "Time.Tick": lambda a: time_of(a).tick(a["idx"]),
    "Time.Is": lambda a: time_of(a).is_(*a["idxs"]),
    "Time.Is1": lambda a: time_of(a).is_(a["idx"]),
    "Time.Not": lambda a: time_of(a).not_(*a["idxs"]),
    "Time.Not1": lambda a: time_of(a).not1(a["idx"]),
    "Time.Any": lambda a: time_of(a).any_group(*a["groups"]),
    "Time.Any1": lambda a: time_of(a).any_(*a["idxs"]),
    "Time.ActiveStates": lambda a: time_of(a).active(a.get("idxs")),
    "NewTimeIndex": lambda a: TimeIndex.starting(a["index"], a["idxs"]).time,
    "TimeIndex.String": lambda a: str(index_of(a)),
    "TimeIndex.StateName": lambda a: index_of(a).name(a["idx"]),
    "TimeIndex.Sum": lambda a: index_of(a).sum(a["s"]),
    "TimeIndex.Filter": filtered,
    "TimeIndex.NonZeroStates": lambda a: index_of(a).touched(),
    "TimeIndex.Is": lambda a: index_of(a).is_(*a["s"]),
    "TimeIndex.Is1": lambda a: index_of(a).is_(a["str"]),
    "TimeIndex.Not": lambda a: index_of(a).not_(*a["s"]),
    "TimeIndex.Not1": lambda a: index_of(a).not_(a["str"]),
    "TimeIndex.Any": lambda a: index_of(a).any_(*a["s"]),
    "TimeIndex.Any1": lambda a: index_of(a).any_(*a["s"]),
    "TimeIndex.ActiveStates": lambda a: index_of(a).active(a["s"]),
}

NAMES: dict[str, Function] = {
    "S.Add": lambda a: names.union(a["s"], *a["lists"]),
    "S.Add1": lambda a: names.union(a["s"], a["s2"]),
    "S.Delete": lambda a: names.without(a["s"], *a["lists"]),
    "S.Delete1": lambda a: names.without(a["s"], a["s2"]),
    "S.Sub": lambda a: names.without(a["s"], a["s2"]),
    "S.Shared": lambda a: names.shared(a["s"], a["s2"]),
    "S.Equal": lambda a: names.same_names(a["s"], a["s2"]),
    "S.EqualOrder": lambda a: tuple(a["s"]) == tuple(a["s2"]),
    "S.Unique": lambda a: names.unique(a["s"]),
    "S.FilterIndex": lambda a: names.names_at(a["s"], a["idxs"]),
    "S.Index": lambda a: names.indexes_of(a["s"], a["s2"]),
    "S.FilterPrefix": lambda a: names.starting_with(a["s"], *a["s2"]),
    "S.FilterMatch": lambda a: names.matching(a["s"], a["str"]),
    "S.Prefix": lambda a: names.prefixed(a["s"], a["str"]),
    "S.Hash": lambda a: names.names_hash(a["s"]),
    "S.Has": lambda a: a["str"] in names.unique(a["s"]),
    "Hash": lambda a: names.short_hash(a["str"], a["idx"]),
    "Capitalize": lambda a: names.capitalized(a["str"]),
    "IsHandler": lambda a: names.handler_states(a["s"], a["str"]),
    "IsQueued": lambda a: result_of(a["tick"]).queued,
    "Result.String": lambda a: str(result_of(a["tick"]).outcome),
}

SCHEMA: dict[str, Function] = {
    "State.Extend": lambda a: am.State.parse(a["state"]).extend(am.State.parse(a["state2"])).to_dict(),
    "State.Set": lambda a: (
        am.State.parse(a["state"]).override(am.State.parse(a["state2"]), auto=a["flag"], multi=a["flag2"]).to_dict()
    ),
    "State.SetRels": lambda a: am.State.parse(a["state"]).override(am.State.parse(a["state2"])).to_dict(),
    "Schema.Merge": lambda a: am.Schema(a["schemas"][0]).merge(*map(am.Schema, a["schemas"][1:])).to_dict(),
    "Schema.Prefix": prefixed,
    "Schema.Parse": parsed,
    "Schema.AdjacentStates": lambda a: am.Schema(a["schema"]).get(a["str"], am.State()).related(),
}

MACHINE: dict[str, Function] = {
    "Machine.Text": texts,
    "Machine.Export": exported,
    "Machine.RelationsOf": lambda a: related(a, lambda schema: schema.relations_of(a["str"]), "relations"),
    "Machine.RelationsBetween": lambda a: related(
        a, lambda schema: schema.relations_between(a["str"], a["str2"]), "relations"
    ),
    "Machine.InboundRelationsOf": lambda a: related(
        a, lambda schema: sorted(schema.inbound_relations_of(a["str"])), "states_sorted"
    ),
    "Machine.Inspect": lambda a: machine_of(a).inspect(a["s"]),
    "Machine.ParseStates": parsed_states,
    "Machine.Is": lambda a: machine_of(a).is_(*a["s"]),
    "Machine.Not": lambda a: machine_of(a).not_(*a["s"]),
    "Machine.Any": lambda a: any(machine_of(a).is_(*group) for group in a["lists"]),
    "Machine.Any1": lambda a: machine_of(a).any_(*a["s"]),
    "Machine.Has": lambda a: machine_of(a).has(*a["s"]),
    "Machine.Index": lambda a: [machine_of(a).index(name) for name in a["s"]],
    "Machine.Switch": lambda a: machine_of(a).switch(*a["lists"]) or "",
    "Machine.ActiveStates": lambda a: machine_of(a).active_states(a["s"]),
    "Machine.Time": lambda a: machine_of(a).time(a["s"]),
    "Machine.Clock": lambda a: machine_of(a).clock(a["s"]),
    "Machine.Tick": lambda a: machine_of(a).tick(a["str"]),
    "Machine.IsTime": lambda a: machine_of(a).is_time(a["t"], a["s"]),
    "Machine.WasTime": lambda a: machine_of(a).was_time(a["t"], a["s"]),
    "Machine.IsClock": lambda a: machine_of(a).is_clock(a["clock"]),
    "Machine.WasClock": lambda a: machine_of(a).was_clock(a["clock"]),
}

FUNCTIONS: dict[str, Function] = {**TIME, **NAMES, **SCHEMA, **MACHINE}
