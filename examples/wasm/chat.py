"""What both sides do with messages, and what the server does when there are none.

Knows nothing of networks and pages.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import asyncmachine as am
from examples.wasm.states import Bar, Foo, Said, Shared, Typed

LONGEST = 500
HELLO = "hello"

Show = Callable[[str, str], object]
"""Shows (author, text)."""


@dataclass(frozen=True)
class Patience:
    """In seconds: how often the server looks, when it is bored, how often it says hello; and who heard less gets it."""

    look: float = 1.0
    bored: float = 15.0
    hello: float = 10.0
    most: int = 10


PATIENT = Patience()


class Tab(Protocol):
    """A tab as the server sees it."""

    @property
    def heard(self) -> int:
        """How many messages it has taken."""

    def hear(self, said: Said) -> None:
        """Tells it, once."""


class MsgHandlers:
    """Takes messages that say something."""

    def __init__(self, show: Show, nobody: str) -> None:
        self.show = show
        self.nobody = nobody

    def MsgEnter(self, e: am.Event) -> bool:
        said = e.args_or_none(Said)
        return said is not None and 0 < len(said.text.strip()) <= LONGEST

    def MsgState(self, e: am.Event) -> None:
        e.remove(Shared.Msg)
        self.take(e, self.author(e), e.args(Said).text.strip())

    def author(self, e: am.Event) -> str:
        """Who said it: as told, or the machine that the mutation came from."""
        source = e.mutation.source
        return e.args(Said).author or (source.machine_id if source else "") or self.nobody

    def take(self, e: am.Event, author: str, text: str) -> None:
        """What becomes of a message."""
        self.show(author, text)


class FooHandlers(MsgHandlers):
    """The server: hands messages on to the other tabs, says hello now and then, and gets bored."""

    def __init__(self, show: Show, patience: Patience = PATIENT, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(show, "bar")
        self.tabs: dict[str, Tab] = {}
        """Those that are there or may come back, by their machine's id."""
        self.patience = patience
        self.now = now
        self.heard = self.greeted = now()

    def take(self, e: am.Event, author: str, text: str) -> None:
        super().take(e, author, text)
        self.heard = self.now()
        for name, tab in self.tabs.items():
            if name != author:
                tab.hear(Said(text, author))

    async def StartState(self, e: am.Event) -> None:
        """Looks around as long as Start lives."""
        while True:
            await asyncio.sleep(self.patience.look)
            self.look_around(e)

    def look_around(self, e: am.Event) -> None:
        """Says hello to those who have not heard much, or finds that nothing happens."""
        now, machine = self.now(), e.machine
        if now - self.heard >= self.patience.bored and Foo.Bored not in machine:
            e.add(Foo.Bored)
        fresh = any(tab.heard < self.patience.most for tab in self.tabs.values())
        if fresh and now - self.greeted >= self.patience.hello:
            self.greeted = now
            e.add(Foo.Msg, Said(HELLO, machine.id))


class BarHandlers(MsgHandlers):
    """A tab: shows what is said. `send` brings what was typed here to the server."""

    def __init__(self, show: Show, send: Callable[[am.Event, Said], object]) -> None:
        super().__init__(show, "foo")
        self.send = send

    def SubmitMsgEnter(self, e: am.Event) -> bool:
        typed = e.args_or_none(Typed)
        return typed is not None and 0 < len(typed.text.strip()) <= LONGEST

    def SubmitMsgState(self, e: am.Event) -> None:
        e.remove(Bar.SubmitMsg)
        said = Said(e.args(Typed).text)
        e.add(Bar.Msg, said)
        self.send(e, said)
