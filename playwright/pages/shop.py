"""A machine that is kept, for tests."""

from __future__ import annotations

from typing import Any

import asyncmachine as am
from asyncmachine_web.page import durable


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
