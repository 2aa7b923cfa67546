"""What belongs to this page's application, and not to another one of the same origin.

A browser's databases, locks and channels are an origin's. Two applications at `/shop/` and `/blog/` each have their
own; the releases of one application share them.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

RELEASE: Final = re.compile(r"r-[0-9a-f]{12}/$")
"""The folder of a release of `am build`, which has `boot.mjs`."""


def own(name: str) -> str:
    """The name for something of this application's: with its path, if that is not the origin's root."""
    from asyncmachine_js import base

    return named(name, base)


def named(name: str, base: str) -> str:
    """The same for the address of the folder of `boot.mjs`."""
    path = RELEASE.sub("", urlsplit(base).path)
    return name if path == "/" else f"{path} {name}"
