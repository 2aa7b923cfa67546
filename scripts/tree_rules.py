"""What no commit may hold: addresses of package registries, paths of somebody's machine, large files, `resolved` locks.

Packages are pinned by name and version; where they come from is the business of whoever installs them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LARGEST = 1_500_000
BINARY_PROBE = 8000


@dataclass(frozen=True)
class Rule:
    """A pattern that must not occur in any line, and what to do instead."""

    pattern: re.Pattern[str]
    cure: str


RULES = (
    Rule(
        re.compile(r"\b(pypi|pythonhosted|npmjs|yarnpkg|crates)[.](org|com|io)\b", re.IGNORECASE),
        "name the package and its version, not the registry",
    ),
    Rule(
        re.compile(r"--(extra-)?index[-]url|--find[-]links|index[-]url *=|^registry *=|\"resolved\": *\""),
        "leave the address of the registry to whoever installs",
    ),
    Rule(
        re.compile(r"(^|[^\w.])/(work|root|farm|home/\w+|Users/\w+)/"),
        "say it relative to the tree",
    ),
)


def problems(name: str, content: bytes) -> Iterator[str]:
    """Yield what is wrong with one file."""
    if len(content) > LARGEST:
        yield f"{name}: {len(content):,} bytes; the largest may have {LARGEST:,}"
    if b"\0" in content[:BINARY_PROBE]:
        return
    for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
        for rule in RULES:
            found = rule.pattern.search(line)
            if found:
                yield f"{name}:{number}: {found[0].strip()!r}; {rule.cure}"


def tracked(root: Path) -> Iterator[str]:
    """Yield the names of the files that are committed or about to be."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True, text=True)
    yield from (name for name in listing.stdout.split("\0") if name and (root / name).is_file())


def main() -> int:
    """Print every problem; return 1 if there is one."""
    names = list(tracked(ROOT))
    found = [problem for name in names for problem in problems(name, (ROOT / name).read_bytes())]
    for problem in found:
        print(problem)
    print(f"tree rules: {len(names)} files, {len(found)} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
