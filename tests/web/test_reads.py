"""Time as pages see it: clocks, what happened since a state was activated, progress."""

from __future__ import annotations

import asyncio
import time

import pytest

import asyncmachine as am
from asyncmachine_web.page.expressions import ago, duration, progress
from asyncmachine_web.page.reads import Clock, Source
from asyncmachine_web.page.ui import Page
from tests.web.surface import FakeDocument


class Work(am.StatesDef):
    Round = am.state(multi=True)
    Added = am.state(multi=True)
    Done = am.state(multi=True)


def opened(**elements: int) -> tuple[am.Machine[Work], FakeDocument, Page]:
    machine = am.Machine(Work, id="work")
    document = FakeDocument(**elements)
    return machine, document, Page(machine, surface=document.open)


def test_activations_are_counted_for_plain_and_multi_states() -> None:
    machine = am.Machine({"A": {}, "M": {"multi": True}})
    source = Source(machine)
    assert source.count("A") == 0
    machine.add("A")
    machine.remove("A")
    assert source.count("A") == 1
    for _ in range(3):
        machine.add("M")
    assert source.count("M") == 3
    machine.remove("M")
    assert source.count("M") == 3


def test_machine_time_can_be_read_whole_and_in_part() -> None:
    machine = am.Machine(Work)
    machine.add(Work.Done)
    source = Source(machine)
    assert source.time(["Done", "Added"]) == (1, 0)
    assert source.clock(["Done"]) == {"Done": 1}
    assert sum(source.time()) == 1
    assert source.clock()["Done"] == 1


def test_progress_is_the_share_of_what_was_added() -> None:
    machine, document, page = opened(bar=1)
    page.bind("#bar", attr={"value": progress("Done", of="Added")})
    assert document.draw() == {("#bar", "attr", "value"): "0.0"}
    for _ in range(4):
        machine.add(Work.Added)
    machine.add(Work.Done)
    assert document.draw() == {("#bar", "attr", "value"): "0.25"}
    for _ in range(5):
        machine.add(Work.Done)
    assert document.draw() == {("#bar", "attr", "value"): "1.0"}


def test_progress_of_a_round_begins_anew_even_when_all_of_it_falls_into_one_frame() -> None:
    machine, document, page = opened(bar=1)
    page.bind("#bar", attr={"value": progress("Done", of=4, since="Round")})
    document.draw()
    machine.add(Work.Done)
    assert document.draw() == {("#bar", "attr", "value"): "0.25"}
    machine.add(Work.Done)
    machine.add(Work.Round)
    machine.add(Work.Done)
    machine.add(Work.Done)
    machine.add(Work.Done)
    assert document.draw() == {("#bar", "attr", "value"): "0.75"}
    machine.add(Work.Round)  # it was active before
    assert document.draw() == {("#bar", "attr", "value"): "0.0"}


def test_a_mark_is_refused_for_an_unknown_state_and_harmless_after_disposal() -> None:
    machine = am.Machine(Work)
    source = Source(machine)
    with pytest.raises(am.StateMissing):
        source.since("Round", "Dne")
    machine.dispose()
    assert source.since("Round", "Done") == 0


def test_what_a_page_did_not_see_does_not_count() -> None:
    machine, document, page = opened(a=1)
    machine.add(Work.Done)
    first = page.bind("#a", text=lambda m: m.since("Round", "Done"))
    assert document.draw() == {("#a", "text", ""): "0"}
    machine.add(Work.Done)
    assert document.draw() == {("#a", "text", ""): "1"}
    first.close()
    machine.add(Work.Done)
    page.bind("#a", text=lambda m: m.since("Round", "Done"))
    assert document.draw() == {("#a", "text", ""): "0"}


def test_what_happened_while_nobody_looked_does_not_count() -> None:
    machine, document, page = opened(a=1)
    looks = page.value(True)
    page.bind("#a", text=lambda m: m.since("Round", "Done") if looks.get() else "–")
    assert document.draw() == {("#a", "text", ""): "0"}
    looks.set(False)
    assert document.draw() == {("#a", "text", ""): "–"}
    machine.add(Work.Done)
    looks.set(True)
    assert document.draw() == {("#a", "text", ""): "0"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (0.9, "0 s"), (59.9, "59 s"), (60, "1 min"), (7199, "1 h"), (86400 * 3.5, "3 d")],
)
def test_durations_are_told_in_the_largest_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


async def test_elapsed_time_is_shown_while_the_state_is_active() -> None:
    machine, document, page = opened(a=1)
    page.bind("#a", text=ago("Round"))
    assert document.draw() == {("#a", "text", ""): "–"}
    machine.add(Work.Round)
    assert document.draw() == {("#a", "text", ""): "0 s"}
    machine.remove(Work.Round)
    assert document.draw() == {("#a", "text", ""): "–"}
    page.close()


async def test_what_a_mirror_showed_last_grows_no_older_without_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    now, stale = 100.0, [True]
    monkeypatch.setattr(time, "monotonic", lambda: now)
    machine = am.Machine(Work)
    since, source = ago("Round"), Source(machine, stale=lambda: stale[0])
    assert since(source) == "–"
    machine.add(Work.Round)
    assert since(source) == "–", "it was never there"
    stale[0] = False
    assert since(source) == "0 s"
    now += 3
    assert since(source) == "3 s"
    stale[0] = True
    now += 3
    assert since(source) == "3 s"
    stale[0] = False
    assert since(source) == "6 s"
    with pytest.raises(am.StateMissing):
        ago("Runod")(source)


async def test_a_clock_strikes_only_while_somebody_reads_it() -> None:
    document = FakeDocument(a=1)
    page = Page(surface=document.open)
    times = iter(range(100))
    clock = Clock(0.01, now=lambda: next(times) / 200)
    shown = page.bind("#a", text=clock)
    document.draw()
    assert not document.asks()
    while not document.asks():
        await asyncio.sleep(0)
    assert list(document.draw()) == [("#a", "text", "")]
    shown.close()
    assert clock._alarm is not None
    assert clock._alarm.cancelled()


async def test_a_clock_strikes_for_each_of_its_readers() -> None:
    now = 100.0
    clock = Clock(0.01, lambda: now)
    struck = list[str]()
    first, second = (lambda _: struck.append("first")), (lambda _: struck.append("second"))
    clock.start(first)
    clock.start(second)
    while struck != ["first", "second"]:
        await asyncio.sleep(0)
    clock.stop(first)
    while len(struck) < 4:
        await asyncio.sleep(0)
    assert struck[2:] == ["second", "second"]
    clock.stop(second)
    assert clock._alarm is not None
    assert clock._alarm.cancelled()
