"""An application's own Python as one file, which a page names in its settings' `sources`."""

from __future__ import annotations

import os
import sys
import warnings
import zipfile
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from collections.abc import Iterable, Iterator
from pathlib import Path

from asyncmachine import AmError

_TIME = (1980, 1, 1, 0, 0, 0)  # the same sources make the same bytes
PAGE = (3, 14)
"""The Python of a page."""


class NoSources(AmError):
    """What should be packed is not there, or no Python."""


def pack(root: Path, names: Iterable[str], target: Path, *, leave_out: Iterable[str] = ()) -> Path:
    """Write `target`, a zip of Python files: `names` are packages and files below `root`, by their path from there.

        pack(checkout, ["examples/__init__.py", "examples/wasm_workflow"], folder / "workflow.zip")

    Whoever opens the page can read all of it: `leave_out` says what is a server's alone, as `shop/backend.py` or
    `shop/test_*.py`, where a star stands for anything but a slash.

    Raises NoSources for a name that is not there or leads out of `root`, a pattern that fits no file, and a file that
    Python cannot read. `target` is complete or as it was before.
    """
    paths = {path.relative_to(root): path for name in names for path in _python_files(root, name)}
    for pattern in leave_out:
        fitting = [path for path in paths if len(path.parts) == len(Path(pattern).parts) and path.match(pattern)]
        if not fitting:
            raise NoSources(f"nothing of the page's Python is called {pattern!r}, so that would not be left out of it")
        for path in fitting:
            del paths[path]
    files = {path.as_posix(): paths[path].read_bytes() for path in sorted(paths)}
    for name, source in files.items():
        check(name, source)
    draft = target.with_name(target.name + ".new")
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, source in files.items():
            archive.writestr(zipfile.ZipInfo(name, _TIME), source, zipfile.ZIP_DEFLATED)
    draft.replace(target)
    return target


def check(name: str, source: bytes) -> None:
    """Raises NoSources, with the line, for what this Python cannot read: a page would be the first to say so.

    A file may await at its top, as that of a page with PyScript does.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            compile(source, name, "exec", PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        told = error.msg if isinstance(error, SyntaxError) else error
        older = sys.version_info[:2] < PAGE
        ours, pages = (".".join(map(str, version)) for version in (sys.version_info[:2], PAGE))
        newer = f" (read by Python {ours}; for what only Python {pages} of a page can read, build with that)"
        raise NoSources(f"{name}{line}: {type(error).__name__}: {told}{newer if older else ''}") from error


def _python_files(root: Path, name: str) -> Iterator[Path]:
    path = root / name
    if not Path(os.path.normpath(path)).is_relative_to(os.path.normpath(root)):
        raise NoSources(f"{name!r} is not in {root}: what the page loads is packed by its path from there")
    if path.is_file():
        yield path
    elif path.is_dir():
        yield from path.rglob("*.py")
    else:
        raise NoSources(f"there is no {name!r} in {root} to pack for the page")
