"""Rules of the queue: what may be skipped, what still gets in when it is full."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from asyncmachine.machine.evaluation import Evaluation
from asyncmachine.machine.mutation import ADD, REMOVE, SET, Mutation

Position = Literal["any", "first", "last"]
"""Which part of the queue a question is about."""


class Queued(NamedTuple):
    """A mutation that waits: its place in the queue, counted from 0, and its queue tick (0 without one)."""

    place: int
    tick: int


def same_as(queue: Sequence[Mutation | Evaluation[Any]], kind: int, called: Iterable[int]) -> Mutation | None:
    """The same mutation without arguments, if one waits already and nothing queued behind it undoes it."""
    wanted = set(called)
    for at in range(len(queue) - 1, -1, -1):
        waiting = queue[at]
        if isinstance(waiting, Evaluation) or waiting.is_check:
            continue
        if waiting.kind_id == kind and not waiting.args and set(waiting.indexes) == wanted:
            return waiting
        if undoes(waiting, kind, wanted):
            return None
    return None


def undoes(later: Mutation, kind: int, called: set[int]) -> bool:
    """Can a mutation that runs later change what an earlier one of `kind` with these states has done?"""
    if kind == SET:
        return True
    if later.kind_id == SET:
        return not called <= set(later.indexes) if kind == ADD else bool(called & set(later.indexes))
    return later.kind_id != kind and bool(called & set(later.indexes))


def lets_in(limit: int, waiting: int, kind: int, about_exception: bool, exception_active: bool) -> bool:
    """False if the queue is full. Errors get in even then until `Exception` is active, and its removal after that."""
    if waiting < limit:
        return True
    if not about_exception:
        return False
    return (kind == ADD and not exception_active) or (kind == REMOVE and exception_active)


def find_queued(
    queue: Sequence[Mutation],
    kind: int,
    called: set[int],
    without_args: bool,
    strict: bool,
    min_tick: int,
    is_check: bool,
    position: Position,
) -> Queued | None:
    """The first mutation that fits; see `Machine.is_queued`."""
    last = len(queue) - 1
    for at, waiting in enumerate(queue):
        fits = (
            waiting.kind_id == kind
            and waiting.is_check == is_check
            and called <= set(waiting.indexes)
            and not (strict and len(waiting.indexes) != len(called))
            and not (without_args and waiting.args)
            and (not min_tick or waiting.queue_tick >= min_tick)
            and (position == "any" or at == (0 if position == "first" else last))
        )
        if fits:
            return Queued(at, waiting.queue_tick)
    return None
