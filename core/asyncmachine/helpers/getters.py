"""Values read, or written, between two transitions, from another thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from asyncmachine.machine.errors import WaitTimeout
from asyncmachine.machine.machine import Machine

T = TypeVar("T")


def eval_getter(machine: Machine[Any], function: Callable[[], T], *, tries: int = 1) -> T:
    """`machine.eval` that waits for its turn up to `tries` times (at least once). Raises `WaitTimeout`.

    Coroutines take `await machine.eval_async(function)`, which waits as long as it takes.
    """
    for _ in range(tries - 1):
        try:
            return machine.eval(function)
        except WaitTimeout:
            continue
    return machine.eval(function)
