"""Every block of Python in the manual runs; and the runner that says so sees those that do not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, BadBlock, pages, python_blocks, run_page


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
async def test_page(path: Path) -> None:
    await run_page(path, "docs." + path.stem.replace("-", "_"))


Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Make a page of a text."""

    def page(text: str) -> Path:
        found = tmp_path / "page.md"
        found.write_text(text)
        return found

    return page


async def test_blocks_share_names_and_may_await(write: Write) -> None:
    page = write(
        "# A page\n\n```python\nimport asyncio\nseen = []\n```\n\ntext\n\n```bash\nnot python\n```\n\n"
        "- an item\n\n  ```python\n  await asyncio.sleep(0)\n  for i in range(2):\n      seen.append(i)\n  ```\n\n"
        "~~~python\nassert seen == [0, 1]\n~~~\n"
    )
    assert await run_page(page, "docs.probe") == 3


async def test_a_failure_names_the_page_and_its_line(write: Write) -> None:
    page = write("# A page\n\n```python\nfine = True\n\nassert not fine\n```\n")
    with pytest.raises(AssertionError) as told:
        await run_page(page, "docs.probe")
    last = told.traceback[-1]
    assert (str(last.path), last.lineno + 1) == (str(page), 6)


async def test_a_failure_after_an_await_fails_too(write: Write) -> None:
    page = write("```python\nimport asyncio\nawait asyncio.sleep(0)\nraise KeyError\n```\n")
    with pytest.raises(KeyError):
        await run_page(page, "docs.probe")


async def test_code_that_does_not_compile_fails(write: Write) -> None:
    with pytest.raises(SyntaxError) as told:
        await run_page(write("\n\n```python\nif:\n```\n"), "docs.probe")
    assert told.value.lineno == 4


async def test_dataclasses_find_their_module(write: Write) -> None:
    page = write(
        "```python\nfrom __future__ import annotations\nfrom dataclasses import dataclass\n"
        "from typing import get_type_hints\nclass Other: ...\n@dataclass\nclass Some:\n    other: Other\n"
        "assert get_type_hints(Some)['other'] is Other\n```\n"
    )
    assert await run_page(page, "docs.probe") == 1


def test_not_running_needs_a_reason() -> None:
    excused = "<!-- no-run: it needs a page -->\n```python no-run\nimport js\n```\n"
    assert python_blocks(excused) == []
    for excuse in ("", "<!-- no-run: -->\n", "<!-- later -->\n", "<!-- no-run: a reason -->\n\n"):
        with pytest.raises(BadBlock, match="say why above it"):
            python_blocks(f"{excuse}```python no-run\nimport js\n```\n")


@pytest.mark.parametrize("info", ["py", "python3", "Python", "pycon", "python skip", "python {.line}"])
def test_python_under_another_name_does_not_slip_through(info: str) -> None:
    with pytest.raises(BadBlock, match="write ```python"):
        python_blocks(f"```{info}\nx\n```\n")


def test_a_block_that_never_ends() -> None:
    with pytest.raises(BadBlock, match="line 3: the block is never closed"):
        python_blocks("a\n\n```python\nx\n")


def test_longer_fences_hold_shorter_ones() -> None:
    (block,) = python_blocks('````python\ntext = """\n```python\n"""\n````\n')
    assert block.code.count("```") == 1


def test_all_pages_are_found(tmp_path: Path) -> None:
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    for name in ("README.md", "docs/b.md", "docs/a.md", "docs/deep/c.md", "docs/x.txt"):
        (tmp_path / name).write_text("")
    assert [str(page.relative_to(tmp_path)) for page in pages(tmp_path)] == [
        "README.md",
        "docs/a.md",
        "docs/b.md",
        "docs/deep/c.md",
    ]
