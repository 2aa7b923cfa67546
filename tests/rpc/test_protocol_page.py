"""The protocol as a document says what the code says."""

from __future__ import annotations

import re

from asyncmachine.rpc.errors import Code
from scripts.protocol_page import KINDS, PAGE, PARTS, written


def test_it_is_as_the_code_would_write_it() -> None:
    page = PAGE.read_text()
    assert written(page) == page, "run `python -m scripts.protocol_page`"
    assert set(re.findall(r"<!-- begin (\w+) -->", page)) == set(PARTS)


def test_every_kind_and_every_code_stands_in_it() -> None:
    page = PAGE.read_text()
    for kind in KINDS:
        assert f"### {kind.__struct_config__.tag} {kind.__name__}\n" in page
    for code in Code:
        assert f"| {code.value} |" in page
