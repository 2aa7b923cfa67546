"""What JavaScript gives to Python: the module `asyncmachine_js`, which is the same wherever `boot.mjs` started Python.

A page that started its Python by other means has what it registered itself, and a worker has no document.
"""

from __future__ import annotations

import importlib

from asyncmachine import AmError


class NotGiven(AmError):
    """Another script than ours started this Python, or it is a worker: what is needed is not there."""


def need(who: str, *names: str) -> None:
    """Raises NotGiven if JavaScript has not given this Python all that `who` uses."""
    try:
        given: object = importlib.import_module("asyncmachine_js")
    except ModuleNotFoundError:
        given = None
    if missing := ", ".join(name for name in names if not hasattr(given, name)):
        cure = ', or by pyodide.registerJsModule("asyncmachine_js", { ui })' if missing == "ui" else ""
        raise NotGiven(f"{who} needs {missing} of asyncmachine_js; it is there if boot.mjs has started Python{cure}")
    if any(getattr(given, name) is None for name in names):
        raise NotGiven(f"{who} needs a document, and this is a worker; let a page show its machine (asyncmachine.rpc)")
