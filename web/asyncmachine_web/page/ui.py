"""The document follows machines: `page.bind` shows their states, `page.on` turns events into mutations.

    page = Page(machine)
    page.bind("#badge", text=lambda m: f"{m.tick('Click') // 2} clicks", cls={"on": "Ready"}, visible="Start")
    page.each("#jobs", lambda m: [{"id": s, "name": s} for s in m.active_states()], "<li>{name}</li>")
    page.on("click", "#add", "Click")
    page.form("#order", "Submit", until="Saved", timeout=5)
    page.each("#log", page.payloads("lines", machine), "<li>{text}</li>")

An expression is the name of a state (is it active?), a `Value`, a `Clock` or a function of the machine. It works alike
for a local machine, a network machine and values set from payloads, is evaluated again when a state it read has ticked,
and what changed is written once a frame. Text stays text: nothing is parsed as HTML but templates and what is marked
as `Html`. An expression that fails, for instance by a misspelt state, is told on the console, once, and what was
shown stays.

Where a machine is asked for, an `rpc.Client` may stand: then its mirror is read, `m.stale` tells whether the connection
is gone, and every element that shows something of the mirror has the attribute `data-stale` until it is back. A `Value`
or `Clock` is the page's own, and only marked where `source` says which client it came from.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from asyncmachine_web.page.bindings import (
    Binding,
    BindingError,
    Bindings,
    Expression,
    Html,
    Sent,
    Template,
    as_content,
    as_text,
    as_value_of,
    compute_by,
)
from asyncmachine_web.page.expressions import ago, progress
from asyncmachine_web.page.feeds import Received, Rows, take
from asyncmachine_web.page.forms import TEXTS_ALONE, Form
from asyncmachine_web.page.markup import problem
from asyncmachine_web.page.reads import Clock, Source, Value
from asyncmachine_web.page.sources import Ageing, Mirrored, Shown, Sources
from asyncmachine_web.page.surface import Fields, OpenSurface, Surface, UiEvent, document, why_not
from asyncmachine_web.page.typed import adds, puts_right, sets, switches

if TYPE_CHECKING:
    from asyncmachine.machine.view import View

__all__ = [
    "BindingError",
    "Clock",
    "Fields",
    "Handle",
    "Html",
    "Mirrored",
    "Page",
    "Source",
    "Surface",
    "UiEvent",
    "Value",
    "ago",
    "progress",
]

T = TypeVar("T")
Row: TypeAlias = Mapping[str, object]


@dataclass(frozen=True)
class Handle:
    """What `bind`, `each` and `on` return: `close` undoes it, any number of times."""

    close: Callable[[], None]


class Page:
    """Bindings and events of one document. `machine` is what expressions and events refer to unless told otherwise."""

    def __init__(self, machine: Shown | None = None, *, surface: OpenSurface | None = None) -> None:
        self._surface = (surface or document)(self._flush, self._emit)
        self._bindings = Bindings(self._surface.frame, self._report)
        self._sources = Sources(machine)
        self._ageing: dict[View[Any], Ageing] = {}
        self._feeds: list[Callable[[], None]] = []
        self._handlers: dict[int, tuple[str, Callable[[UiEvent], object]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def value(self, value: T) -> Value[T]:
        """A value for expressions to read; `value.set(…)` shows a new one."""
        return Value(value)

    def payload(self, name: str, consumer: View[Any] | None = None, default: Any = None) -> Value[Any]:
        """The data of the last payload of that name which came to the consumer.

        A list whose sender sends all of it each time is one of these, too: `page.each("#names", page.payload("names",
        default=[]), …)`.
        """
        latest = Received(default)
        self._feeds.append(take(self._sources.machine_of(consumer), name, lambda payload: latest.set(payload.data)))
        return latest

    def payloads(
        self, name: str, consumer: View[Any] | None = None, *, last: int = 100, newest_first: bool = False
    ) -> Value[list[dict[str, object]]]:
        """The last rows that came as payloads of that name, for `each`. A payload is one row (a mapping) or several.

        A row whose `id` is there takes its place. The rows end when those of another source come over the same client,
        as after a restart of the server; `set([])` of what is returned empties it.
        """
        rows: Received[list[dict[str, object]]] = Received([])
        self._feeds.append(take(self._sources.machine_of(consumer), name, Rows(rows, last, newest_first).add))
        return rows

    def bind(
        self,
        selector: str,
        source: Shown | None = None,
        *,
        text: Value[Any] | Clock | Callable[[Source], object] | None = None,
        cls: Mapping[str, Expression[Any]] | None = None,
        attr: Mapping[str, Expression[Any]] | None = None,
        visible: Expression[Any] | None = None,
        value: Value[Any] | Callable[[Source], object] | None = None,
        checked: Expression[Any] | None = None,
    ) -> Handle:
        """Show values in every element that matches now, until closed or until the elements leave the document.

        A class is on, and the element visible, while the expression is true. An attribute is absent for None and False
        and empty for True, but `aria-` ones are "true" or "false". Fields go both ways: `value` and `checked` set the
        `Value` they are bound to when a person changes them, also if that was before Python listened; a `checked` that
        names a state adds or removes it, and shows what became of that.

        Raises BindingError when no element matches or one is no field, and for what is no expression, StateMissing for
        an unknown state.
        """
        if isinstance(text, str):
            raise BindingError(f"text={text!r} is a name; say what to show of it, e.g. text=lambda m: m.tick({text!r})")
        if isinstance(source, str | FunctionType):
            raise BindingError(f"what to show of {selector!r} has no name; say e.g. text=… or visible=…")
        if not (cls or attr) and all(given is None for given in (text, visible, value, checked)):
            raise BindingError(f"nothing of {selector!r} is bound; say what to show, e.g. text=… or visible=…")
        ids: list[int] = []
        seen = self._sources.source(source)

        def add(kind: str, detail: str, expression: Expression[Any], convert: Callable[[object], Sent]) -> None:
            compute = compute_by(expression, seen, convert)
            ids.append(self._define(selector, kind, detail, compute, self._under(source, expression)))

        try:
            if text is not None:
                add("text", "", text, as_content)
            for name, expression in (cls or {}).items():
                if not name or any(map(str.isspace, name)):
                    raise BindingError(f"{name!r} is not one class; bind each by itself")
                add("class", name, expression, bool)
            for name, expression in (attr or {}).items():
                if name.lower().startswith("on"):
                    raise BindingError(f"{name} is code, not a value; use page.on({name[2:]!r}, {selector!r}, …)")
                if why := problem(name):
                    raise BindingError(f"{name} {why}")
                add("attr", name, expression, partial(as_value_of, name))
            if visible is not None:
                add("visible", "", visible, bool)
            if value is not None:
                add("value", "", value, as_text)
                self._take_typed(ids[-1], "value", selector, value, source)
            if checked is not None:
                add("checked", "", checked, bool)
                self._take_typed(ids[-1], "checked", selector, checked, source)
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
        source: Shown | None = None,
    ) -> Handle:
        """Fill the elements with one copy of the template for each row; `{name}` in it stands for `row["name"]`.

        A hole stands where text or an attribute's value stands (`class="job {state}"`, `style="width:{done}%"`), and
        may have a format (`{seconds:.1f}`). `hidden="{done}"` and its like are there while that is true. `row[key]`
        tells rows apart: a row that stays keeps its elements.
        """
        parsed = Template.parse(template)
        compute = compute_by(rows, self._sources.source(source), lambda found: parsed.rows(found, key))  # type: ignore[arg-type]
        binding = self._define(selector, "list", json.dumps(parsed.strings), compute, self._under(source, rows))
        return Handle(lambda: self._end([binding]))

    def fill(
        self,
        selector: str,
        row: Value[Any] | Callable[[Source], Row | None],
        template: str,
        *,
        source: Shown | None = None,
    ) -> Handle:
        """Fill the elements with one copy of the template, with holes as those of `each`, or with nothing for None."""
        parsed = Template.parse(template)

        def rows(found: object) -> Sent:
            return parsed.rows([] if found is None else [{**found, "": ""}], "")  # type: ignore[dict-item]

        compute = compute_by(row, self._sources.source(source), rows)
        binding = self._define(selector, "list", json.dumps(parsed.strings), compute, self._under(source, row))
        return Handle(lambda: self._end([binding]))

    def form(
        self,
        selector: str,
        state: str,
        *,
        until: str = "",
        timeout: float = 10.0,
        args: Callable[[Fields], object] | None = None,
        messages: Mapping[str, str] | None = None,
        source: Shown | None = None,
    ) -> Handle:
        """Sending the form adds the state with its fields as arguments, then waits for the next activation of `until`.

        Fields that show then what they showed when they were sent are reset; what was typed meanwhile stays.
        `args` makes other arguments of the fields, `messages` says it in other words; see `forms`. Raises BindingError
        for what is not one form, for one with files, and a message that would never be said.
        """
        report = partial(self._report, f"submit {selector}")
        form = Form(self._sources.machine_of(source), state, until, timeout, args, messages, report)
        if self._has(f":is({selector}) [type=file][name]"):
            raise BindingError(f"{selector!r} sends no files: {TEXTS_ALONE}")
        ids = [
            reset := self._define(selector, "reset", "", form.done.get),
            shown := self._define(selector, "attr", "data-state", lambda: form.state.get() or None),
            self._define(selector, "attr", "aria-busy", lambda: "true" if form.state.get() == "busy" else None),
        ]
        if self._has(message := f":is({selector}) [data-message]"):
            ids.append(self._define(message, "text", "", form.message.get))

        def send(event: UiEvent) -> object:
            sending = form.submit(event.form)
            if sending is not None:
                self._surface.sending(reset)
            return sending

        self._listen(shown, "input", selector, lambda event: None if event.reset else form.typed(), False)
        self._listen(reset, "submit", selector, send, True)  # for as long as that form is there, and for no other
        return Handle(lambda: self._end(ids))

    def on(
        self,
        type: str,
        selector: str,
        handler: str | Callable[[UiEvent], object],
        *,
        args: Callable[[UiEvent], object] | None = None,
        source: Shown | None = None,
        prevent: bool | None = None,
    ) -> Handle:
        """Call the handler, or add the state it names, for each such event within an element that matches at that time.

        `args` makes the state's arguments of the event: `args=lambda event: Item(event.data["id"])`. An async handler
        runs as a task. `prevent` stops what the browser does by itself, by default for "submit" only. Elements may come
        later; where nothing matches a second from now, and nothing tells that it will, the console is told.
        """
        if isinstance(handler, str):
            handler = adds(handler, self._sources.machine_of(source), args)
        elif args is not None:
            raise BindingError("args are those of a state, and a function is called: let it add the state with them")
        number = self._bindings.new_id()
        self._listen(number, type, selector, handler, type == "submit" if prevent is None else prevent)

        def close() -> None:
            if self._handlers.pop(number, None):
                self._surface.drop(number)

        return Handle(close)

    def close(self) -> None:
        """End all bindings and events."""
        self._surface.close()
        self._bindings.clear()
        self._ageing.clear()
        for end in self._feeds:
            end()
        self._feeds.clear()
        self._handlers.clear()
        for task in self._tasks:
            task.cancel()

    def _under(self, shown: Shown | None, expression: object) -> Ageing | None:
        """What tells whether a mirror is stale, one for each while anything shows it; None for a local machine.

        A value of the page's own is none of its mirror's, unless somebody says so.
        """
        if shown is None and isinstance(expression, Value | Clock) and not isinstance(expression, Received):
            return None
        machine, link = self._sources.parts(shown)
        if machine is None or link is None:
            return None
        if machine not in self._ageing:
            self._ageing[machine] = Ageing(self._define("html", "stale", "", self._sources.staleness(link)))
        return self._ageing[machine]

    def _define(
        self, selector: str, kind: str, detail: str, compute: Callable[[], Sent], under: Ageing | None = None
    ) -> int:
        number = self._bindings.new_id()
        found = self._surface.define(number, selector, kind, detail, under.id if under else 0)
        if wrong := why_not(selector, kind, found):
            self._end([number])
            raise BindingError(wrong)
        if under:
            under.bindings.add(number)
        self._bindings.add(Binding(number, f"{selector} {kind} {detail}".rstrip(), compute))
        return number

    def _has(self, selector: str) -> bool:
        """Whether an element matches now."""
        number = self._bindings.new_id()
        found = self._surface.define(number, selector, "text", "", 0)
        self._surface.drop(number)
        return found > 0

    def _listen(
        self, number: int, type: str, selector: str, handler: Callable[[UiEvent], object], prevent: bool
    ) -> None:
        if not self._surface.listen(number, type, selector, prevent):
            raise BindingError(f"{selector!r} is no selector")
        self._handlers[number] = (f"{type} {selector}", handler)

    def _take_typed(self, number: int, kind: str, selector: str, expression: Any, shown: Shown | None) -> None:
        """Let a person's change of the elements of this binding change what it shows."""
        again = partial(self._bindings.again, number)
        use = emptied = puts_right(again)
        if isinstance(expression, Value):
            use = emptied = sets(expression)
        elif isinstance(expression, str):
            use = switches(expression, self._sources.machine_of(shown), again)

        def typed(event: UiEvent) -> None:
            then = emptied if event.reset else use
            self._bindings.typed(number, then(event.checked if kind == "checked" else event.value))

        self._listen(number, "input", selector, typed, False)
        if isinstance(expression, Value) and (early := self._surface.early(number)) is not None:
            self._bindings.typed(number, use(early))

    def _end(self, ids: Collection[int]) -> None:
        for number in ids:
            self._surface.drop(number)
        self._forget(ids)

    def _forget(self, ids: Collection[int]) -> None:
        """These have ended in the document. With the last that shows a mirror ends what tells of its staleness."""
        self._bindings.end(ids)
        for number in ids:
            self._handlers.pop(number, None)
        for machine, ageing in tuple(self._ageing.items()):
            ageing.bindings.difference_update(ids)
            if not ageing.bindings:
                del self._ageing[machine]
                self._end([ageing.id])

    def _flush(self, ended: str) -> str:
        self._forget(json.loads(ended))
        return json.dumps(self._bindings.flush())

    def _emit(self, id: int, event: str) -> None:
        where, handler = self._handlers[id]
        try:
            facts = json.loads(event)
            result = handler(UiEvent(**{**facts, "form": Fields(facts["form"])}))
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

    def _report(self, where: str, error: BaseException) -> None:
        self._surface.report(f"{where}: {''.join(traceback.format_exception(error))}")
