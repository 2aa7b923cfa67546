"""A document that remembers what was done to it, in place of `ui.mjs`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any


class FakeDocument:
    """Every selector in `elements` matches that many elements, or is none (-2). A test's `draw()` draws one frame."""

    def __init__(self, **elements: int) -> None:
        self.elements = elements
        self.defined: dict[int, tuple[str, str, str]] = {}
        self.shown: dict[int, Any] = {}
        self.under: dict[int, int] = {}
        self.listening: dict[int, tuple[str, str, bool]] = {}
        self.reports: list[str] = []
        self.changed: dict[str, str | bool] = {}
        """By selector, what a person had changed before anything was bound there."""
        self.sent: list[str] = []
        """Selectors of forms, each time that what they showed was sent."""
        self._asked = False
        self.closed = False

    def open(self, flush: Callable[[str], str], emit: Callable[[int, str], None]) -> FakeDocument:
        self._flush = flush
        self._emit = emit
        return self

    def frame(self) -> None:
        self._asked = True

    def asks(self) -> bool:
        """True when a frame was asked for and not drawn yet."""
        return self._asked

    def define(self, id: int, selector: str, kind: str, detail: str, under: int) -> int:
        self.defined[id] = (selector, kind, detail)
        if under:
            self.under[id] = under
        return 1 if selector == "html" else self.elements.get(re.sub(r":is\((.*)\)", r"\1", selector).strip("#."), 0)

    def drop(self, id: int) -> None:
        self.defined.pop(id, None)
        self.shown.pop(id, None)
        self.under.pop(id, None)
        self.listening.pop(id, None)

    def early(self, id: int) -> str | bool | None:
        return self.changed.pop(self.defined[id][0], None)

    def sending(self, id: int) -> None:
        self.sent.append(self.defined[id][0])

    def listen(self, id: int, type: str, selector: str, prevent: bool) -> bool:
        self.listening[id] = (type, selector, prevent)
        return True

    def report(self, message: str) -> None:
        self.reports.append(message)

    def close(self) -> None:
        self.closed = True

    def draw(self, ended: tuple[int, ...] = ()) -> dict[tuple[str, str, str], Any]:
        """One frame: what it changed, by (selector, kind, detail)."""
        self._asked = False
        for number in ended:
            self.drop(number)
        batch = dict(json.loads(self._flush(json.dumps(ended))))
        self.shown.update(batch)
        return {self.defined[number]: value for number, value in batch.items()}

    def fire(self, type: str, selector: str, **facts: Any) -> None:
        """An event within an element that matches the selector."""
        event = {"type": type, "value": "", "checked": False, "data": {}, "key": "", "form": []} | facts
        for number, (listened, where, _) in list(self.listening.items()):
            if (listened, where) == (type, selector):
                self._emit(number, json.dumps(event))
