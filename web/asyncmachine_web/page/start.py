"""The first of ours that runs in a new Python: called by `boot.mjs` before anybody else can make a future."""

from __future__ import annotations

import importlib
import json
import os
import random
import sys

from asyncmachine_web.page.loop import install


def start(env: str) -> None:
    """`env` is a JSON object.

    The memory may be that of a snapshot, with the environment of where it was made, its program and everybody's random
    numbers. A worker runs what is needed for every order now, for it may be a spare, whose order should not have to
    wait for that.
    """
    from asyncmachine_js import context

    os.environ.update(json.loads(env))
    random.seed()
    sys.argv = [program()]
    install()
    if context is not None:
        importlib.import_module("asyncmachine_web.page.workers")


def program() -> str:
    """What people know the page by: a debugger shows it, and only what follows the last slash. A worker tells later."""
    import js

    if not hasattr(js, "document"):
        return "worker"
    return js.document.title.strip().replace("/", "-") or f"{js.location.host}{js.location.pathname}"
