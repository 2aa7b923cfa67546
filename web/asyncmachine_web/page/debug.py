"""The debug stream of a page, for who opens it with `?dbg=1`.

    debug.watch(machine)                                   # in the page
    Worker.fork("w1", main="my_app.worker:main", env=debug.env())
    dbg.debug_env(machine)                                 # in that worker, as in a native program

It goes to `/dbg.ws` of the server that the page came from, if that records; nobody can make it go elsewhere by a link.
What it tells of arguments is said in `asyncmachine.telemetry.dbg.texts`.
"""

from __future__ import annotations

import os
from typing import Any, Final

from asyncmachine.machine.view import View
from asyncmachine.telemetry.dbg.address import PATH
from asyncmachine.telemetry.dbg.attach import Attachment, attach

ADDRESS: Final = "AM_DBG_ADDR"


def asked() -> bool:
    """Whether this page's address says `dbg=1`. A worker has no such address: its parent gives it `env`."""
    from js import URLSearchParams, location

    return bool(URLSearchParams.new(location.search).get("dbg") == "1")


def watch(machine: View[Any]) -> Attachment | None:
    """Streams what the machine and its children do, if that is asked for."""
    return attach(machine, PATH) if asked() else None


def env() -> dict[str, str]:
    """What a worker's environment needs for its `debug_env` to do the same; also from a worker to one of its own."""
    address = os.environ.get(ADDRESS) or (PATH if asked() else "")
    return {ADDRESS: address} if address else {}
