"""What servers, clients and muxes are made with, looked at where they are made.

What is wrong with an option would else show with the first client, at another place, as a connection that just ends.
"""

from __future__ import annotations

from typing import Any

from asyncmachine.machine.args import Args
from asyncmachine.machine.errors import InvalidArgs
from asyncmachine.machine.machine import Machine
from asyncmachine.machine.view import View
from asyncmachine.rpc.backoff import Backoff
from asyncmachine.rpc.options import (
    check_kind,
    check_place,
    check_plain_function,
    check_seconds,
    check_text,
    check_whole,
)
from asyncmachine.rpc.sessions import Sessions
from asyncmachine.rpc.timing import Timing


def check_server(
    name: object = "",
    push_interval: object = 0.0,
    allow: object = None,
    clients: object = 1,
    max_payload: object = 1,
    args: Any = None,
    strangers: object = 0,
    *,
    sessions: object = None,
    **shared: object,
) -> None:
    """Raises `InvalidArgs` for options that no server can have."""
    check_text("name", name)
    check_seconds("push_interval", push_interval)
    check_whole("clients", clients, 1)
    check_whole("max_payload", max_payload, 1)
    check_whole("strangers", strangers, 0)
    if allow is not None:
        check_plain_function("allow", allow)
    if isinstance(args, type) or not all(map(_is_record, args or ())):
        raise InvalidArgs(f"args takes several classes of typed records, got {args!r}")
    check_kind("sessions", sessions, Sessions, "one of rpc.sessions.Sessions")
    check_shared(**shared)


def check_mux(name: object, listen: object, limit: object, backoff: object, parent: object) -> None:
    """Raises `InvalidArgs` for options that no mux can have."""
    check_text("name", name)
    check_place("listen", listen, "opens a listener")
    check_whole("limit", limit, 1)
    check_shared(backoff=backoff, parent=parent)


def check_client(
    dial: object, id: object, consumer: object, dial_timeout: object, max_payload: object, **shared: object
) -> None:
    """Raises `InvalidArgs` for options that no client can have."""
    check_place("dial", dial, "connects")
    check_text("id", id)
    check_kind("consumer", consumer, Machine, "a machine")
    check_seconds("dial_timeout", dial_timeout, more_than_none=True)
    check_whole("max_payload", max_payload, 0)
    check_shared(**shared)


def check_shared(
    *, timing: object = None, backoff: object = None, parent: object = None, compression: object = None
) -> None:
    """Raises `InvalidArgs` for what is wrong with options that they all have."""
    check_kind("timing", timing, Timing, "one of rpc.Timing")
    check_kind("backoff", backoff, Backoff, "one of rpc.Backoff")
    check_kind("parent", parent, View, "a machine or a mirror")
    if compression is not None and not isinstance(compression, bool):
        raise InvalidArgs(f"compression is True, False or None, got {compression!r}")


def _is_record(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Args)
