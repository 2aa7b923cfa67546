"""The typed arguments that travel between the machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import asyncmachine as am
from examples.wasm_workflow.run import Attempt


@dataclass(frozen=True)
class Boot(am.Args, state="Start", prefix="workflow"):
    """What a worker has to know before it starts. The two ids are W3C trace context: all machines share one trace."""

    trace_id: str
    span_id: str
    seed: int
    success_rate: int
    hash_iterations: int


@dataclass(frozen=True)
class Order(am.Args, state="Working", prefix="workflow"):
    """Work for a node."""

    payload: bytes
    attempt: Attempt


@dataclass(frozen=True)
class Retry(am.Args, state="Retrying", prefix="workflow"):
    """The same work again: the node still has the payload."""

    attempt: Attempt


@dataclass(frozen=True)
class Answer(am.Args, state="Completed", prefix="workflow"):
    """What an attempt came to: 64 bytes, or none when it failed. Travels as a payload called `RESULT`."""

    attempt: Attempt
    result: bytes = b""


RESULT = "result"


def to_meta(attempt: Attempt) -> dict[str, object]:
    """An attempt as it travels beside the data of a payload."""
    return asdict(attempt)


def from_meta(meta: Mapping[str, object]) -> Attempt | None:
    """The attempt that a payload answers; None when there is none in it."""
    match meta:
        case {"run": str(run), "round": int(round_), "number": int(number)}:
            return Attempt(run, round_, number)
        case _:
            return None


@dataclass(frozen=True)
class NodeWork(am.Args, state="NodeWork", prefix="workflow"):
    """How a node is to be asked. A `retry` sends no payload: the node has just failed, so it still has it."""

    retry: bool = False


@dataclass(frozen=True)
class Child(am.Args, state="Child", prefix="workflow"):
    """The worker that an event is about."""

    id: str


@dataclass(frozen=True)
class Cut(am.Args, state="CutConnection", prefix="workflow"):
    """How long every connection is to be cut."""

    seconds: float = 2.0
