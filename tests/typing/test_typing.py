"""Types as a feature: mypy and pyright take `accepted.py`, and refuse each marked line of `refused.py` and no other.

In the tree both pass `make check`, which makes sure that no mark is superfluous. Here the marks are taken off, so that
mypy has to say what is wrong where.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MARK = re.compile(r"  # type: ignore\[([\w-]+)\]$", re.MULTILINE)
ERROR = re.compile(r"^.*?(?P<file>\w+)\.py:(?P<line>\d+): error: .*\[(?P<code>[\w-]+)\]$")

# Where Node is too old, setup has put a newer one into the environment.
NODE = shutil.which("node", path=f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}") or "node"

Found = set[tuple[str, int, str]]
"""File, line and code of each error."""


def marked(source: str, name: str) -> Found:
    return {
        (name, number, mark[1]) for number, line in enumerate(source.splitlines(), 1) if (mark := MARK.search(line))
    }


def unmarked(folder: Path) -> Found:
    """Puts both files into a folder, without their marks. Returns the marks."""
    expected: Found = set()
    for name in ("accepted", "refused"):
        source = (Path(__file__).parent / f"{name}.py").read_text()
        expected |= marked(source, name)
        (folder / f"{name}.py").write_text(MARK.sub("", source))
    assert len(expected) > 30
    return expected


@pytest.mark.timeout(180)
def test_mypy_says_what_is_expected(tmp_path: Path) -> None:
    expected = unmarked(tmp_path)
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", *map(str, sorted(tmp_path.glob("*.py")))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = run.stdout.splitlines()
    errors = {(hit["file"], int(hit["line"]), hit["code"]) for line in lines if (hit := ERROR.match(line))}
    assert errors == expected, run.stdout + run.stderr


@pytest.mark.timeout(180)
def test_pyright_refuses_the_same_lines(tmp_path: Path) -> None:
    expected = unmarked(tmp_path)
    settings = {"include": ["."], "extraPaths": [str(ROOT / "core")], "pythonVersion": "3.11"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    run = subprocess.run(
        [NODE, str(ROOT / "node_modules" / "pyright" / "index.js"), "--project", str(tmp_path), "--outputjson"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = [each for each in json.loads(run.stdout)["generalDiagnostics"] if each["severity"] == "error"]
    lines = {(Path(each["file"]).stem, each["range"]["start"]["line"] + 1) for each in found}
    assert lines == {(name, line) for name, line, _ in expected}, run.stdout
