"""Every relative link in a Markdown file leads to a file that exists, and to a heading that is there."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from scripts.tree_rules import tracked

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^(```|~~~).*?^\1[^\S\n]*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)")
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
ABSOLUTE = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def links(text: str) -> Iterator[str]:
    """Yield the targets of the relative links, code left out."""
    for target in LINK.findall(CODE.sub("", FENCE.sub("", text))):
        if not ABSOLUTE.match(target):
            yield target


def anchors(text: str) -> set[str]:
    """Return the anchors that the headings get: lower case, words joined by dashes, marks dropped."""
    return {
        re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower())) for heading in HEADING.findall(FENCE.sub("", text))
    }


def broken(root: Path, name: str) -> Iterator[str]:
    """Yield what is wrong with the links of one page."""
    page = root / name
    for link in links(page.read_text()):
        path, _, anchor = unquote(link).partition("#")
        target = page.parent / path if path else page
        if not target.exists():
            yield f"{name}: {link} leads nowhere"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text()):
            yield f"{name}: {link}: there is no such heading"


def main() -> int:
    """Print every broken link; return 1 if there is one."""
    pages = [name for name in tracked(ROOT) if name.endswith(".md")]
    found = [problem for name in pages for problem in broken(ROOT, name)]
    for problem in found:
        print(problem)
    print(f"links: {len(pages)} pages, {len(found)} broken")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
