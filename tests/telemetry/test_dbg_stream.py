"""What a receiver takes, what it does not, and that a message which it does not take has changed nothing."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from asyncmachine.telemetry.dbg import messages as m
from asyncmachine.telemetry.dbg.codec import decode, encode
from asyncmachine.telemetry.dbg.errors import StreamFault
from asyncmachine.telemetry.dbg.records import records_of
from asyncmachine.telemetry.dbg.stream import Stream
from tests.telemetry.hearing import HELLO, Listener
from tests.telemetry.messages import a_batch, a_machine, messages

ADD = m.Flag.ACCEPTED


def stream(*told: Any, **options: Any) -> Stream:
    """A receiver that was told these."""
    found = Stream(**options)
    for message in told:
        found.take(message, encode(message))
    return found


def shaped(*changes: int, flags: int = ADD, called: Sequence[int] = (1,), **more: Any) -> m.Transitions:
    return a_batch(shapes=(m.Shape(flags, tuple(called), changes),), **more)


GOOD: list[Any] = [HELLO, a_machine()]
FAULTS: dict[str, list[Any]] = {
    "no hello": [a_machine()],
    "a second hello": [HELLO, HELLO],
    "another version": [m.Hello(m.MAGIC, 2, "s")],
    "after the goodbye": [HELLO, m.Bye(), a_machine()],
    "a forwarded frame inside of a stream": [HELLO, m.Forwarded("c", 1, b"")],
    "records of an unknown machine": [*GOOD, a_batch(7)],
    "a log of an unknown machine": [*GOOD, m.Log(7, 0, ())],
    "pipes of an unknown machine": [*GOOD, m.Pipes(7, 0)],
    "a gap of an unknown machine": [*GOOD, m.Gap(7, 1, 0, (0, 0), 0)],
    "the end of an unknown machine": [*GOOD, m.Gone(7, 0)],
    "records of one that has ended": [*GOOD, m.Gone(0, 0), a_batch()],
    "too many machines": [*GOOD, a_machine(1, "n"), a_machine(2, "o")],
    "two states of one name": [HELLO, a_machine(names=("A", "A"))],
    "too few rules": [HELLO, a_machine(rules=(m.Rule(),))],
    "too few ticks": [HELLO, a_machine(time=(0,))],
    "a record number 0": [HELLO, a_machine(next=0)],
    "a group of unknown states": [HELLO, a_machine(groups=(m.Group("g", (2,)),))],
    "another machine under a number": [*GOOD, a_machine(id="other")],
    "a number that was there": [*GOOD, a_batch(), a_machine()],
    "a record too early": [*GOOD, a_batch(first=2)],
    "a record again": [*GOOD, a_batch(), a_batch()],
    "no records": [*GOOD, a_batch(which=[], times=[], queue_ticks=[])],
    "columns of another length": [*GOOD, a_batch(times=[0, 0])],
    "queue ticks of another length": [*GOOD, a_batch(queue_ticks=[])],
    "an unknown shape": [*GOOD, a_batch(which=[1])],
    "an unknown called state": [*GOOD, shaped(called=(2,))],
    "an unknown changed state": [*GOOD, shaped(2, 1)],
    "a state below 0": [*GOOD, shaped(-1, 1)],
    "half a change": [*GOOD, shaped(1)],
    "a fourth kind": [*GOOD, shaped(flags=3)],
    "ticks below 0": [*GOOD, shaped(1, -1)],
    "ticks below 0 on the way": [
        *GOOD, a_batch(count=2, which=[1, 0], shapes=(m.Shape(ADD, (), (1, 5)), m.Shape(ADD, (), (1, -5))))
    ],
    "ticks beyond": [HELLO, a_machine(time=(0, 2**64 - 1)), shaped(1, 1)],
    "ticks beyond on the way": [
        HELLO,
        a_machine(time=(0, 2**64 - 1)),
        a_batch(count=2, which=[0, 1], shapes=(m.Shape(ADD, (), (1, 5)), m.Shape(ADD, (), (1, -5)))),
    ],
    "queue ticks below 0": [*GOOD, a_batch(queue_ticks=[-3])],
    "queue ticks beyond": [*GOOD, a_batch(queue_tick=2**64 - 1, queue_ticks=[1])],
    "times beyond": [*GOOD, a_batch(now=2**64 - 1, times=[1])],
    "a detail of no record": [*GOOD, a_batch(details={1: m.Detail()})],
    "half a step": [*GOOD, a_batch(details={0: m.Detail(steps=(1, 0, 1, 0))})],
    "a step of an unknown kind": [*GOOD, a_batch(details={0: m.Detail(steps=(3, 0, 1, 0, 0))})],
    "a step from an unknown state": [*GOOD, a_batch(details={0: m.Detail(steps=(1, 2, 1, 0, 0))})],
    "a step to an unknown state": [*GOOD, a_batch(details={0: m.Detail(steps=(1, 0, -3, 0, 0))})],
    "a step by an unknown relation": [*GOOD, a_batch(details={0: m.Detail(steps=(1, 0, 1, 4, 0))})],
    "a step of unknown flags": [*GOOD, a_batch(details={0: m.Detail(steps=(1, 0, 1, 0, 8))})],
    "a gap that does not add up": [*GOOD, m.Gap(0, 3, 1, (0, 0), 0)],
    "a gap with too few ticks": [*GOOD, m.Gap(0, 2, 1, (0,), 0)],
}  # fmt: skip


@pytest.mark.parametrize("told", FAULTS.values(), ids=FAULTS.keys())
def test_what_is_not_taken_changes_nothing(told: list[Any]) -> None:
    found = stream(*told[:-1], most_machines=2)
    before = copy.deepcopy(found)
    with pytest.raises(StreamFault):
        found.take(told[-1], encode(told[-1]))
    assert found == before


def test_faults_have_close_codes() -> None:
    codes = {}
    for name in ("another version", "too many machines", "no hello"):
        *good, bad = FAULTS[name]
        with pytest.raises(StreamFault) as caught:
            stream(*good, most_machines=2).take(bad, b"")
        codes[name] = caught.value.close
    assert codes == {"another version": 4406, "too many machines": 4429, "no hello": 4400}


def test_a_batch_leads_on() -> None:
    found = stream(*GOOD, a_batch(count=3), a_batch(first=4))
    track = found.tracks[0]
    assert (track.ticks, track.next, track.queue_tick, track.records) == ([0, 4], 5, 2, 4)


def test_a_gap_counts() -> None:
    found = stream(*GOOD, m.Gap(0, 8, 7, (4, 5), 1, 3, 1), a_batch(first=8))
    track = found.tracks[0]
    assert (track.lost, track.ticks, track.next, track.machine_tick) == (7, [4, 6], 9, 1)


def test_a_schema_may_change() -> None:
    found = stream(*GOOD, a_batch(), a_machine(states=3, time=(0, 1, 0), next=2), a_batch(first=2))
    assert found.tracks[0].ticks == [0, 2, 0]
    assert found.tracks[0].about.names == ("S0", "S1", "S2")


def test_a_number_is_free_after_the_end() -> None:
    found = stream(*GOOD, m.Gone(0, 1), a_machine(0, "other", states=1))
    assert found.tracks[0].id == "other"


def test_what_is_known_can_be_told_on() -> None:
    pipes = m.Pipes(0, 1, (m.Pipe(1, "S1", "x"),))
    found = stream(*GOOD, a_machine(1, "n"), pipes, a_batch(count=3), m.Gone(1, 0))
    listener = Listener().hear(*found.known())
    assert [type(message).__name__ for message in listener.messages] == ["Hello", "Machine", "Pipes"]
    assert listener.stream.tracks[0].ticks == [0, 3]
    listener.hear(encode(a_batch(first=4)))
    assert list(Stream().known()) == []


@given(st.lists(messages, max_size=6))
def test_random_messages_are_taken_or_faults(told: list[Any]) -> None:
    found = stream(*GOOD)
    for message in told:
        before = copy.deepcopy(found)
        try:
            found.take(message, encode(message))
        except StreamFault:
            assert found == before


small = st.integers(-1, 3)
batches = st.builds(
    a_batch,
    st.just(0),
    st.just(1),
    st.just(1),
    shapes=st.lists(
        st.builds(m.Shape, st.integers(0, 127), st.lists(st.integers(0, 3)).map(tuple), st.lists(small).map(tuple)),
        min_size=1,
        max_size=3,
    ).map(tuple),
    which=st.lists(st.integers(0, 2), min_size=1, max_size=3),
    times=st.lists(st.integers(0, 3), min_size=1, max_size=3),
    queue_ticks=st.lists(small, min_size=1, max_size=3),
    details=st.dictionaries(st.integers(0, 3), st.builds(m.Detail, steps=st.lists(small, max_size=5).map(tuple))),
)


@given(batches)
def test_a_batch_that_is_taken_can_be_unfolded(batch: m.Transitions) -> None:
    """And leads to the ticks that the receiver has worked out without unfolding it."""
    found = stream(HELLO, a_machine(time=(3, 3)))
    try:
        track = found.take(batch, encode(batch))
    except StreamFault:
        return
    assert track is not None
    records = list(records_of(batch, track.about, (3, 3)))
    assert list(records[-1].after) == track.ticks
    assert all(tick >= 0 for record in records for tick in (*record.before, *record.after, record.queue_tick))
    assert [record.to_dict()["number"] for record in records] == list(range(1, len(records) + 1))


def test_a_large_batch_is_judged_as_a_whole() -> None:
    """No work for each record, and a limit where there has to be some."""
    states = m.MOST_STATES
    every = tuple(number for state in range(states) for number in (state, 1))
    back = tuple(number for state in range(states) for number in (state, -1))
    machine = a_machine(states=states, time=(2**40,) * states)
    for changes in (every, back):
        batch = a_batch(count=m.MOST_RECORDS, shapes=(m.Shape(ADD, (), changes),))
        begun = perf_counter()
        with pytest.raises(StreamFault, match="changes in one message"):
            stream(HELLO, machine, batch)
        assert perf_counter() - begun < 5
        stream(HELLO, machine, a_batch(count=m.MOST_CHANGES // states, shapes=(m.Shape(ADD, (), changes),)))


def test_a_description_is_kept_as_it_came() -> None:
    """Unpacked it would be many times as large."""
    machine = a_machine(states=9)
    found = stream(HELLO, machine)
    assert found.tracks[0].description == encode(machine)
    assert decode(next(iter(found.tracks[0].known()))) == replace(machine, time=(0,) * 9)
