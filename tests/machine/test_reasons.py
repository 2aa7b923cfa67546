"""Why a mutation was canceled, in words: of results at once, later, of dry runs, and of transitions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine.machine.relations import Recorded
from asyncmachine.machine.rules import Rules
from tests.machine.recording import RawSchema

ABC: RawSchema = {"A": {}, "B": {}}
FILM: RawSchema = {
    "Loaded": {},
    "Playing": {"require": ["Loaded"]},
    "Paused": {"remove": ["Playing"]},
    "Locked": {"remove": ["Playing", "Paused"], "require": ["Loaded"]},
    "Credits": {"require": ["Playing", "Locked"]},
    "Home": {"auto": True},
    "Menu": {"remove": ["Home"]},
}


class Doorman:
    def PausedEnter(self, e: am.Event) -> bool:
        return False

    def LoadedExit(self, e: am.Event) -> bool:
        return False

    def LockedEnter(self, e: am.Event) -> None:
        raise ValueError("no key")

    def MenuState(self, e: am.Event) -> None:
        raise OSError("no dishes")


@pytest.mark.parametrize("relations", ["recorded", "strict"])
def test_a_relation_in_the_way_is_named(relations: Any) -> None:
    machine = am.Machine(FILM, relations=relations)
    assert machine.add("Playing").reason == "Playing requires Loaded"
    assert machine.add(["Playing", "Credits"]).reason == "Playing requires Loaded; Credits requires Locked"
    machine.add(["Loaded", "Paused"])
    assert repr(machine.add(["Playing", "Paused"])) == "<Result canceled: Paused removes Playing>"
    machine.add("Locked")
    assert machine.add("Playing").reason == "Locked removes Playing"


def test_what_was_executed_has_no_reason() -> None:
    machine = am.Machine(FILM)
    assert machine.add("Loaded").reason == "" == am.EXECUTED.reason
    assert repr(machine.add("Loaded")) == "<Result executed>"


def test_a_veto_and_an_error_name_their_handler() -> None:
    machine = am.Machine(FILM, Doorman())
    machine.add("Loaded")
    assert machine.add("Paused").reason == "PausedEnter vetoed"
    assert machine.remove("Loaded").reason == "LoadedExit vetoed"
    assert machine.add("Locked").reason == "LockedEnter raised ValueError: no key"
    assert machine.add("Menu").reason == "MenuState raised OSError: no dishes"


def test_a_dry_run_tells_why_not() -> None:
    machine = am.Machine(FILM, Doorman())
    assert machine.can_add("Playing").reason == "Playing requires Loaded"
    machine.add("Loaded")
    assert machine.can_add("Playing").reason == ""
    assert machine.can_add("Paused").reason == "PausedEnter vetoed"
    assert am.helpers.ask_add(machine, "Paused").reason == "PausedEnter vetoed"


async def test_a_queued_mutation_tells_it_when_it_has_run() -> None:
    results: list[am.Result] = []

    class Handlers:
        def LoadedState(self, e: am.Event) -> None:
            results.append(e.add("Paused"))
            results.append(e.add("Credits"))
            assert results[0].reason == ""

        def PausedEnter(self, e: am.Event) -> bool:
            return False

    am.Machine(FILM, Handlers()).add("Loaded")
    assert [result.reason for result in results] == ["PausedEnter vetoed", "Credits requires Playing and Locked"]
    assert (await results[0]).reason == "PausedEnter vetoed"
    assert repr(await results[0]) == "<FinalResult canceled: PausedEnter vetoed>"


def test_what_is_made_of_another_result_tells_its_reason() -> None:
    machine = am.Machine(FILM)
    with pytest.raises(am.helpers.MutationCanceled, match=r"play was canceled: Playing requires Loaded$"):
        am.helpers.executed(machine.add("Playing"), "play")


def test_a_machine_that_takes_nothing_says_why() -> None:
    machine = am.Machine(FILM, id="film", queue_limit=1)
    reasons: list[str] = []

    class Handlers:
        def LoadedState(self, e: am.Event) -> None:
            e.add("Home")
            reasons.append(e.add("Menu").reason)

    machine.bind(Handlers())
    machine.add("Loaded")
    machine.dispose()
    reasons += [machine.add("Menu").reason, machine.can_add("Menu").reason, machine.add_err(OSError()).reason]
    assert reasons == ["the queue of 1 is full", *["machine 'film' is disposed of"] * 3]
    assert am.Machine(FILM).add_err(asyncio.CancelledError()).reason == "a task that was cancelled is no error"


def test_a_mutation_that_waits_when_the_machine_is_disposed_of_is_told() -> None:
    waiting: list[am.Result] = []

    class Handlers:
        def LoadedState(self, e: am.Event) -> None:
            e.machine.dispose()
            waiting.append(e.add("Home"))

    machine = am.Machine(FILM, Handlers(), id="film")
    machine.add("Loaded")
    assert waiting[0].reason == "machine 'film' is disposed of"


def test_a_transition_tells_it_to_tracers() -> None:
    found: list[str] = []

    class Listening(am.Tracer):
        def transition_end(self, tx: am.Transition) -> None:
            found.append(tx.reason)

    machine = am.Machine(FILM, Doorman())
    machine.trace(Listening())
    machine.add("Playing")
    machine.add("Loaded")
    machine.add("Paused")
    assert [reason for reason in found if reason] == ["Playing requires Loaded", "PausedEnter vetoed"]


def test_it_is_made_only_when_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def rejected(*about: object) -> str:
        made.append(about)
        return "because"

    monkeypatch.setattr("asyncmachine.machine.reasons.rejected", rejected)
    result = am.Machine(FILM).add("Playing")
    assert not made
    assert [result.reason, result.reason] == ["because", "because"]
    assert len(made) == 1


def test_a_resolver_that_explains_nothing_still_names_the_states() -> None:
    class Refusing(Recorded):
        def target_states(
            self, rules: Rules, active: Sequence[int], kind: int, called: Sequence[int], vetoed: int = 0
        ) -> tuple[int, ...]:
            return ()

    machine = am.Machine(ABC, relations=Refusing())
    assert machine.add(["A", "B"]).reason == "the relations leave out A; the relations leave out B"


def test_results_are_equal_whatever_the_reason() -> None:
    machine = am.Machine(FILM)
    assert machine.add("Playing") == machine.add("Credits") == am.CANCELED


def test_another_thread_reads_it() -> None:
    result = am.Machine(FILM).add("Playing")
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(result.reason))
    thread.start()
    thread.join()
    assert found == ["Playing requires Loaded"]
