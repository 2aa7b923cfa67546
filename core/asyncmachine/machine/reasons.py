"""Why a mutation was canceled, in words. Asked of a result or a transition, so nothing is made that nobody reads."""

from __future__ import annotations

from asyncmachine.machine.explain import Blocked, Dropped, resolver_facts
from asyncmachine.machine.mutation import KINDS
from asyncmachine.machine.plan import Plan
from asyncmachine.machine.relations import REMOVE
from asyncmachine.machine.rules import Rules, mask_of

BACKING_OFF = "a handler has missed its deadline, and the machine takes nothing for a while"
CANCELLED = "a task that was cancelled is no error"
ENDLESS = "it is part of a chain of mutations that goes round for ever"


def rejected(rules: Rules, plan: Plan) -> str:
    """Why the relations reject a plan: for each called state that they leave out (or keep) what is in its way."""
    names, there = rules.names, mask_of(plan.target)
    facts = resolver_facts(rules, plan)
    lacks = {state: missing for fact in facts if isinstance(fact, Dropped) for state, missing in fact.states}
    blocks = {fact.state: fact.by for fact in facts if isinstance(fact, Blocked)}
    out = [names[i] for i in plan.called if (there >> i & 1) == (plan.kind == REMOVE)]

    def why(state: str) -> str:
        if state in lacks:
            return f"{state} requires {' and '.join(lacks[state])}"
        if state in blocks:
            return f"{' and '.join(blocks[state])} removes {state}"
        return f"the relations {'keep' if plan.kind == REMOVE else 'leave out'} {state}"

    return "; ".join(map(why, out)) or f"the relations reject this {KINDS[plan.kind]}"


def disposed(id: str) -> str:
    """Of a machine that has ended, or is about to."""
    return f"machine {id!r} is disposed of"


def full(limit: int) -> str:
    """Of a queue that takes no more."""
    return f"the queue of {limit} is full"


def vetoed(handler: str) -> str:
    """Of a negotiation handler that said no."""
    return f"{handler} vetoed"


class Broken(str):
    """Quotes an error, which may say anything."""

    __slots__ = ("unquoted",)

    unquoted: str
    """The same without what the error says."""


def broken(handler: str, error: BaseException) -> str:
    """Of a handler that raised."""
    unquoted = f"{handler} raised {type(error).__name__}"
    reason = Broken(f"{unquoted}: {error}")
    reason.unquoted = unquoted
    return reason


def told_elsewhere(reason: str) -> str:
    """The reason as other processes are told it: what errors say stays here."""
    return reason.unquoted if isinstance(reason, Broken) else reason
