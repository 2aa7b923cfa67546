"""What a server needs to give a page its files."""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path

import pytest

from asyncmachine_web.build import pack, static_folder, vendor_folder
from asyncmachine_web.build.sources import PAGE, NoSources


def tree(root: Path) -> Path:
    for name in ("app/__init__.py", "app/main.py", "app/deep/part.py", "app/page/index.html", "other.py"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}")
    return root


def test_packages_and_files_are_packed_by_their_path_and_nothing_else(tmp_path: Path) -> None:
    target = pack(tree(tmp_path / "src"), ["app", "other.py", "app/main.py"], tmp_path / "app.zip")
    with zipfile.ZipFile(target) as archive:
        assert archive.namelist() == ["app/__init__.py", "app/deep/part.py", "app/main.py", "other.py"]
        assert archive.read("app/main.py") == b"# app/main.py"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["app.zip"]


def test_the_same_sources_make_the_same_bytes(tmp_path: Path) -> None:
    first = pack(tree(tmp_path / "one"), ["app"], tmp_path / "one.zip")
    second = pack(tree(tmp_path / "two"), ["app"], tmp_path / "two.zip")
    assert first.read_bytes() == second.read_bytes()


def test_what_is_not_there_is_named_and_the_old_file_stays(tmp_path: Path) -> None:
    target = tmp_path / "app.zip"
    target.write_bytes(b"old")
    with pytest.raises(NoSources, match="there is no 'nowhere' in"):
        pack(tree(tmp_path / "src"), ["app", "nowhere"], target)
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize("name", ["/etc", "../x", "app/../../x"])
def test_what_leads_out_of_the_project_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(NoSources, match="is not in"):
        pack(tree(tmp_path / "src"), [name], tmp_path / "app.zip")


def test_what_is_the_servers_alone_is_left_out(tmp_path: Path) -> None:
    root = tree(tmp_path / "src")
    target = pack(root, ["app", "other.py"], tmp_path / "app.zip", leave_out=["app/ma*.py", "other.py"])
    with zipfile.ZipFile(target) as archive:
        assert archive.namelist() == ["app/__init__.py", "app/deep/part.py"]


@pytest.mark.parametrize("pattern", ["app/secret.py", "main.py", "*.pyc", "app/*/main.py"])
def test_a_pattern_that_leaves_nothing_out_is_refused(tmp_path: Path, pattern: str) -> None:
    """A slip would make the server's code public."""
    with pytest.raises(NoSources, match="would not be left out"):
        pack(tree(tmp_path / "src"), ["app"], tmp_path / "app.zip", leave_out=[pattern])


def test_the_static_folder_has_our_own_files() -> None:
    names = {path.name for path in static_folder().iterdir()}
    assert {"boot.mjs", "worker.mjs", "ui.mjs", "shell.mjs"} <= names


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("x = 1\nif x\n    y = 2\n", "app/main.py:2: SyntaxError: expected ':'"),
        ("def f():\n  x\n y\n", "app/main.py:3: IndentationError: unindent"),
        ("return", "app/main.py:1: SyntaxError: 'return' outside function"),
        ("x = '\0'", "app/main.py"),
    ],
)
def test_a_file_that_python_cannot_read_is_told_with_its_line(tmp_path: Path, code: str, told: str) -> None:
    """Before anything is packed, and not by the page."""
    root, target = tree(tmp_path / "src"), tmp_path / "app.zip"
    pack(root, ["app"], target)
    before = target.read_bytes()
    (root / "app" / "main.py").write_text(code)
    with pytest.raises(NoSources, match=re.escape(told)) as refused:
        pack(root, ["app"], target)
    assert ("build with that" in str(refused.value)) == (sys.version_info < (3, 14))
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["app.zip"]


def test_the_builds_python_of_a_page_is_the_runtimes() -> None:
    told = json.loads((vendor_folder() / "wheels" / "pyodide-lock.json").read_text())["info"]["python"]
    assert told.startswith("{}.{}.".format(*PAGE))


def test_a_page_with_pyscript_may_await_at_the_top_of_its_file(tmp_path: Path) -> None:
    root = tree(tmp_path / "src")
    (root / "app" / "main.py").write_text("await main()")
    pack(root, ["app"], tmp_path / "app.zip")


def test_a_warning_of_a_file_is_not_the_builds(tmp_path: Path) -> None:
    root = tree(tmp_path / "src")
    (root / "app" / "main.py").write_text("x = '\\d'")
    pack(root, ["app"], tmp_path / "app.zip")
