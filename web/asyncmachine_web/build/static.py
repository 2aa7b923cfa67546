"""Where our own HTML, CSS and JavaScript lie."""

from __future__ import annotations

from pathlib import Path


def static_folder() -> Path:
    """The folder to serve at `/`: beside this package in an installed wheel, beside its parent in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "static"
    return installed if installed.is_dir() else package.parent / "static"
