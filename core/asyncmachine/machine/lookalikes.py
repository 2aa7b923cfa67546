"""Lookalikes: methods that read like handlers, are spelt otherwise, and so would never be called.

`fooState`, `foo_state`, `onFoo` and `on_foo` are ordinary methods of an object with handlers, which may have any. One
of them is reported if its letters are those of a handler that the object does not have, and it takes what a handler
does: one argument, annotated as an event or not at all.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Collection, Iterator
from typing import Any

from asyncmachine.machine.handlers import FINAL, NEGOTIATION

logger = logging.getLogger("asyncmachine")


def warn_of_lookalikes(handlers: type, states: Collection[str], known: Collection[str]) -> None:
    """Logs each lookalike of a class; `known` are the names of the handlers that it has."""
    for name, meant in lookalikes(handlers, states, known):
        logger.warning(
            "%s.%s is never called: did you mean %s? Begin its name with an underscore if it is no handler.",
            handlers.__qualname__,
            name,
            meant,
        )


def lookalikes(handlers: type, states: Collection[str], known: Collection[str]) -> Iterator[tuple[str, str]]:
    """Names of methods, each with the name of the handler that it looks like."""
    legal = {_letters(state + suffix): state + suffix for state in states for suffix in (*NEGOTIATION, *FINAL)}
    activated = {_letters(state): f"{state}State" for state in states}
    for name in dir(handlers):
        if name.startswith("_") or name in known:
            continue
        meant = legal.get(_letters(name))
        if meant is None and name.startswith("on") and (name[2:3] == "_" or name[2:3].isupper()):
            rest = _letters(name[2:])
            meant = legal.get(rest) or activated.get(rest)
        if meant is not None and meant not in known and _takes_an_event(getattr(handlers, name)):
            yield name, meant


def _letters(name: str) -> str:
    return name.replace("_", "").casefold()


def _takes_an_event(method: Any) -> bool:
    if not inspect.isfunction(method):
        return False
    signature = inspect.signature(method)
    try:
        bound = signature.bind("self", "event")
    except TypeError:
        return False
    annotation = signature.parameters[list(bound.arguments)[-1]].annotation
    return annotation is inspect.Parameter.empty or "Event" in str(annotation)
