"""A machine that is kept, for tests."""

from __future__ import annotations

from typing import Any

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine_web.page import durable, shared


class Shop(am.StatesDef):
    Open = am.state()
    Paid = am.state(multi=True)


class Basket:
    """Counts payments."""

    def __init__(self) -> None:
        self.paid = 0
        self.note = ""

    def PaidState(self, e: am.Event) -> None:
        self.paid += 1

    def load(self, data: dict[str, Any]) -> None:
        self.paid, self.note = data["paid"], data["note"]

    def save(self) -> dict[str, Any]:
        return {"paid": self.paid, "note": self.note}


basket = Basket()


async def open_shop() -> durable.DurableMachine[Shop]:
    """The one of this page."""
    return await durable.open(Shop, basket, id="shop", save=basket.save, load=basket.load)


def told(machine: durable.DurableMachine[Shop]) -> dict[str, Any]:
    """All that a test asks for."""
    return {
        "clock": machine.clock(),
        "queue_tick": machine.queue_tick,
        "paid": basket.paid,
        "keeping": sorted(machine.keeping.active_states()),
    }


class Counter(rpc.StateSource):
    """What all tabs share."""

    Open = am.state()
    Paid = am.state(multi=True)


async def open_counter() -> durable.DurableMachine[Counter]:
    """In the tab that leads."""
    return await durable.open(Counter, basket, id="counter", save=basket.save, load=basket.load)


def join_counter() -> shared.Tab[Counter]:
    """The one of all tabs."""
    return shared.join("counter", Counter, open_counter)
