"""`am new app NAME`: a small project that runs with one command, made of the files in `template/`."""

from __future__ import annotations

import keyword
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

from asyncmachine import AmError
from asyncmachine_web.build.runtime import vendor_folder
from asyncmachine_web.build.static import static_folder
from asyncmachine_web.build.wheels import own_wheel

TEMPLATE = Path(__file__).parent / "template"
PACKAGE, TITLE, WHEEL = "app_name", "App Title", "asyncmachine.whl"
"""What stands in the template for the name, for the name in words, and for the wheel."""

TAKEN = frozenset(
    {"asyncmachine_js", "dist", "js", "micropip", "page", "polyscript", "pyodide", "pyodide_js", "pyscript", "wheels"}
)
"""Names of other folders in a project, and of modules that only a page has."""


class NoProject(AmError):
    """The project cannot be made."""


def new_app(name: str, parent: Path) -> Path:
    """Make the project in a new folder below `parent`; its path. Raises NoProject."""
    if keyword.iskeyword(name):
        raise NoProject(f"{name!r} is a word of Python itself, and cannot be a package: take another, e.g. my_{name}")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise NoProject(f"{name!r} cannot be a Python package: take small letters, digits and _, e.g. my_app")
    if name in TAKEN or find_spec(name):
        raise NoProject(f"{name!r} is the name of something that the project itself needs or may import: take another")
    root = parent / name
    if root.exists():
        raise NoProject(f"{root} is there already")
    try:
        (root / "wheels").mkdir(parents=True)
        words = {PACKAGE: name, TITLE: name.replace("_", " ").capitalize(), WHEEL: _wheel(root / "wheels").name}
        for path in sorted(TEMPLATE.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                _copy(path, root, words)
    except BaseException:
        shutil.rmtree(root, ignore_errors=True)
        raise
    return root


def _wheel(folder: Path) -> Path:
    """Until there is a release, a project pins the very wheel that it was made by."""
    if (static_folder() / "vendor").is_dir():  # a checkout
        wheel = next((vendor_folder() / "wheels").glob("asyncmachine-*.whl"))
        return Path(shutil.copy(wheel, folder / wheel.name))
    return own_wheel(folder)


def _copy(path: Path, root: Path, words: dict[str, str]) -> None:
    """Names of files and their text have the project's words."""
    name, text = path.relative_to(TEMPLATE).as_posix(), path.read_text()
    for stands, word in words.items():
        name, text = name.replace(stands, word), text.replace(stands, word)
    target = root / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
