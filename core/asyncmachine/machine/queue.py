"""Rules of the queue: what may be skipped, what still gets in when it is full."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from asyncmachine.machine.mutation import ADD, REMOVE, SET, Mutation


def is_duplicate(queue: Sequence[Mutation], kind: int, called: Iterable[int]) -> bool:
    """True if the same mutation without arguments already waits and nothing queued behind it undoes it."""
    wanted = set(called)
    for at in range(len(queue) - 1, -1, -1):
        waiting = queue[at]
        if waiting.is_check:
            continue
        if waiting.kind_id == kind and not waiting.args and set(waiting.indexes) == wanted:
            return True
        if undoes(waiting, kind, wanted):
            return False
    return False


def undoes(later: Mutation, kind: int, called: set[int]) -> bool:
    """Can a mutation that runs later change what an earlier one of `kind` with these states has done?"""
    if kind == SET:
        return True
    if later.kind_id == SET:
        return not called <= set(later.indexes) if kind == ADD else bool(called & set(later.indexes))
    return later.kind_id != kind and bool(called & set(later.indexes))


def lets_in(limit: int, waiting: int, kind: int, about_exception: bool, exception_active: bool) -> bool:
    """False if the queue is full. An error, or the removal of one, gets in once even then."""
    if waiting < limit:
        return True
    if not about_exception:
        return False
    return (kind == ADD and not exception_active) or (kind == REMOVE and exception_active)
