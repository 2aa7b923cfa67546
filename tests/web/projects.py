"""A project as `am new app` makes it, and its one command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, expect

NAME = "guest_app"


class Running:
    """The project's one command, on any free port unless told otherwise; None is the port it chooses itself."""

    def __init__(self, project: Path, port: int | None = 0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", NAME], cwd=project, env=chosen(port), stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.said = ""
        while not (found := re.search(r"http\S+", self.said)):
            line = self.process.stdout.readline()
            assert line, self.said
            self.said += line
        self.address = found[0]
        self.port = int(self.address.rstrip("/").rpartition(":")[2])

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def chosen(port: object) -> dict[str, str]:
    """The environment of its command."""
    return {**os.environ, "PORT": "" if port is None else str(port), "PYTHONDONTWRITEBYTECODE": "1"}


def refusing(project: Path, port: object = 0) -> str:
    """What it says, without a traceback, when it does not start."""
    done = subprocess.run(
        [sys.executable, "-m", NAME], cwd=project, env=chosen(port), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr.rstrip("\n")


def opened(page: Page, address: str) -> Page:
    """The page, whose Python runs."""
    page.goto(address)
    expect(page.locator("[data-boot=phase]")).to_be_hidden()
    return page
