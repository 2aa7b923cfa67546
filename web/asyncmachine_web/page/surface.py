"""What a page needs of the document: `ui.mjs`, or what a test puts in its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias


class Surface(Protocol):
    """Binds elements by selector, and tells of their events."""

    def frame(self) -> None:
        """Ask for one call of `flush` at the next frame."""

    def define(self, id: int, selector: str, kind: str, detail: str, under: int) -> int:
        """Bind all elements that match now; how many there are. `under` is the binding that tells if they are stale."""

    def drop(self, id: int) -> None:
        """End a binding, or listening."""

    def early(self, id: int) -> str | bool | None:
        """What a person has changed in the elements of a binding before there was any, the first of them; else None."""

    def listen(self, id: int, type: str, selector: str, prevent: bool) -> None: ...
    def report(self, message: str) -> None: ...
    def close(self) -> None: ...


OpenSurface: TypeAlias = Callable[[Callable[[str], str], Callable[[int, str], None]], Surface]


@dataclass(frozen=True)
class UiEvent:
    """An event of the document, at the element that matched."""

    type: str
    value: str
    checked: bool
    data: dict[str, str]
    """The element's `data-` attributes, in JavaScript's spelling."""
    key: str
    form: dict[str, str]
    """The text fields of a form."""


def document(flush: Callable[[str], str], emit: Callable[[int, str], None]) -> Surface:
    """The surface of the real document."""
    from asyncmachine_js import ui
    from pyodide.ffi import create_proxy

    return ui.open(create_proxy(flush), create_proxy(emit))
