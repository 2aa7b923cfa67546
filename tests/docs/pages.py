"""The Python of a page of the manual: its blocks run in order, in one namespace, on one event loop.

A block whose first line is ```` ```python ```` is run; a plain `await` may stand in it. The only other way to write
Python is ```` ```python no-run ````, with the reason in a comment on the line before::

    <!-- no-run: a page is needed -->
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from inspect import CO_COROUTINE
from pathlib import Path
from types import CodeType, ModuleType
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
FENCE = re.compile(r"^(?P<indent> *)(?P<marks>```+|~~~+)(?P<info>.*)$")
REASON = re.compile(r"^\s*<!--\s*no-run:\s*\S.*-->\s*$")
PYTHON = re.compile(r"^(py|python|python3|pycon|ipython)\b", re.IGNORECASE)


class Block(NamedTuple):
    """One fenced block: where its code begins, what stands behind the fence, the line before it, and the code."""

    line: int
    info: str
    before: str
    code: str


class BadBlock(Exception):
    """A block that is neither run nor excused."""


def pages(root: Path = ROOT) -> list[Path]:
    """All pages of the manual, and the first one that everybody reads."""
    return [page for page in (root / "README.md", *sorted((root / "docs").rglob("*.md"))) if page.exists()]


def blocks(text: str) -> Iterator[Block]:
    """Yield the fenced blocks. Raises `BadBlock` for one that never ends."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        opening = FENCE.match(lines[at])
        if opening is None:
            at += 1
            continue
        start, closing = at, re.compile(rf"^ *{re.escape(opening['marks'])}\s*$")
        at += 1
        while at < len(lines) and not closing.match(lines[at]):
            at += 1
        if at == len(lines):
            raise BadBlock(f"line {start + 1}: the block is never closed")
        indent = len(opening["indent"])
        code = "\n".join(
            line[indent:] if line[:indent].isspace() or not indent else line for line in lines[start + 1 : at]
        )
        yield Block(start + 2, opening["info"].strip(), lines[start - 1] if start else "", code)
        at += 1


def python_blocks(text: str) -> list[Block]:
    """The blocks to run. Raises `BadBlock` for Python that would silently not be run."""
    found = []
    for block in blocks(text):
        if block.info == "python":
            found.append(block)
        elif block.info == "python no-run":
            if not REASON.match(block.before):
                raise BadBlock(f"line {block.line - 1}: say why above it: <!-- no-run: the reason -->")
        elif PYTHON.match(block.info):
            raise BadBlock(f"line {block.line - 1}: write ```python, so that the block is run, not ```{block.info}")
    return found


def compiled(page: Path, block: Block) -> CodeType:
    """The block's code; errors in it name the page and its line."""
    source = "\n" * (block.line - 1) + block.code
    code: CodeType = compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return code


async def run_page(page: Path, name: str) -> int:
    """Run the blocks of a page; `name` is that of the module they make up. Returns how many there were."""
    found = python_blocks(page.read_text(encoding="utf-8"))
    module = ModuleType(name)
    module.__file__ = str(page)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        for block in found:
            code = compiled(page, block)
            outcome = eval(code, module.__dict__)
            if code.co_flags & CO_COROUTINE:
                await outcome
    finally:
        del sys.modules[name]
    return len(found)
