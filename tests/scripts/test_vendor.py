"""Copies for the page are complete before they take their place, and hold nothing of an older version."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncmachine_web.build.runtime import LIT
from scripts import vendor
from scripts.console import SetupError


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    source = tmp_path / "modules" / "ui" / "dist"
    (source / "parts").mkdir(parents=True)
    for name in ("ui.mjs", "ui.d.ts", "core.js", "core.d.ts", "core.js.map", "parts/one.js"):
        (source / name).write_text(name)
    (source.parent / "LICENSE").write_text("free")
    monkeypatch.setattr(
        vendor, "COPIES", (vendor.Copy("ui", "ui/dist", ("*.mjs", "*.js", "*.d.ts", "parts/*.js", "../LICENSE")),)
    )
    return tmp_path / "modules"


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_named_files_are_copied_and_types_get_the_name_of_their_module(modules: Path, tmp_path: Path) -> None:
    vendor.copy_all(modules, tmp_path / "vendor")
    assert names(tmp_path / "vendor") == {
        "ui/ui.mjs",
        "ui/ui.d.mts",
        "ui/core.js",
        "ui/core.d.ts",
        "ui/parts/one.js",
        "ui/LICENSE",
    }


def test_an_interrupted_copy_and_an_older_version_leave_nothing(modules: Path, tmp_path: Path) -> None:
    for leftover in ("ui.new/half.js", "ui/old.js"):
        path = tmp_path / "vendor" / leftover
        path.parent.mkdir(parents=True)
        path.touch()
    vendor.copy_all(modules, tmp_path / "vendor")
    assert not {"ui.new/half.js", "ui/half.js", "ui/old.js"} & names(tmp_path / "vendor")


def test_a_package_that_lost_a_file_is_an_error_and_the_old_copy_stays(modules: Path, tmp_path: Path) -> None:
    vendor.copy_all(modules, tmp_path / "vendor")
    before = names(tmp_path / "vendor")
    (modules / "ui" / "dist" / "parts" / "one.js").unlink()
    with pytest.raises(SetupError, match=r"has no parts/\*\.js"):
        vendor.copy_all(modules, tmp_path / "vendor")
    assert before <= names(tmp_path / "vendor")


def test_a_checkout_and_an_installed_package_take_the_same_modules_of_lit() -> None:
    assert vendor.LIT == LIT
