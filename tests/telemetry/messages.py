"""Random messages of the debug stream."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from asyncmachine.telemetry.dbg import messages as m

counts = st.integers(0, 300) | st.integers(0, 2**64 - 1)
ids = st.text(min_size=1, max_size=8)
names = st.text(max_size=8)
texts = st.text(max_size=40)


def tuples(of: st.SearchStrategy[Any], size: int = 4) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(of, max_size=size).map(tuple)


rules = st.builds(
    m.Rule, st.integers(0, 3), *[st.none() | tuples(names) for _ in ("require", "add", "remove", "after", "tags")]
)
shapes = st.builds(m.Shape, st.integers(0, m.ALL_FLAGS), tuples(counts), tuples(st.integers(-(2**63), 2**63 - 1)))
sems = st.builds(m.Sem, names, names, tuples(names), tuples(counts), tuples(names))
lines = st.builds(m.Line, st.integers(0, 5), texts, st.none() | sems)
sources = st.builds(m.Source, names, names, counts)
failures = st.builds(m.Failure, names, texts, texts, names)
details = st.builds(
    m.Detail,
    names,
    counts,
    counts,
    st.none() | sources,
    st.dictionaries(names, texts, max_size=3),
    st.none() | failures,
    tuples(lines),
    tuples(lines),
    tuples(st.integers(-2, 100)),
    counts,
    counts,
    texts,
)
numbers = st.integers(0, m.MOST_MACHINES - 1)

messages: st.SearchStrategy[m.AnyMessage] = st.one_of(
    st.builds(m.Hello, st.just(m.MAGIC), counts, ids, st.builds(m.Process, names, counts, names, names)),
    st.builds(
        m.Machine,
        numbers,
        ids,
        st.lists(ids, min_size=1, max_size=4).map(tuple),
        tuples(rules),
        tuples(counts),
        counts,
        counts,
        counts,
        counts,
        names,
        tuples(names),
        tuples(st.builds(m.Group, names, tuples(counts))),
        st.booleans(),
    ),
    st.builds(
        m.Transitions,
        numbers,
        counts,
        counts,
        counts,
        st.lists(shapes, min_size=1, max_size=3).map(tuple),
        st.lists(counts, max_size=4),
        st.lists(counts, max_size=4),
        st.lists(st.integers(-5, 5), max_size=4),
        st.dictionaries(counts, details, max_size=2),
    ),
    st.builds(m.Log, numbers, counts, tuples(lines)),
    st.builds(m.Gap, numbers, counts, counts, tuples(counts), counts, counts, counts, counts),
    st.builds(m.Pipes, numbers, counts, tuples(st.builds(m.Pipe, st.integers(0, 3), names, names))),
    st.builds(m.Gone, numbers, counts),
    st.builds(m.Bye),
    st.builds(m.Forwarded, ids, counts, st.binary(max_size=20)),
)


def a_machine(number: int = 0, id: str = "m", states: int = 2, **more: Any) -> m.Machine:
    """A machine that a receiver takes."""
    fields: dict[str, Any] = {
        "names": tuple(f"S{i}" for i in range(states)),
        "rules": (m.Rule(),) * states,
        "time": (0,) * states,
        "next": 1,
        "now": 5,
    }
    return m.Machine(number, id, **{**fields, **more})


def a_batch(machine: int = 0, first: int = 1, count: int = 1, **more: Any) -> m.Transitions:
    """Records that all add S1."""
    fields: dict[str, Any] = {
        "now": 10,
        "queue_tick": 2,
        "shapes": (m.Shape(m.Flag.ACCEPTED, (1,), (1, 1)),),
        "which": [0] * count,
        "times": [0] + [7] * (count - 1),
        "queue_ticks": [0] + [1] * (count - 1),
    }
    return m.Transitions(machine, first, **{**fields, **more})
