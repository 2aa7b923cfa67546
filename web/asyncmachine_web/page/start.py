"""The first of ours that runs in a new Python: called by `boot.mjs` before anybody else can make a future."""

from __future__ import annotations

import importlib
import json
import logging
import os
import random
import sys
from typing import Any, Final

from asyncmachine_web.page.loop import install

IDLE: Final = 1.0
"""Seconds after which a worker without an order imports what nearly every order needs."""


def start(env: str) -> None:
    """`env` is a JSON object.

    The memory may be that of a snapshot, with the environment of where it was made, its program and everybody's random
    numbers. A worker runs what is needed for every order now, for it may be a spare, whose order should not have to
    wait for that; and if it is one, aRPC a little later.
    """
    from asyncmachine_js import context

    os.environ.update(json.loads(env))
    random.seed()
    sys.argv = [program()]
    logging.lastResort = Console(logging.WARNING)
    loop = install()
    if context is not None:
        importlib.import_module("asyncmachine_web.page.workers")
        loop.call_later(IDLE, import_in_advance, context)


def import_in_advance(context: Any) -> None:
    """`context` has an id as soon as there is an order."""
    if not hasattr(context, "id"):
        importlib.import_module("asyncmachine.rpc")


class Console(logging.Handler):
    """Where the log goes until the application says otherwise: one message for each record, with its traceback.

    Python's own writes to its standard error, which the console shows as one warning for each line.
    """

    def emit(self, record: logging.LogRecord) -> None:
        import js

        try:
            say = js.console.error if record.levelno >= logging.ERROR else js.console.warn
            say(self.format(record))
        except Exception:  # noqa: BLE001 (an argument that has no text must not harm who logs it)
            self.handleError(record)


def program() -> str:
    """What people know the page by: a debugger shows it, and only what follows the last slash. A worker tells later."""
    import js

    if not hasattr(js, "document"):
        return "worker"
    return js.document.title.strip().replace("/", "-") or f"{js.location.host}{js.location.pathname}"
