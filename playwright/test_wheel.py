"""The installed wheel, far from any checkout: a new project runs from it, with a runtime of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.web.browser import Mishaps

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def environment(folder: Path) -> dict[str, str]:
    """Nothing of the checkout's, and a cache that is empty at first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return kept | {"AM_CACHE": str(next(p for p in (folder, *folder.parents) if (p / "venv").is_dir()) / "cache")}


@pytest.mark.timeout(600)
def test_a_project_of_an_installed_wheel_runs(page: Page, tmp_path: Path, mishaps: Mishaps) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=ROOT, check=True, timeout=120
    )
    (wheel,) = tmp_path.glob("*.whl")
    programs = tmp_path / "venv" / "bin"
    run(programs / "python", "-m", "pip", "install", "--quiet", f"{wheel}[relay]", folder=tmp_path)
    run(programs / "am", "new", "app", "far_away", folder=tmp_path)
    project = tmp_path / "far_away"
    run(programs / "python", "-m", "pip", "install", "--quiet", "-r", "requirements.txt", folder=project)
    run(programs / "am", "build", folder=project)
    assert (project / "dist" / "index.html").is_file()
    program = subprocess.Popen(
        [programs / "python", "-m", "far_away"],
        cwd=project,
        env=environment(project) | {"PORT": "0"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert program.stdout is not None
        found = re.search(r"http\S+", program.stdout.readline())
        assert found
        mishaps._own = found[0].rstrip("/")
        page.goto(found[0])
        expect(page.locator("#link")).to_have_text("live")
        page.locator("#name").fill("Ada")
        page.keyboard.press("Enter")
        expect(page.locator("#names li")).to_have_text(["Ada"])
        page.locator("#count").click()
        expect(page.locator("#found")).to_have_text("669 primes below 5000")
    finally:
        program.terminate()
        program.wait()
        assert program.stdout is not None
        program.stdout.close()
