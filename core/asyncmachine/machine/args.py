"""Typed arguments of mutations.

Arguments travel as a dict. A record of a subclass of `Args` takes one slot in it, under ``<prefix>__<state>``, so
several records fit into one mutation and names never clash::

    @dataclass(frozen=True)
    class Upload(Args, state="Uploading", prefix="app"):
        path: str

    machine.add("Uploading", Upload(path="/tmp/a"))

    def UploadingState(self, e: Event) -> None:
        print(e.args(Upload).path)
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from asyncmachine.machine.errors import InvalidArgs
from asyncmachine.machine.names import ANY

A = TypeVar("A", bound="Args")

RawArgs = Mapping[str, Any]
"""Arguments as handlers find them: plain values and typed records by key."""

RESERVED = frozenset({"key", "prefix", "state", "registry"})
"""What `Args` says about a class, so no field can be called like that."""


class Args:
    """Base of typed argument records; subclasses are frozen dataclasses."""

    key: ClassVar[str] = ""
    prefix: ClassVar[str] = ""
    state: ClassVar[str] = ""
    registry: ClassVar[dict[str, type[Args]]] = {}
    _is_named: ClassVar[bool]

    def __init_subclass__(cls, *, state: str = ANY, prefix: str = "am", **kw: Any) -> None:
        super().__init_subclass__(**kw)
        if "_is_named" in cls.__dict__:
            # `dataclass(slots=True)` has made the class a second time, from the attributes of the first one.
            Args.registry[cls.key] = cls
            return
        taken = sorted(RESERVED & {*cls.__dict__, *_annotated(cls)})
        if taken:
            raise TypeError(f"{cls.__qualname__}: {', '.join(taken)} belong to Args; give the field another name")
        cls._is_named = True
        cls.state, cls.prefix = state, prefix
        cls.key = f"{prefix}__{state}"
        known = Args.registry.get(cls.key)
        # A module that is loaded again replaces its classes; two classes on one key would swallow each other.
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(
                f"{cls.__qualname__}: the args key {cls.key!r} belongs to {known.__module__}.{known.__qualname__}; "
                "give another state= or prefix="
            )
        Args.registry[cls.key] = cls


def _annotated(cls: type) -> Iterable[str]:
    """Names of the fields that a class itself declares."""
    if sys.version_info >= (3, 14):
        # Annotations are made when asked for, and may refer to what does not exist yet.
        from annotationlib import Format, get_annotations

        return get_annotations(cls, format=Format.FORWARDREF)
    return inspect.get_annotations(cls)


@dataclass(frozen=True)
class ErrorArgs(Args, state="Exception", prefix="_am"):
    """What comes with the `Exception` state.

    `err` is the original exception object, `trace` its formatted stack (empty if it has none), `handler` the handler
    that raised (empty for `add_err`), `kind`, `called` and `before` the kind of the broken transition's mutation, its
    called states and those that were active.
    """

    err: BaseException
    trace: str = ""
    handler: str = ""
    kind: str = ""
    called: tuple[str, ...] = ()
    before: tuple[str, ...] = ()


ArgsLike = RawArgs | Args | list[Args] | tuple[Args, ...] | None
"""What a mutation accepts as its arguments."""


def raw_args(args: ArgsLike, kw: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """One dict from whatever was given. Raises `InvalidArgs` for anything that is not arguments."""
    found: dict[str, Any] = {}
    if args is None:
        pass
    elif isinstance(args, Mapping):
        found.update(args)
    elif isinstance(args, Args):
        found[args.key] = args
    elif isinstance(args, list | tuple):
        for record in args:
            if not isinstance(record, Args):
                raise InvalidArgs(f"a list of arguments holds Args records, got {type(record).__name__}")
            found[record.key] = record
    else:
        raise InvalidArgs(f"arguments are a mapping, an Args record or a list of records, got {type(args).__name__}")
    if kw:
        found.update(kw)
    return found


def typed(args: RawArgs, kind: type[A]) -> A | None:
    """The record of this class, None if it is absent. Plain fields found in its place are turned into the record."""
    found = args.get(kind.key)
    if found is None or isinstance(found, kind):
        return found
    if isinstance(found, Mapping):
        try:
            return kind(**found)
        except (TypeError, ValueError) as error:
            raise InvalidArgs(f"{kind.__qualname__}: {error}") from error
    raise InvalidArgs(f"{kind.key}: expected {kind.__qualname__}, got {type(found).__name__}")
