"""Bindings: an expression, where its value goes, and the batch of values that changed since the last frame.

    machine ticks ──▶ Bindings.touched ──▶ asks for a frame ─ … ─▶ Bindings.flush ──▶ [[id, value], …]

At a frame, the sources that were touched say which states ticked, only the bindings that read one of these are
evaluated, and only values that differ from the last ones are sent. A binding whose expression raises keeps its value
and its reads, and tells of an error once until it is another one, or none.
"""

from __future__ import annotations

import html
import inspect
import reprlib
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, Final, TypeAlias

from asyncmachine import AmError
from asyncmachine_web.page.markup import HOLE, Address, bound, check_template, harmless, without_code
from asyncmachine_web.page.reads import Clock, Readable, Reads, Source, T, Value, evaluate

Plain: TypeAlias = "str | bool | None"
Markup: TypeAlias = "dict[str, str]"
Sent: TypeAlias = "Plain | Markup | list[list[Plain | Markup]]"
"""What crosses to JavaScript: numbers go as text, since a page shows text and JavaScript rounds large integers."""

Expression: TypeAlias = "str | Value[T] | Clock | Callable[[Source], T]"

UNSENT: Final = object()
"""What a binding has sent at first, equal to no value."""


class BindingError(AmError):
    """A binding that cannot be: no such element, a wrong kind of expression, a value that cannot be shown."""


class Html(str):
    """Text that is HTML and is shown as such, where all other text is escaped.

    `Html("<b>{}</b>").format(name)` escapes what it fills in, unless that is marked too. Never make one of what a
    person or a peer has written.
    """

    __slots__ = ()

    def format(self, *args: object, **named: object) -> Html:
        """As `str.format`, of escaped texts."""
        return Html(super().format(*map(_escaped, args), **{name: _escaped(value) for name, value in named.items()}))


def _escaped(value: object) -> str:
    return value if isinstance(value, Html) else html.escape(as_text(value))


@dataclass(eq=False, slots=True)
class Binding:
    id: int
    where: str
    """For messages: selector and kind."""
    compute: Callable[[], Sent]
    reads: Reads = field(default_factory=set)
    sent: Sent | object = UNSENT
    failed: str = ""
    """How it failed the last time it was evaluated."""


_TEXTLESS: Final = (bytes, bytearray, memoryview, set, frozenset)


def as_text(value: object) -> str:
    if type(value) is str:
        return value
    if value is None:
        return ""
    if isinstance(value, _TEXTLESS):
        raise BindingError(f"a {type(value).__name__} has no text of its own; format it, e.g. with .hex() or sorted()")
    return str(value)


def as_content(value: object) -> str | Markup:
    """Text, or HTML that is marked as such."""
    if type(value) is str:
        return value
    return {"html": str(value)} if isinstance(value, Html) else as_text(value)


def as_attribute(value: object) -> Plain:
    """None and False remove the attribute, True sets it empty."""
    return value if value is None or isinstance(value, bool) else as_text(value)


def as_value_of(attribute: str, value: object) -> Plain:
    """As `as_attribute`; an address that may be code is left out. What is said to a screen reader is a word."""
    if isinstance(value, bool) and attribute.lower().startswith("aria-"):
        return str(value).lower()
    found = as_attribute(value)
    return harmless(attribute, found) if isinstance(found, str) else found


def _as_hole(value: object) -> Plain | Markup:
    """A hole of a template may be an attribute's value or a text."""
    return {"html": str(value)} if isinstance(value, Html) else as_attribute(value)


@dataclass(frozen=True)
class Template:
    """A row of a list: HTML with `{name}` holes as in `str.format`; each hole is one attribute value or one text.

    What lit-html makes of other attributes, listeners and properties, takes code and markup for what a row has as text.
    """

    strings: tuple[str, ...]
    holes: tuple[tuple[str, str], ...]
    """(name, format specification) for each gap between two strings."""
    addresses: tuple[Address, ...] = ()
    """Where the browser may be led to."""
    inside: frozenset[int] = frozenset()
    """The numbers of the holes in attributes."""

    @classmethod
    def parse(cls, text: str) -> Template:
        strings, holes = [""], []
        for literal, name, spec, conversion in string.Formatter().parse(text):
            strings[-1] += literal
            if name is None:
                continue
            if not name.isidentifier() or conversion:
                raise BindingError(f"the hole {{{name}}} of a template must be a plain name, with a format at most")
            holes.append((name, spec or ""))
            strings.append("")
        wrong, addresses, inside = check_template(HOLE.join(strings))
        if wrong:
            raise BindingError(wrong)
        return cls(tuple(bound(HOLE.join(strings)).split(HOLE)), tuple(holes), addresses, inside)

    def rows(self, rows: Iterable[Mapping[str, object]], key: str) -> Sent:
        """Each row as [key, value of each hole]. Raises BindingError for a missing name and a key that comes twice."""
        result = [self._row(row, key) for row in rows]
        if len({str(row[0]) for row in result}) < len(result):
            raise BindingError(f"two rows have the same {key!r}; choose a key that tells rows apart")
        return result

    def _row(self, row: Mapping[str, object], key: str) -> list[Plain | Markup]:
        try:
            values = [format(row[name], spec) if spec else _as_hole(row[name]) for name, spec in self.holes]
            for hole in self.inside:
                if isinstance(marked := values[hole], dict):
                    values[hole] = marked["html"]  # an attribute has no other text
            for hole in without_code(values, self.addresses):
                values[hole] = ""
            return [as_text(row[key]), *values]
        except KeyError as missing:
            raise BindingError(f"a row has no {missing}; it has {', '.join(row)}") from None


