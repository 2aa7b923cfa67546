"""One scenario line on a machine of ours.

The machine is made as the line says, then the operations run one after another from outside of any handler. Handlers
do what the line gives them to do at which of their calls; without an entry they log their name and accept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import asyncmachine as am

from .load import Json, VectorError, need
from .operations import (
    DEFAULT_QUEUE_LIMIT,
    MUTATIONS,
    SCOPES,
    SUBSCRIPTIONS,
    Resolved,
    Stage,
    check_operation,
    make_machine,
)
from .record import Recorder, operation_entry, result_fields

NEVER_CALLED = frozenset({"AnyExit", "AnyEnd", "AAny", "AnyA", "AnyAny"})
"""Names that were bound in the recording beside the real ones. Ours refuses to bind a name that can never be called."""

BEHAVIOURS = ("log", "veto", "panic", "mutate")


@dataclass(frozen=True, slots=True)
class Scenario:
    """The inputs of a scenario line, checked: every operation and behaviour in it is known."""

    states: tuple[str, ...]
    schema: Mapping[str, Json]
    bind: str
    behaviours: Mapping[str, Json]
    queue_limit: int
    operations: tuple[Json, ...]

    @classmethod
    def parse(cls, data: Json) -> Scenario:
        """Raises `VectorError` for what is unknown or missing."""
        scenario = cls(
            states=tuple(need(data, "states", "the scenario")),
            schema=need(data, "schema", "the scenario"),
            bind=need(data, "bind", "the scenario"),
            behaviours=data.get("handlers", {}),
            queue_limit=data.get("queue_limit", DEFAULT_QUEUE_LIMIT),
            operations=tuple(need(data, "ops", "the scenario")),
        )
        for op in scenario.operations:
            check_operation(op)
        for name, behaviour in scenario.behaviours.items():
            check_behaviour(name, behaviour)
        return scenario

    def bound(self) -> tuple[str, ...]:
        """Names of the handlers to bind."""
        if self.bind == "none":
            return ()
        if self.bind == "all":
            return tuple(handler_names(self.states))
        if self.bind == "listed":
            return tuple(name for name in self.behaviours if name not in NEVER_CALLED)
        raise VectorError(f"unknown way to bind handlers {self.bind!r}")


def start(data: Json) -> Run:
    """The machine of a scenario line with its handlers bound. Raises `VectorError` for a line with unknown parts."""
    scenario = Scenario.parse(data)
    machine = make_machine(scenario.schema, scenario.states, scenario.queue_limit)
    run = Run(Stage(machine), Recorder(), scenario.behaviours)
    run.bind(scenario.bound())
    return run


def check_behaviour(name: str, behaviour: Json) -> None:
    """Raises `VectorError` for a behaviour that is unknown, or does unknown operations."""
    if behaviour.get("do") not in BEHAVIOURS:
        raise VectorError(f"unknown behaviour {behaviour.get('do')!r} of {name}")
    if behaviour["do"] == "mutate":
        for op in need(behaviour, "mutations", f"the behaviour of {name}"):
            check_operation(op)


def handler_names(states: Iterable[str]) -> Iterator[str]:
    """Every handler name there is for these states."""
    states = tuple(states)
    for name in states:
        yield from (name + suffix for suffix in ("Enter", "Exit", "State", "End"))
        yield from (name + other for other in states)
    yield from ("AnyEnter", "AnyState")


@dataclass(slots=True)
class Run:
    """A scenario under way: its machine, its handlers, and what is still waited for."""

    stage: Stage
    recorder: Recorder
    behaviours: Mapping[str, Json]
    calls: Counter[str] = field(default_factory=Counter)
    pending: dict[str, Resolved] = field(default_factory=dict)

    def bind(self, names: Iterable[str]) -> None:
        """Binds the recorder and the handlers. Without any nothing is bound: a machine may tell that apart."""
        self.stage.machine.trace(self.recorder)
        handlers = {name: self.handler(name) for name in names}
        if handlers:
            self.stage.machine.bind(handlers)

    def operate(self, op: Json) -> Json:
        """Does one operation; returns it in the form of a result entry."""
        result = self.do(op)
        return operation_entry(self.stage.machine, result, self.newly_resolved(), self.recorder.take())

    def do(self, op: Json) -> am.Result | None:
        """A mutation returns its result, everything else None."""
        name = op["op"]
        if name in MUTATIONS:
            return MUTATIONS[name](self.stage.machine, op)
        if name in SUBSCRIPTIONS:
            self.pending[need(op, "sub", name)] = SUBSCRIPTIONS[name](self.stage, op)
        else:
            SCOPES[name](self.stage, op)
        return None

    def newly_resolved(self) -> list[str]:
        """Names of the subscriptions that resolved since the last call, in the order they were made."""
        done = [name for name, resolved in self.pending.items() if resolved()]
        for name in done:
            del self.pending[name]
        return done

    def handler(self, name: str) -> Callable[[am.Event], bool | None]:
        """A handler that notes its call, then behaves as the line says for this call."""
        behaviour = self.behaviours.get(name, {"do": "log"})
        ordinals = behaviour.get("on")

        def call(event: am.Event) -> bool | None:
            self.calls[name] += 1
            self.recorder.note(name)
            if ordinals is None or self.calls[name] in ordinals:
                return self.behave(name, behaviour)
            return None

        return call

    def behave(self, name: str, behaviour: Json) -> bool | None:
        """False is a veto. Raises for a panic."""
        match behaviour["do"]:
            case "veto":
                return False
            case "panic":
                raise RuntimeError(f"boom {name}")
            case "mutate":
                for op in behaviour["mutations"]:
                    self.nest(op)
        return None

    def nest(self, op: Json) -> None:
        """Does an operation inside of a handler and notes what it returned there."""
        result = self.do(op)
        if result is None:
            self.recorder.note({key: op[key] for key in ("op", "sub") if key in op})
        else:
            self.recorder.note({key: op[key] for key in ("op", "states") if key in op} | result_fields(result))
