"""What is private API of Pyodide stands in `runtime.mjs`, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

import asyncmachine_web.page
from asyncmachine_web.build import static_folder, vendor_folder

PAGE = Path(*asyncmachine_web.page.__path__)
OWN = re.compile(r"\bself\.(_\w+)")
OF_ASYNCIO = {"_timer_handle_cancelled"}
"""What a handle calls of any loop."""


PRIVATE = re.compile(r"\b(?:pyodide\w*|python|FS)\._\w+|\b_(?:api|module)\b|\b(?:import|from) _pyodide")


def private(path: Path) -> list[str]:
    """What a file of Python or JavaScript has of it, apart from its comments."""
    return PRIVATE.findall(re.sub(r"//.*", "", re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)))


def test_our_loop_and_pyodides_have_no_private_name_in_common() -> None:
    """Neither used nor overridden by chance."""
    with ZipFile(vendor_folder() / "pyodide" / "python_stdlib.zip") as library:
        theirs = library.read("pyodide/webloop.py").decode()
    names = {*OWN.findall(theirs), *re.findall(r"def (_\w+)", theirs)}
    assert {"_in_progress", "_install_running_loop"} <= names
    ours = (PAGE / "loop.py").read_text()
    assert ({*OWN.findall(ours), *re.findall(r"def (_[a-z]\w+)", ours)} & names) <= OF_ASYNCIO


def files() -> Iterator[Path]:
    yield from sorted(PAGE.glob("*.py"))
    yield from sorted(path for path in static_folder().glob("*.mjs") if path.name != "runtime.mjs")


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_no_other_file_asks_pyodide_for_what_is_private(path: Path) -> None:
    assert private(path) == []


def test_what_is_looked_for_is_found_where_it_stands() -> None:
    assert len(private(static_folder() / "runtime.mjs")) > 3
