"""The page's packages: a lock that Pyodide can load from, and a wheel that is always the current code."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from scripts import page_wheels
from scripts.console import SetupError
from scripts.vendor import vendor_folder

ROOT = Path(__file__).resolve().parents[2]


def make_wheel(path: Path, metadata: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thing/__init__.py", "")
        archive.writestr("thing/inner/__init__.py", "")
        archive.writestr(
            "thing-1.0.dist-info/METADATA", f"Metadata-Version: 2.4\nName: Thing\nVersion: 1.0\n{metadata}\n"
        )
    return path


def test_a_lock_entry_says_what_the_wheel_says(tmp_path: Path) -> None:
    metadata = 'Requires-Dist: msgspec>=0.20\nRequires-Dist: starlette>=1.0; extra == "relay"\n'
    entry = page_wheels.lock_entry(make_wheel(tmp_path / "thing-1.0-py3-none-any.whl", metadata))
    assert (entry["name"], entry["version"], entry["file_name"]) == ("thing", "1.0", "thing-1.0-py3-none-any.whl")
    assert (entry["imports"], entry["depends"]) == (["thing"], ["msgspec"])


def test_pins_come_from_the_constraints(tmp_path: Path) -> None:
    pins = tmp_path / "constraints.txt"
    pins.write_text("msgspec-more==1\nmsgspec==0.22.0\n")
    assert page_wheels.pinned(pins, "msgspec") == "0.22.0"
    with pytest.raises(SetupError, match="micropip=="):
        page_wheels.pinned(pins, "micropip")


def test_old_wheels_go_and_present_ones_are_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "wheels"
    home.mkdir()
    (tmp_path / "constraints.txt").write_text("msgspec==1\nmicropip==2\n")
    lock = tmp_path / "node_modules" / "pyodide" / page_wheels.LOCK
    lock.parent.mkdir(parents=True)
    lock.write_text(json.dumps({"info": {"python": "3.14.2", "abi_version": "x", "arch": "y"}, "packages": {"a": {}}}))
    for name in ("msgspec-1-any.whl", "micropip-2-any.whl", "msgspec-0-any.whl", "asyncmachine-0-old.whl"):
        make_wheel(home / name)
    monkeypatch.setattr(page_wheels, "build", lambda root, home: make_wheel(home / "asyncmachine-0-new.whl"))
    page_wheels.make(tmp_path, home)
    assert {path.name for path in home.iterdir()} == {
        *("msgspec-1-any.whl", "micropip-2-any.whl", "asyncmachine-0-new.whl", page_wheels.LOCK)
    }


def test_sources_are_what_the_wheel_carries() -> None:
    carried = {str(path.relative_to(ROOT)) for path in page_wheels.sources(ROOT)}
    assert {"core/asyncmachine/__init__.py", "pyproject.toml"} <= carried
    assert not [name for name in carried if "vendor" in name or "__pycache__" in name]


def test_the_wheel_carries_the_static_files_but_not_the_vendored_ones() -> None:
    (wheel,) = (vendor_folder(ROOT) / page_wheels.WHEELS).glob("asyncmachine-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "asyncmachine_web/static/boot.mjs" in names
    assert not [name for name in names if "vendor" in name]


def test_pyodide_finds_the_packages_by_our_lock() -> None:
    """Real Pyodide, under Node: what the page will do, without a page."""
    script = """
        const { loadPyodide } = await import(process.argv[1] + "/pyodide/pyodide.mjs");
        const wheels = process.argv[1] + "/wheels/";
        const where = { lockFileURL: wheels + "pyodide-lock.json", packageBaseUrl: wheels };
        const python = await loadPyodide({ ...where, packages: ["asyncmachine"], stdout: () => {} });
        console.log(python.runPython("import asyncmachine, msgspec; f'{asyncmachine.__name__} {msgspec.__version__}'"));
    """
    path = os.pathsep.join([str(ROOT / ".venv" / "bin"), os.environ["PATH"]])
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", script, str(vendor_folder(ROOT))],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path},
    )
    version = page_wheels.pinned(ROOT / "constraints.txt", "msgspec")
    assert done.stdout.split() == ["asyncmachine", version], done.stderr
