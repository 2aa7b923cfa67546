"""Shells stay small: a module that touches a loop has under 300 lines, so that it can be read at once.

What is decided is decided without one (`session`, `asking`, `answering`, …), and may be longer where a table is.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import asyncmachine.rpc

FOLDER = Path(asyncmachine.rpc.__file__).parent
LIMIT = 300

FRONTS = {"client.py", "netmach.py", "reacting.py"}
"""Those that have a loop by others."""


def touches_a_loop(path: Path) -> bool:
    tree = ast.parse(path.read_text())
    return any(
        name.name.partition(".")[0] == "asyncio"
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for name in node.names
    )


SHELLS = sorted(path for path in FOLDER.rglob("*.py") if path.name in FRONTS or touches_a_loop(path))


def test_the_shells_are_found() -> None:
    names = {path.name for path in SHELLS}
    assert names >= {"client.py", "server.py", "mux.py", "served.py", "connection.py", "tcp.py"} | FRONTS
    assert names.isdisjoint({"session.py", "asking.py", "answering.py", "messages.py"})


@pytest.mark.parametrize("path", SHELLS, ids=lambda path: path.name)
def test_a_shell_has_under_300_lines(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines < LIMIT, f"{path.name} has {lines} lines: move out what is a matter of its own"
