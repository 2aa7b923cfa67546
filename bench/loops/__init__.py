"""The subscribe–get–process loop, once for each way to write it, between two processes over loopback.

A worker holds one of three values. One operation: wait for the worker's event, read its value, ask for the operation
that belongs to this value; the worker picks another value and raises the event again.

Each module here has `serve()`, which returns the port and serves until it is cancelled, and `driving(port)`, which
gives a function that runs a number of operations. `process` starts the other side, `meter` counts bytes in between.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

Drive = Callable[[int], Awaitable[None]]
"""Runs so many operations."""

OPERATIONS = {1: "one", 2: "two", 3: "three"}
"""What belongs to each value."""
