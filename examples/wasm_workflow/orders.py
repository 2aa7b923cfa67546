"""The typed arguments that travel between the machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import asyncmachine as am

from examples.wasm_workflow.run import Attempt
from examples.wasm_workflow.settings import Settings


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
    """What an attempt came to: 64 bytes, or none when it failed."""

    attempt: Attempt
    result: bytes = b""
