"""The installed wheel, far from any checkout: a new project passes its tests and runs, with a runtime of its own."""

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


def run(*command: str | Path, folder: Path) -> str:
    """What a program prints that must succeed."""
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def environment(folder: Path) -> dict[str, str]:
    """Nothing of the checkout's, and a cache that is empty at first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return kept | {"AM_CACHE": str(folder / "cache")}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that the installed wheel made, and in it a `venv` with what the project asks for and nothing else."""
    home = tmp_path_factory.mktemp("far")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", home, folder=ROOT)
    (wheel,) = home.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", "venv", folder=home)
    pip = ("-m", "pip", "--python", home / "venv/bin/python")
    run(sys.executable, *pip, "install", "--quiet", wheel, folder=home)
    run(home / "venv/bin/am", "new", "app", "far_away", folder=home)
    run(sys.executable, "-m", "venv", "venv", folder=home / "far_away")
    run(
        home / "far_away/venv/bin/python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "-r",
        "requirements-dev.txt",
        folder=home / "far_away",
    )
    return home / "far_away"


@pytest.mark.timeout(600)
def test_a_project_passes_its_own_tests(project: Path) -> None:
    assert "2 passed" in run(project / "venv/bin/python", "-m", "pytest", folder=project)


@pytest.mark.timeout(600)
def test_a_project_runs(page: Page, project: Path, mishaps: Mishaps) -> None:
    programs = project / "venv" / "bin"
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
