"""The page's own main: found, run, and told of where people look when it fails.

What is told is the error and, for mistakes that many make, what to do. The traceback goes to the console.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from asyncmachine import AmError
from asyncmachine.machine.errors import nearest

Tell: TypeAlias = Callable[[str, bool], object]
"""Gets a sentence, and whether it may help to load the page anew."""

WRITTEN: Final = 'it is "main" in the page\'s settings (#asyncmachine)'
OTHERS: Final = (
    'A page has the standard library and what "packages" in pyproject.toml names; micropip installs other wheels'
)
LEFT_OUT: Final = 'is not part of the page: "leave_out" in pyproject.toml leaves it out, or it is not there'
PASSING: Final = frozenset(
    {"OSError", "JsException", "WaitTimeout", "TransportClosed", "NotConnected", "UnknownOutcome"}
)
"""Classes of errors that may be gone at the next try. By name: not every page has loaded what they come from."""
LASTING: Final = frozenset({"FileNotFoundError"})
"""Of these, those that will not."""


class NoMain(AmError):
    """The page's settings name no function."""


def run(main: str, tell: Tell) -> object:
    """Calls `package.module:function`. What is to be awaited is returned; what fails is told, and raised."""
    with _telling(main, tell):
        result = _function(main)()
    if not inspect.isawaitable(result):
        return None
    from asyncmachine_web.page.loop import run_main  # there is none but Pyodide's

    return run_main(_to_its_end, main, result, tell)


async def _to_its_end(main: str, result: Awaitable[object], tell: Tell) -> None:
    with _telling(main, tell):
        await result


@contextmanager
def _telling(main: str, tell: Tell) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        tell(f"{main or 'the page'} failed: {why(error, main)}", may_pass(error))
        raise


def _function(main: str) -> Callable[[], Any]:
    name, _, attribute = main.partition(":")
    if not name:
        raise NoMain('there is no "main" in its settings (#asyncmachine); write "package.module:function"')
    module = importlib.import_module(name)
    found: Callable[[], Any] | None = getattr(module, attribute, None)
    if found is None:
        functions = [each for each, value in vars(module).items() if callable(value) and not each.startswith("_")]
        hint = nearest(attribute, functions)
        raise NoMain(f"there is no {attribute} in it; {f'did you mean {hint}? ' if hint else ''}{WRITTEN}")
    return found


def why(error: BaseException, main: str) -> str:
    """The last line of the traceback, and what helps."""
    if isinstance(error, NoMain):
        return str(error)
    told = "".join(traceback.format_exception(error)).strip().splitlines()[-1]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{told} ({error.filename}, line {error.lineno})"
    if not isinstance(error, ImportError) or not (missing := _missing(error)):
        return told
    module = main.partition(":")[0]
    if missing.partition(".")[0] != module.partition(".")[0]:
        return f"{told}. {OTHERS}"
    asked = f"; {WRITTEN}" if f"{module}.".startswith(f"{missing}.") else ""
    return f"{told}. {missing} {LEFT_OUT}{asked}"


def _missing(error: ImportError) -> str:
    """The module that is not there; empty if something else is wrong."""
    if isinstance(error, ModuleNotFoundError):
        return error.name or ""
    name = getattr(error, "name_from", None)  # `from package import module`
    return f"{error.name}.{name}" if name and hasattr(sys.modules.get(error.name or ""), "__path__") else ""


def may_pass(error: BaseException) -> bool:
    """Whether another try may go better. A mistake stays one."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return bool(kinds & PASSING) and not kinds & LASTING
