"""Our JavaScript is small, each file is accounted for in docs/performance.md, and all of it is checked for types."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from asyncmachine_web.build import static_folder

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "performance.md"
HEADLINE = re.compile(r"(\d+) in (\d+) files\.")
ROW = re.compile(r"^\| (`\w+\.mjs`(?:, `\w+\.mjs`)*) \| ([\d +]+) \| \S", re.MULTILINE)
COMMENT = re.compile(r"\s*(//|/?\*)")
MANY = 20
"""Lines by which the headline may be wrong."""
NODE = shutil.which("node") or "node"


def lines_of_code(path: Path) -> int:
    return sum(bool(line.strip()) and not COMMENT.match(line) for line in path.read_text().splitlines())


def test_the_table_accounts_for_every_file_and_nearly_every_line() -> None:
    """A few lines more or less need no new table."""
    text = DOCS.read_text()
    told: dict[str, int] = {}
    for names, numbers in ROW.findall(text):
        told |= zip(re.findall(r"[\w.]+\.mjs", names), map(int, numbers.split("+")), strict=True)
    found = {path.name: lines_of_code(path) for path in static_folder().glob("*.mjs")}
    assert told.keys() == found.keys()
    grown = {name: (told[name], lines) for name, lines in found.items() if abs(lines - told[name]) > 5 + lines // 10}
    assert not grown, f"told and found: {grown}"
    headline = HEADLINE.search(text)
    assert headline
    assert (int(headline[1]), int(headline[2])) == (sum(told.values()), len(told))
    assert abs(int(headline[1]) - sum(found.values())) <= MANY, f"there are {sum(found.values())}"


def test_all_of_our_javascript_and_that_of_the_examples_is_checked() -> None:
    tsc = ROOT / "node_modules" / "typescript" / "bin" / "tsc"
    project = ROOT / "web" / "static" / "tsconfig.json"
    command = [NODE, str(tsc), "--listFilesOnly", "--project", str(project)]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    ours = {path for folder in ("web", "examples") for path in (ROOT / folder).rglob("*.mjs")}
    assert {path for path in ours if "vendor" not in path.parts} <= set(map(Path, listed))
