"""The first thing a newcomer runs: it finds a Python that will do, or says which command brings one."""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path

import pytest

from scripts import bootstrap


def test_the_first_python_that_is_new_enough_is_taken() -> None:
    versions = {"old": (3, 10), "new": (3, 11), "newer": (3, 14)}
    assert bootstrap.choose(["old", "new", "newer"], versions.__getitem__) == "new"
    assert bootstrap.choose(["old"], versions.__getitem__) is None


def test_a_later_major_version_is_new_enough() -> None:
    assert bootstrap.choose(["four"], lambda _: (4, 0)) == "four"


def test_the_python_of_a_virtual_environment_is_not_a_candidate() -> None:
    assert sys.prefix != sys.base_prefix, "tests run in .venv"
    assert not [path for path in bootstrap.candidates() if Path(path).is_relative_to(sys.prefix)]


def test_the_version_is_asked_of_the_program(tmp_path: Path) -> None:
    broken = tmp_path / "python3"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    assert bootstrap.version_of(sys.executable) == sys.version_info[:2]
    assert bootstrap.version_of(str(broken)) == (0, 0)
    assert bootstrap.version_of(str(tmp_path / "absent")) == (0, 0)


def test_without_root_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "candidates", list)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(
        SystemExit, match=r"needs Python 3\.11 or newer.*(?s:.*)apt-get install -y python3 python3-venv"
    ):
        bootstrap.main()


def test_as_root_the_cure_is_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "candidates", lambda: ["/new"] if called else [])
    monkeypatch.setattr(bootstrap, "choose", lambda pythons: pythons[0] if pythons else None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chdir", lambda _: None)
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/apt-get")
    monkeypatch.setattr("subprocess.call", called.append)
    monkeypatch.setattr(os, "execv", lambda python, _: called.append([python]))
    bootstrap.main()
    assert called == [["apt-get", "update"], bootstrap.DEBIAN_CURE, ["/new"]]


def test_old_pythons_understand_the_file() -> None:
    source = Path(bootstrap.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 5))
    new_syntax = (ast.JoinedStr, ast.NamedExpr, ast.AnnAssign)
    assert not [node for node in ast.walk(tree) if isinstance(node, new_syntax)]
