"""The cache of runtimes: folders of versions that nobody uses any more do not pile up."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from asyncmachine_web.build import runtime

DAY = 86_400


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one. What is put into it is not got from anywhere."""
    (tmp_path / "static").mkdir()

    def nothing(*_: Any) -> None: ...

    monkeypatch.setattr(runtime, "static_folder", lambda: tmp_path / "static")
    for name in ("_npm", "_copy", "snapshot"):
        monkeypatch.setattr(runtime, name, nothing)
    monkeypatch.setattr(runtime, "_wheels", lambda _, folder: folder.mkdir(parents=True))
    monkeypatch.setenv("AM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def folder(cache: Path, name: str, days: int) -> Path:
    """One that was last used so many days ago."""
    (cache / name / "vendor").mkdir(parents=True)
    (cache / name / runtime.MARK).touch()
    os.utime(cache / name / runtime.MARK, (0, time.time() - days * DAY))
    return cache / name


def test_a_folder_that_nobody_has_used_for_a_month_goes_when_a_new_one_comes(cache: Path) -> None:
    old, recent, foreign = folder(cache, "0" * 16, 31), folder(cache, "1" * 16, 29), folder(cache, "my things", 99)
    vendor = runtime.vendor_folder()
    assert vendor.is_dir()
    assert {*cache.iterdir()} == {vendor.parent, recent, foreign}
    assert not old.exists()


def test_a_folder_that_a_process_uses_stays_however_long_ago_that_was_started(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = folder(cache, "0" * 16, 31)
    command = [sys.executable, "-c", HOLD, str(old / runtime.MARK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        runtime.vendor_folder()
        assert old.exists()
        other.communicate("end")
    monkeypatch.setattr(runtime, "key", lambda: "1" * 16)
    runtime.vendor_folder()
    assert not old.exists()


HOLD = """
import os, sys
from asyncmachine.helpers.file_locks import share
share(os.open(sys.argv[1], os.O_RDONLY))
print("held", flush=True)
sys.stdin.read()
"""


def test_who_uses_a_folder_says_so(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = folder(cache, "0" * 16, 31)
    monkeypatch.setattr(runtime, "key", lambda: "0" * 16)
    assert runtime.vendor_folder() == old / "vendor"
    assert time.time() - (old / runtime.MARK).stat().st_mtime < DAY
