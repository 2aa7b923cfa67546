"""What is written for `Api` runs with a local machine and with one across a network. mypy reads this file too."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

import asyncmachine as am
from asyncmachine.rpc import NetworkMachine
from asyncmachine.states import Basic

if TYPE_CHECKING:

    def either(local: am.Machine[Basic], network: NetworkMachine[Basic], loose: am.Machine[str]) -> list[am.Api[Basic]]:
        return [local, network, loose]

    def foreign(local: am.Machine[Basic]) -> am.Api[str]:
        return local  # type: ignore[return-value]


MEMBERS = [name for name in vars(am.Api) if not name.startswith("_")]


@pytest.mark.parametrize("machine", [am.Machine, NetworkMachine])
def test_both_machines_have_every_member(machine: type[Any]) -> None:
    assert len(MEMBERS) > 50
    assert [name for name in MEMBERS if not hasattr(machine, name)] == []


def test_a_tracer_for_a_while() -> None:
    machine = am.Machine(Basic)
    tracer = am.Tracer()
    with suppress(KeyError), machine.traced(tracer):
        assert machine.tracers == (tracer,)
        raise KeyError
    assert machine.tracers == ()
