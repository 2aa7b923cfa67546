"""`make clean` takes what make made and leaves what others made."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.clean import clean
from scripts.python_env import MADE_HERE


def plant(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_made_things_go_and_others_stay(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    others = {
        "web/static/page.css",
        "web/static/vendor/mine/own.js",
        "core/asyncmachine/a.py",
        "notes.txt",
        "dist/x.whl",
    }
    plant(
        tmp_path,
        *others,
        *(f".venv/{MADE_HERE}", ".venv/bin/python", "node_modules/a/b.js", ".mypy_cache/x", ".hypothesis/x"),
        *("web/static/vendor/pyodide/p.wasm", "web/static/vendor/wheels/w.whl", "web/static/vendor/signals.new/half"),
        *("web/static/vendor/.setup-stamp", "core/asyncmachine/__pycache__/a.pyc", "tests/__pycache__/t.pyc"),
    )
    clean(tmp_path)
    assert files(tmp_path) == others
    assert ".venv, node_modules" in capfd.readouterr().err


def test_an_environment_made_by_hand_stays(tmp_path: Path) -> None:
    plant(tmp_path, ".venv/bin/python", "web/static/vendor/pyodide/p.wasm")
    clean(tmp_path)
    assert files(tmp_path) == {".venv/bin/python"}
    assert not (tmp_path / "web" / "static" / "vendor").exists()


def test_of_what_is_linked_the_link_goes(tmp_path: Path) -> None:
    plant(tmp_path, f"other/.venv/{MADE_HERE}", "other/node_modules/a/b.js")
    (tmp_path / "tree").mkdir()
    for name in (".venv", "node_modules"):
        (tmp_path / "tree" / name).symlink_to(tmp_path / "other" / name)
    clean(tmp_path / "tree")
    assert not list((tmp_path / "tree").iterdir())
    assert files(tmp_path) == {f"other/.venv/{MADE_HERE}", "other/node_modules/a/b.js"}


def test_a_clean_tree_is_no_error(tmp_path: Path) -> None:
    clean(tmp_path)
    assert files(tmp_path) == set()
