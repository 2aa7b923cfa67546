"""Names of what is an application's own, by where `boot.mjs` comes from."""

from __future__ import annotations

import pytest

from asyncmachine_web.page.place import named


@pytest.mark.parametrize(
    ("base", "name"),
    [
        ("https://example.com/", "shop"),
        ("https://example.com/r-0123456789ab/", "shop"),
        ("http://127.0.0.1:8000/a/", "/a/ shop"),
        ("http://127.0.0.1:8000/a/r-0123456789ab/", "/a/ shop"),
        ("http://127.0.0.1:8000/a/r-next/", "/a/r-next/ shop"),
        ("https://example.com/a/b/?query#part", "/a/b/ shop"),
    ],
    ids=["root", "release", "folder", "release in a folder", "no release", "no query"],
)
def test_an_application_below_the_root_has_its_path_in_its_names(base: str, name: str) -> None:
    assert named("shop", base) == name
