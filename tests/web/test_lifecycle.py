"""What happens to a page, as states."""

from __future__ import annotations

import pytest

import asyncmachine as am
from asyncmachine_web.page.lifecycle import Lifecycle, PageStates


@pytest.mark.parametrize(
    ("visible", "online", "states"),
    [(True, True, ("Visible", "Online")), (False, False, ("Hidden", "Offline"))],
)
def test_it_begins_as_the_page_is(visible: bool, online: bool, states: tuple[str, ...]) -> None:
    page = Lifecycle(visible=visible, online=online)
    assert set(page.machine.active_states()) == set(states)


@pytest.mark.parametrize(
    ("events", "states"),
    [
        ("hidden", ("Hidden", "Online")),
        ("hidden frozen", ("Hidden", "Online", "Frozen")),
        ("hidden frozen resumed visible", ("Visible", "Online")),
        ("offline", ("Visible", "Offline")),
        ("offline online", ("Visible", "Online")),
        ("leaving", ("Visible", "Online", "Leaving")),
        ("leaving cached", ("Visible", "Online", "Leaving", "Cached")),
        ("leaving closing", ("Visible", "Online", "Leaving", "Closing")),
        ("leaving cached frozen back", ("Visible", "Online")),
        ("cached", ("Visible", "Online")),
        ("discarded", ("Visible", "Online", "Discarded")),
        ("woke woke", ("Visible", "Online")),
        ("something-new", ("Visible", "Online")),
    ],
)
def test_events_become_states(events: str, states: tuple[str, ...]) -> None:
    page = Lifecycle(visible=True, online=True)
    for event in events.split():
        page.hear(event)
    assert set(page.machine.active_states()) == set(states)


def test_wakes_come_with_whatever_may_mend_or_cut_a_connection_and_leaves_before_the_page_is_gone() -> None:
    page = Lifecycle(visible=True, online=True)
    told: list[str] = []
    page.on_leave(lambda: told.append("leave"))
    waking = page.on_wake(lambda: told.append("wake"))
    for event in ("hidden", "visible", "offline", "online", "leaving", "cached", "back", "woke"):
        page.hear(event)
        told.append(event)
    assert told == [
        *(
            "hidden",
            "wake",
            "visible",
            "wake",
            "offline",
            "wake",
            "online",
            "leave",
            "leaving",
            "cached",
            "wake",
            "back",
        ),
        *("wake", "woke"),
    ]
    page.machine.detach(waking)
    page.hear("offline")
    page.hear("online")
    assert told[-1] == "woke"


def test_other_machines_can_follow() -> None:
    page = Lifecycle(visible=True, online=True)
    mine = am.Machine({"Paused": {}}, id="mine")
    am.pipes.bind(page.machine, PageStates.Hidden, mine, "Paused")
    page.hear("hidden")
    assert "Paused" in mine
    page.hear("visible")
    assert "Paused" not in mine
