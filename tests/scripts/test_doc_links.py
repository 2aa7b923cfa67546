"""Links between documents lead somewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.doc_links import anchors, broken, links


def test_relative_links_are_found_and_others_left() -> None:
    text = """
[a](one.md) ![picture](img/two.png "title") [b](https://example.com/x) [c](mailto:x@example.com) [d](#here)
`[not](a-link)`
```python
x[0](nor.this)
```
[e](<three.md>)
"""
    assert list(links(text)) == ["one.md", "img/two.png", "#here", "three.md"]


def test_headings_are_anchors() -> None:
    assert anchors("# How it works\n```\n# comment\n```\n## What, then? `am.Machine`\n") == {
        *("how-it-works", "what-then-ammachine")
    }


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("other.md", None),
        ("other.md#a-part", None),
        ("#here", None),
        ("folder/", None),
        ("other.md#no-part", "no such heading"),
        ("#nowhere", "no such heading"),
        ("absent.md", "leads nowhere"),
        ("with%20space.md", None),
    ],
)
def test_where_links_lead(tmp_path: Path, link: str, reason: str | None) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "other.md").write_text("# A part\n")
    (tmp_path / "with space.md").touch()
    (tmp_path / "page.md").write_text(f"# Here\n[x]({link})\n")
    found = list(broken(tmp_path, "page.md"))
    assert len(found) == (reason is not None)
    if reason is not None:
        assert reason in found[0]