def compute_by(
    expression: Expression[Any], source: Source | None, convert: Callable[[object], Sent]
) -> Callable[[], Sent]:
    """What a binding evaluates. Raises BindingError for a slip, StateMissing for an unknown state."""
    if isinstance(expression, Value | Clock):
        return lambda: convert(expression.get())
    if not isinstance(expression, str):
        _check(expression)
    if source is None:
        raise BindingError("no machine to bind to: give Page(machine) or a source")
    if isinstance(expression, str):
        source.machine.not_(expression)  # raises StateMissing, with the nearest name
        return lambda: convert(source.is_(expression))
    return lambda: convert(expression(source))


def _check(expression: Callable[[Source], object]) -> None:
    """Told where it is bound: at the next frame nothing would say which line it was."""
    if not callable(expression):
        raise BindingError(f"{reprlib.repr(expression)} is a value; write lambda m: …, or page.value(…)")
    if inspect.iscoroutinefunction(expression):
        raise BindingError("an expression answers at once; await elsewhere, and show a Value that is set there")
    if isinstance(expression, FunctionType):
        code = expression.__code__
        if code.co_argcount == 1 and not code.co_kwonlyargcount:
            return  # as nearly all are, and a signature takes long to make
    try:
        signature = inspect.signature(expression)
    except (TypeError, ValueError):
        return  # a built-in function, or one of JavaScript's, does not tell
    try:
        signature.bind(expression)
    except TypeError as why:
        raise BindingError(f"an expression is called with the machine alone ({why}); write lambda m: …") from None


class Bindings:
    """All bindings of a page. `ask` asks for a frame, `report` shows an error of an expression."""

    def __init__(self, ask: Callable[[], None], report: Callable[[str, BaseException], None]) -> None:
        self._ask = ask
        self._report = report
        self._bindings: dict[int, Binding] = {}
        self._readers: dict[Readable, dict[int, dict[Binding, None]]] = {}
        self._touched: set[Readable] = set()
        self._dirty: dict[Binding, None] = {}  # a set in the order of marking
        self._ids = 0

    def __len__(self) -> int:
        return len(self._bindings)

    def new_id(self) -> int:
        self._ids += 1
        return self._ids

    def add(self, binding: Binding) -> None:
        self._bindings[binding.id] = binding
        self._dirty[binding] = None
        self._ask()

    def typed(self, id: int, value: Plain) -> None:
        """A person changed the element, which shows this now."""
        if id in self._bindings:
            self._bindings[id].sent = value

    def again(self, id: int) -> None:
        """Evaluate it at the next frame, whatever it reads: should the element show something else, it is put right."""
        if id in self._bindings:
            self._dirty[self._bindings[id]] = None
            self._ask()

    def end(self, ids: Iterable[int]) -> None:
        """End these bindings; unknown ids are those ended before."""
        for ended in ids:
            binding = self._bindings.pop(ended, None)
            if binding:
                self._dirty.pop(binding, None)
                self._reads(binding, set())

    def clear(self) -> None:
        self.end(list(self._bindings))

    def touched(self, readable: Readable) -> None:
        if not self._touched:
            self._ask()
        self._touched.add(readable)

    def flush(self) -> list[tuple[int, Sent]]:
        """Evaluate what may have changed; the values that did."""
        touched, self._touched = self._touched, set()
        for readable in touched:
            readers = self._readers.get(readable)
            if readers is None:
                continue  # its last reader has ended since
            for key in readable.changes(self.touched) & readers.keys():
                self._dirty.update(readers[key])
        dirty, self._dirty = self._dirty, {}
        batch: list[tuple[int, Sent]] = []
        for binding in dirty:
            reads: Reads = set()
            try:
                value = evaluate(binding.compute, reads)
            except BaseException as error:  # noqa: BLE001  # anything may be wrong with one; the others are shown
                if binding.failed != repr(error):  # once, not with each frame
                    binding.failed = repr(error)
                    self._report(binding.where, error)
                self._reads(binding, binding.reads | reads)
                continue
            binding.failed = ""
            if reads != binding.reads:
                self._reads(binding, reads)
            if value != binding.sent:
                binding.sent = value
                batch.append((binding.id, value))
        return batch

    def _reads(self, binding: Binding, reads: Reads) -> None:
        """Enter what the binding reads now; a source is watched from its first reader to its last."""
        for readable, key in reads - binding.reads:
            if readable not in self._readers:
                self._readers[readable] = {}
                readable.start(self.touched)
            self._readers[readable].setdefault(key, {})[binding] = None
        for readable, key in binding.reads - reads:
            keys = self._readers[readable]
            del keys[key][binding]
            if not keys[key]:
                del keys[key]
            if not keys:
                del self._readers[readable]
                readable.stop(self.touched)
        binding.reads = reads
