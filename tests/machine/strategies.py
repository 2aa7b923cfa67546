"""Random schemas and mutations for hypothesis."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from asyncmachine import Schema, State

NAMES = ("Exception", "A", "B", "C", "D", "Heartbeat")
KINDS = ("add", "remove", "set", "toggle", "can_add", "can_remove")

Mutation = tuple[str, tuple[str, ...]]
"""A kind and the called states."""


@st.composite
def states(draw: st.DrawFn, names: Sequence[str], earlier: Sequence[str]) -> State:
    few = st.lists(st.sampled_from(names), max_size=2, unique=True).map(tuple)
    lists = {key: draw(st.none() | few) for key in ("require", "add", "remove")}
    required = lists["require"] or ()
    # To require what one removes is a mistake that the machine refuses.
    lists["remove"] = tuple(name for name in lists["remove"] or () if name not in required)
    if earlier:
        lists["after"] = draw(st.none() | st.lists(st.sampled_from(earlier), max_size=2, unique=True).map(tuple))
    return State(auto=draw(st.integers(0, 3)) == 0, multi=draw(st.integers(0, 2)) == 0, **lists)


@st.composite
def schemas(draw: st.DrawFn, *, after_cycles: bool = True) -> Schema:
    """Two to six states. Without `after_cycles`, After names only states that come earlier."""
    names = NAMES[: draw(st.integers(2, len(NAMES)))]
    return Schema({name: draw(states(names, names if after_cycles else names[:at])) for at, name in enumerate(names)})


def mutations(names: Sequence[str], kinds: Sequence[str] = KINDS) -> st.SearchStrategy[Mutation]:
    called = st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True).map(tuple)
    return st.tuples(st.sampled_from(kinds), called)
