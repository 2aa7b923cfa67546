"""The behaviour suites on the transports of this process; see `behaviour` for what is asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rpc import growing, large, machine_suite, replacing, situations, stepping, sync_modes
from tests.rpc.behaviour import ALL, IN_BROWSER, Behaviour
from tests.rpc.nets import NETS, WHOLE

SUITES = (growing, large, machine_suite, replacing, situations, stepping, sync_modes)
"""Modules whose behaviours are in `ALL` because they were imported."""


def cases() -> Iterator[object]:
    for net in NETS:
        for behaviour in ALL if net in WHOLE else IN_BROWSER:
            marks = [pytest.mark.browser] if behaviour in IN_BROWSER else []
            yield pytest.param(net, behaviour, id=f"{net}-{behaviour.__name__}", marks=marks)


@pytest.mark.parametrize(("net", "behaviour"), cases())
async def test_behaviour(net: str, behaviour: Behaviour) -> None:
    async with NETS[net]() as connections:
        await behaviour(connections)


def test_about_fifteen_behaviours_are_shown_on_every_transport() -> None:
    assert 12 <= len(IN_BROWSER) <= 20
