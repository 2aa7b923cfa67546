"""Chromium, for `make demo HEADLESS=1` and the browser tests. Its absence never fails the setup."""

from __future__ import annotations

import shutil
from pathlib import Path

from scripts.console import SetupError, say
from scripts.prerequisites import apt_install

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# Fonts come with it: without any, pages are drawn in empty boxes.
PACKAGES = ("chromium", "fonts-liberation")
TRIED = ".chromium-tried"


def browser() -> str | None:
    """Return the path of a Chromium on this machine."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def provide_browser(root: Path, venv: Path) -> None:
    """Install Chromium where we may, once; say what to do where we may not."""
    if browser() is not None:
        return
    cure = f"apt-get install -y {' '.join(PACKAGES)}"
    tried = venv / TRIED
    try:
        if not tried.exists():
            say("▸ Chromium")
            tried.touch()
            if apt_install(PACKAGES, root):
                return
    except SetupError as error:
        say(f"  {error}")
    say(f"No Chromium here: headless runs and browser tests need it. As root: {cure}")
