"""An application's own Python as one file, which a page names in its settings' `sources`."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from asyncmachine import AmError

_TIME = (1980, 1, 1, 0, 0, 0)  # the same sources make the same bytes


class NoSources(AmError):
    """What should be packed is not there."""


def pack(root: Path, names: Iterable[str], target: Path) -> Path:
    """Write `target`, a zip of Python files: `names` are packages and files below `root`, by their path from there.

        pack(checkout, ["examples/__init__.py", "examples/wasm_workflow"], folder / "workflow.zip")

    Raises NoSources for a name that is not there. `target` is complete or as it was before.
    """
    files = sorted({path for name in names for path in _python_files(root, name)})
    draft = target.with_name(target.name + ".new")
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            entry = zipfile.ZipInfo(path.relative_to(root).as_posix(), _TIME)
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    draft.replace(target)
    return target


def _python_files(root: Path, name: str) -> Iterator[Path]:
    path = root / name
    if path.is_file():
        yield path
    elif path.is_dir():
        yield from path.rglob("*.py")
    else:
        raise NoSources(f"there is no {name!r} in {root} to pack for the page")
