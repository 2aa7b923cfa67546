"""Types as a feature: mypy takes `accepted.py`, and refuses each marked line of `refused.py` and no other.

In the tree both pass `make check`, which makes sure that no mark is superfluous. Here the marks are taken off, so that
mypy has to say what is wrong where.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MARK = re.compile(r"  # type: ignore\[([\w-]+)\]$", re.MULTILINE)
ERROR = re.compile(r"^.*?(?P<file>\w+)\.py:(?P<line>\d+): error: .*\[(?P<code>[\w-]+)\]$")

Found = set[tuple[str, int, str]]
"""File, line and code of each error."""


def marked(source: str, name: str) -> Found:
    return {
        (name, number, mark[1]) for number, line in enumerate(source.splitlines(), 1) if (mark := MARK.search(line))
    }


@pytest.mark.timeout(180)
def test_mypy_says_what_is_expected(tmp_path: Path) -> None:
    expected: Found = set()
    for name in ("accepted", "refused"):
        source = (Path(__file__).parent / f"{name}.py").read_text()
        expected |= marked(source, name)
        (tmp_path / f"{name}.py").write_text(MARK.sub("", source))
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", *map(str, sorted(tmp_path.glob("*.py")))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = run.stdout.splitlines()
    errors = {(hit["file"], int(hit["line"]), hit["code"]) for line in lines if (hit := ERROR.match(line))}
    assert len(expected) > 30
    assert errors == expected, run.stdout + run.stderr
