"""What a page needs of the document: `ui.mjs`, or what a test puts in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from asyncmachine_web.page.given import need


class Surface(Protocol):
    """Binds elements by selector, and tells of their events."""

    def frame(self) -> None:
        """Ask for one call of `flush` at the next frame."""

    def define(self, id: int, selector: str, kind: str, detail: str, under: int) -> int:
        """Bind all elements that match now; how many there are, -1 if one is of a wrong kind, -2 for no selector.

        `under` is the binding that tells if they are stale.
        """

    def drop(self, id: int) -> None:
        """End a binding, or listening."""

    def early(self, id: int) -> str | bool | None:
        """What a person has changed in the elements of a binding before there was any, the first of them; else None."""

    def sending(self, id: int) -> None:
        """What the forms of this binding show now is sent, and emptied with the next value of the binding."""

    def listen(self, id: int, type: str, selector: str, prevent: bool) -> bool:
        """Tells of such events. With the id of a binding only of those at its elements. False: that is no selector.

        A selector that matches nothing, and of which nothing tells that it will, is warned of after a second.
        """

    def report(self, message: str) -> None: ...
    def close(self) -> None: ...


OpenSurface: TypeAlias = Callable[[Callable[[str], str], Callable[[int, str], None]], Surface]


def why_not(selector: str, kind: str, found: int) -> str:
    """What keeps what `define` has found from being bound; empty for nothing."""
    if found == -2:
        return f"{selector!r} is no selector"
    if found < 0:
        return f"{selector!r} is no {'form' if kind == 'reset' else f'field that has a {kind}'}"
    if kind == "reset" and found > 1:
        return f"{selector!r} matches {found} forms; call page.form for each, or one would show what became of another"
    return "" if found else f"no element matches {selector!r}; bind after it is in the document"


class Fields(dict[str, str]):
    """The text fields of a form by name. Where several have one name, this is the last, and `all` has each.

    `files` are the names of its fields of files (None among what it is made of), which are left out.
    """

    def __init__(self, fields: Mapping[str, str] | Iterable[tuple[str, str | None]] = ()) -> None:
        given = tuple(fields.items() if isinstance(fields, Mapping) else fields)
        pairs = tuple([(name, text) for name, text in given if text is not None])
        super().__init__(pairs)
        self._pairs = pairs
        self.files = tuple(dict.fromkeys([name for name, text in given if text is None]))

    def all(self, name: str) -> list[str]:
        """What all fields of that name have, in the order of the page: none if there is no such field."""
        return [text for field, text in self._pairs if field == name]


@dataclass(frozen=True)
class UiEvent:
    """An event of the document, at the element that matched."""

    type: str
    value: str
    checked: bool
    data: dict[str, str]
    """The element's `data-` attributes, in JavaScript's spelling."""
    key: str
    form: Fields
    """Those of the form that the element is or belongs to, with the button that sent it."""
    reset: bool = False
    """Nobody has typed: a form was emptied that was sent."""


def document(flush: Callable[[str], str], emit: Callable[[int, str], None]) -> Surface:
    """The surface of the real document."""
    need("Page()", "ui")
    from asyncmachine_js import ui
    from pyodide.ffi import create_proxy

    return ui.open(create_proxy(flush), create_proxy(emit))
