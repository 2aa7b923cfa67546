"""Reading a machine: identity, activity, ticks and texts, from its list of ticks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from secrets import token_hex
from typing import Generic, TypeVar

from asyncmachine.machine.errors import InvalidArgs, StateMissing
from asyncmachine.machine.schema import EXCEPTION, Schema

N = TypeVar("N", bound=str, contravariant=True)  # noqa: PLC0105 (one letter, as it is in every signature)
"""The names a machine takes: a class of states, or `str` for a machine made from a plain schema."""


class Reading(Generic[N]):
    """Questions that the ticks alone answer. A disposed machine answers them with nothing: False, 0, empty."""

    __slots__ = (
        "_disposed",
        "_err",
        "_id",
        "_index",
        "_machine_tick",
        "_names",
        "_parent_id",
        "_queue_tick",
        "_schema",
        "_tags",
        "_ticks",
    )

    def __init__(
        self,
        id: str,
        schema: Schema,
        *,
        tags: Iterable[str] = (),
        parent_id: str = "",
        index: Mapping[str, int] | None = None,
    ) -> None:
        self._id = id
        self._schema = schema
        self._names = schema.names
        self._index: Mapping[str, int] = schema.index if index is None else index
        self._ticks: list[int] = [0] * len(schema.names)
        self._tags = tuple(dict.fromkeys(tags))
        self._parent_id = parent_id
        self._queue_tick = 1
        self._machine_tick = 0
        self._err: BaseException | None = None
        self._disposed = False

    # Identity

    @property
    def id(self) -> str:
        """The machine's name, 16 random hex digits unless given."""
        if not self._id:
            self._id = token_hex(8)
        return self._id

    @property
    def parent_id(self) -> str:
        """Id of the machine this one was made for, empty without one."""
        return self._parent_id

    @property
    def tags(self) -> tuple[str, ...]:
        """Free labels, `key` or `key:value`."""
        return self._tags

    @property
    def names(self) -> tuple[str, ...]:
        """All state names in their order."""
        return self._names

    @property
    def schema(self) -> Schema:
        """The schema, as given plus `Exception`."""
        return self._schema

    @property
    def is_disposed(self) -> bool:
        """True once it has been disposed, which waits for the transition that runs."""
        return self._disposed

    # States

    def is_(self, *names: N) -> bool:
        """True if all of these are active (also when none are given). Unknown names are not active."""
        index, ticks = self._index, self._ticks
        for name in names:
            i = index.get(name)
            if i is None:
                return self._is_unknown(name)
            if not ticks[i] & 1:
                return False
        return not self._disposed

    def _is_unknown(self, name: str) -> bool:
        return False

    def not_(self, *names: N) -> bool:
        """True if none of these is active. Raises `StateMissing` for unknown names."""
        if self._disposed:
            return False
        ticks = self._ticks
        return not any(ticks[i] & 1 for i in self._indexes(names))

    def any_(self, *names: N) -> bool:
        """True if at least one of these is active."""
        return any(self.is_(name) for name in names)

    def __contains__(self, name: object) -> bool:
        """`"Foo" in machine`: is Foo active?"""
        i = self._index.get(name)  # type: ignore[call-overload]
        return i is not None and bool(self._ticks[i] & 1)

    def has(self, *names: str) -> bool:
        """True if the machine has all of these states."""
        return not self._disposed and all(name in self._index for name in names)

    def is_err(self) -> bool:
        """True while `Exception` is active."""
        return EXCEPTION in self

    @property
    def err(self) -> BaseException | None:
        """The last error. It stays when `Exception` is removed."""
        return self._err

    def active_states(self, names: Iterable[N] | None = None) -> tuple[str, ...]:
        """Active states in the machine's order, or those among `names` in the given order."""
        if self._disposed:
            return ()
        if names is None:
            return self._active_names()
        return tuple(name for name in names if name in self)

    def switch(self, *groups: Iterable[N]) -> str | None:
        """The first active state of these groups, None if there is none."""
        return next((name for group in groups for name in group if name in self), None)

    def index(self, name: N) -> int:
        """Position of a state, -1 for an unknown name."""
        return self._index.get(name, -1)

    # Time

    def tick(self, name: N) -> int:
        """How often the state has changed; odd means active. 0 for an unknown name."""
        i = self._index.get(name)
        return 0 if i is None else self._ticks[i]

    def time(self, names: Iterable[N] | None = None) -> tuple[int, ...]:
        """Ticks of all states in their order, or of `names` in the given order."""
        if self._disposed:
            return ()
        return tuple(self._ticks) if names is None else tuple(self.tick(name) for name in names)

    def clock(self, names: Iterable[N] | None = None) -> dict[str, int]:
        """Ticks by name."""
        if self._disposed:
            return {}
        if names is None:
            return dict(zip(self._names, self._ticks, strict=True))
        return {name: self.tick(name) for name in names}

    def is_time(self, time: Sequence[int], names: Iterable[N] | None = None) -> bool:
        """True if the ticks are exactly these."""
        return self.time(names) == tuple(time)

    def was_time(self, time: Sequence[int], names: Iterable[N] | None = None) -> bool:
        """True if every tick has been reached."""
        now = self.time(names)
        return len(now) >= len(time) and all(tick >= past for tick, past in zip(now, time, strict=False))

    def is_clock(self, clock: Mapping[N, int]) -> bool:
        """True if the ticks are exactly these."""
        return all(self.tick(name) == tick for name, tick in clock.items())

    def was_clock(self, clock: Mapping[N, int]) -> bool:
        """True if every tick has been reached."""
        return all(self.tick(name) >= tick for name, tick in clock.items())

    @property
    def queue_tick(self) -> int:
        """Number of the last mutation taken from the queue, counted from 2; 1 for a fresh machine."""
        return self._queue_tick

    @property
    def machine_tick(self) -> int:
        """How often the machine has been restored from an export."""
        return self._machine_tick

    # Text

    def __str__(self) -> str:
        """Active states with their ticks: ``(A:1 B:3)``."""
        return "" if self._disposed else f"({self._text(1)})"

    def string_all(self) -> str:
        """All states: ``(A:1 B:3) [C:2]``."""
        return "" if self._disposed else f"({self._text(1)}) [{self._text(0)}]"

    def _text(self, odd: int) -> str:
        return " ".join(f"{n}:{t}" for n, t in zip(self._names, self._ticks, strict=True) if t & 1 == odd)

    def inspect(self, names: Iterable[N] | None = None) -> str:
        """One block a state: active or not, tick, flags and relations."""
        if self._disposed:
            return ""
        lines = []
        for i in range(len(self._names)) if names is None else self._indexes(names):
            found, tick = self._schema[self._names[i]], self._ticks[i]
            lines += [f"{tick & 1} {self._names[i]}", f"    |Tick     {tick}"]
            lines += [f"    |{flag.capitalize():<8} true" for flag in ("auto", "multi") if getattr(found, flag)]
            lines += [
                f"    |{key.capitalize():<8} {' '.join(getattr(found, key))}"
                for key in ("add", "require", "remove", "after")
                if getattr(found, key) is not None
            ]
        return "\n".join(lines) + "\n" if lines else ""

    # For subclasses

    def _known_as(self) -> str:
        """How errors name it; empty where nobody has given it an id or asked for one: a random one tells nothing."""
        return self._id

    def _active_names(self) -> tuple[str, ...]:
        raise NotImplementedError

    def _indexes(self, names: Iterable[str]) -> tuple[int, ...]:
        index = self._index
        try:
            return tuple([index[name] for name in names])
        except KeyError:
            if self._disposed:
                return ()
            raise StateMissing([name for name in names if name not in index], self._known_as(), index) from None
        except TypeError:
            given: Iterable[object] = names
            wrong = next((name for name in given if not isinstance(name, str)), names)
            raise InvalidArgs(f"a state is named by a text, and several one after another: got {wrong!r}") from None
