"""The first of ours that runs in a new Python: called by `boot.mjs` before anybody else can make a future."""

from __future__ import annotations

import json
import os
import random

from asyncmachine_web.page.loop import install


def start(env: str) -> None:
    """`env` is a JSON object.

    The memory may be that of a snapshot, with the environment of where it was made and everybody's random numbers.
    """
    os.environ.update(json.loads(env))
    random.seed()
    install()
