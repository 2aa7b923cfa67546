"""The document follows machines: `page.bind` shows their states, `page.on` turns events into mutations.

    page = Page(machine)
    page.bind("#badge", text=lambda m: f"{m.tick('Click') // 2} clicks", cls={"on": "Ready"}, visible="Start")
    page.each("#jobs", lambda m: [{"id": s, "name": s} for s in m.active_states()], "<li>{name}</li>")
    page.on("click", "#add", "Click")

An expression is the name of a state (is it active?), a `Value`, or a function of the machine. It works alike for a
local machine, a network machine and values set from payloads, is evaluated again when a state it read has ticked, and
what changed is written once a frame. Text stays text: nothing is parsed as HTML but the templates of `each`.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from asyncmachine_web.page.bindings import Binding, BindingError, Bindings, Sent, Template, as_attribute, as_text
from asyncmachine_web.page.reads import Source, Value

if TYPE_CHECKING:
    from asyncmachine.machine.view import View

__all__ = ["BindingError", "Handle", "Page", "Source", "Surface", "UiEvent", "Value"]

T = TypeVar("T")
Expression: TypeAlias = "str | Value[T] | Callable[[Source], T]"
Row: TypeAlias = Mapping[str, object]


class Surface(Protocol):
    """What a page needs of `ui.mjs`, and a test replaces."""

    def frame(self) -> None:
        """Ask for one call of `flush` at the next frame."""

    def define(self, id: int, selector: str, kind: str, detail: str) -> int:
        """Bind all elements that match now; how many there are."""

    def drop(self, id: int) -> None: ...
    def listen(self, id: int, type: str, selector: str, prevent: bool) -> None: ...
    def unlisten(self, id: int) -> None: ...
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


@dataclass(frozen=True)
class Handle:
    """What `bind`, `each` and `on` return: `close` undoes it, any number of times."""

    close: Callable[[], None]


class Page:
    """Bindings and events of one document. `machine` is what expressions and events refer to unless told otherwise."""

    def __init__(self, machine: View[Any] | None = None, *, surface: OpenSurface | None = None) -> None:
        self._machine = machine
        self._surface = (surface or _document)(self._flush, self._emit)
        self._bindings = Bindings(self._surface.frame, self._report)
        self._sources: dict[View[Any], Source] = {}
        self._handlers: dict[int, tuple[str, Callable[[UiEvent], object]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def value(self, value: T) -> Value[T]:
        """A value for expressions to read; `value.set(…)` shows a new one."""
        return Value(value)

    def bind(
        self,
        selector: str,
        source: View[Any] | None = None,
        *,
        text: Value[Any] | Callable[[Source], object] | None = None,
        cls: Mapping[str, Expression[Any]] | None = None,
        attr: Mapping[str, Expression[Any]] | None = None,
        visible: Expression[Any] | None = None,
    ) -> Handle:
        """Show values in every element that matches now, until closed or until the elements leave the document.

        A class is on, and the element visible, while the value is true. An attribute is absent for None and False and
        empty for True. Raises BindingError when no element matches, StateMissing for an unknown state.
        """
        if isinstance(text, str):
            raise BindingError(f"text={text!r} is a name; say what to show of it, e.g. text=lambda m: m.tick({text!r})")
        ids: list[int] = []
        seen = self._source(source)

        def add(kind: str, detail: str, expression: Expression[Any], convert: Callable[[object], Sent]) -> None:
            ids.append(self._define(selector, kind, detail, _compute(expression, seen, convert)))

        try:
            if text is not None:
                add("text", "", text, as_text)
            for name, expression in (cls or {}).items():
                if not name or any(map(str.isspace, name)):
                    raise BindingError(f"{name!r} is not one class; bind each by itself")
                add("class", name, expression, bool)
            for name, expression in (attr or {}).items():
                if name.lower().startswith("on"):
                    raise BindingError(f"{name} is code, not a value; use page.on({name[2:]!r}, {selector!r}, …)")
                add("attr", name, expression, as_attribute)
            if visible is not None:
                add("visible", "", visible, bool)
        except Exception:
            self._end(ids)
            raise
        return Handle(lambda: self._end(ids))

    def each(
        self,
        selector: str,
        rows: Value[Any] | Callable[[Source], Iterable[Row]],
        template: str,
        *,
        key: str = "id",
        source: View[Any] | None = None,
    ) -> Handle:
        """Fill the elements with one copy of the template for each row; `{name}` in it stands for `row["name"]`.

        A hole stands where text or an attribute's value stands (`class="job {state}"`, `?hidden="{done}"`), and may
        have a format (`{seconds:.1f}`). `row[key]` tells rows apart: a row that stays keeps its elements.
        """
        parsed = Template.parse(template)
        compute = _compute(rows, self._source(source), lambda found: parsed.rows(found, key))  # type: ignore[arg-type]
        binding = self._define(selector, "list", json.dumps(parsed.strings), compute)
        return Handle(lambda: self._end([binding]))

    def on(
        self,
        type: str,
        selector: str,
        handler: str | Callable[[UiEvent], object],
        *,
        source: View[Any] | None = None,
        prevent: bool | None = None,
    ) -> Handle:
        """Call the handler, or add the state it names, for each such event within an element that matches at that time.

        An async handler runs as a task. `prevent` stops what the browser does by itself, by default for "submit" only.
        """
        if isinstance(handler, str):
            handler = _adds(handler, self._machine_of(source))
        number = self._bindings.new_id()
        self._handlers[number] = (f"{type} {selector}", handler)
        self._surface.listen(number, type, selector, type == "submit" if prevent is None else prevent)

        def close() -> None:
            if self._handlers.pop(number, None):
                self._surface.unlisten(number)

        return Handle(close)

    def close(self) -> None:
        """End all bindings and events."""
        self._surface.close()
        self._bindings.clear()
        self._handlers.clear()
        for task in self._tasks:
            task.cancel()

    def _machine_of(self, source: View[Any] | None) -> View[Any]:
        machine = source if source is not None else self._machine
        if machine is None:
            raise BindingError("no machine to bind to: give Page(machine) or source=machine")
        return machine

    def _source(self, machine: View[Any] | None) -> Source | None:
        """One source for each machine that is being read."""
        machine = machine if machine is not None else self._machine
        if machine is None:
            return None  # enough for a Value
        source = self._sources.get(machine)
        if source is None:
            source = Source(machine, on_stop=lambda: self._sources.pop(machine, None))
            self._sources[machine] = source
        return source

    def _define(self, selector: str, kind: str, detail: str, compute: Callable[[], Sent]) -> int:
        number = self._bindings.new_id()
        if not self._surface.define(number, selector, kind, detail):
            self._surface.drop(number)
            raise BindingError(f"no element matches {selector!r}; bind after it is in the document")
        self._bindings.add(Binding(number, f"{selector} {kind} {detail}".rstrip(), compute))
        return number

    def _end(self, ids: Iterable[int]) -> None:
        self._bindings.end(ids)
        for number in ids:
            self._surface.drop(number)

    def _flush(self, ended: str) -> str:
        self._bindings.end(json.loads(ended))
        return json.dumps(self._bindings.flush())

    def _emit(self, id: int, event: str) -> None:
        where, handler = self._handlers[id]
        try:
            result = handler(UiEvent(**json.loads(event)))
        except Exception as error:  # noqa: BLE001  # shown; the page goes on
            self._report(where, error)
            return
        if inspect.iscoroutine(result):
            task = asyncio.get_running_loop().create_task(self._finish(where, result))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _finish(self, where: str, result: Any) -> None:
        try:
            await result
        except Exception as error:  # noqa: BLE001  # shown; the page goes on
            self._report(where, error)

    def _report(self, where: str, error: Exception) -> None:
        self._surface.report(f"{where}: {''.join(traceback.format_exception(error))}")


def _compute(
    expression: Expression[Any], source: Source | None, convert: Callable[[object], Sent]
) -> Callable[[], Sent]:
    if isinstance(expression, Value):
        return lambda: convert(expression.get())
    if source is None:
        raise BindingError("no machine to bind to: give Page(machine) or a source")
    if isinstance(expression, str):
        source.machine.not_(expression)  # raises StateMissing, with the nearest name
        return lambda: convert(source.is_(expression))
    return lambda: convert(expression(source))


def _adds(state: str, machine: Any) -> Callable[[UiEvent], object]:
    machine.not_(state)  # raises StateMissing, with the nearest name

    def add(_event: UiEvent) -> None:
        # Not awaited: a call that fails becomes an error state of the machine, as any other that nobody waits for.
        machine.add(state)

    return add


def _document(flush: Callable[[str], str], emit: Callable[[int, str], None]) -> Surface:
    """The surface of the real document."""
    from asyncmachine_js import ui
    from pyodide.ffi import create_proxy

    return ui.open(create_proxy(flush), create_proxy(emit))
