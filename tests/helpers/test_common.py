"""A machine set up by the environment."""

from __future__ import annotations

import pytest

import asyncmachine as am
from asyncmachine.helpers import new_common


class Boom:
    def AState(self, e: am.Event) -> None:
        raise ValueError("boom")


def test_without_variables_it_is_a_plain_machine_with_named_handlers() -> None:
    machine = new_common({"A": {}}, Boom(), id="pump", settings=am.Settings.from_env({}))
    assert machine.id == "pump" and machine.handlers() == ("comm-Pump",)
    assert machine.add("A").canceled and machine.is_err()
    assert machine.log.level == 0


def test_debug_mode_lets_errors_of_handlers_through_and_gives_time() -> None:
    machine = new_common({"A": {}, "B": {}}, Boom(), settings=am.Settings.from_env({"AM_DEBUG": "1", "AM_LOG": "2"}))
    with pytest.raises(ValueError, match="boom"):
        machine.add("A")
    assert not machine.is_err() and machine.handler_timeout == 600
    assert machine.add("B").executed, "the machine goes on"
    assert machine.log.level == 2


def test_a_negotiation_handler_is_let_through_too() -> None:
    settings = am.Settings(catch_errors=False)
    machine = am.Machine({"A": {}}, {"AEnter": lambda e: 1 / 0}, settings=settings)
    with pytest.raises(ZeroDivisionError):
        machine.add("A")
    assert machine.not_("A", "Exception")
