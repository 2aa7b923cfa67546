"""When programs for tests are installed, and that nothing of Debian's is started."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts import programs


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, []),
        ({"CI": "true"}, ["nginx", "caddy", "firefox-esr"]),
        ({"PROXIES": "1"}, ["nginx", "caddy"]),
        ({"FIREFOX": "1", "PROXIES": "no"}, ["firefox-esr"]),
        ({"PROXIES": "0", "CI": ""}, []),
    ],
)
def test_only_where_it_is_wanted(environ: dict[str, str], wanted: list[str]) -> None:
    assert programs.wanted(environ) == wanted


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """What is run, while services must not start."""
    commands: list[list[str]] = []

    def ran(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        assert programs.POLICY.read_text().endswith("exit 101\n")
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(programs, "POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(programs, "missing", lambda names: names)
    monkeypatch.setattr(subprocess, "run", ran)
    monkeypatch.setattr(shutil, "which", lambda name, path=None: f"/usr/bin/{name}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("FIREFOX", raising=False)
    monkeypatch.setenv("PROXIES", "1")
    return commands


def test_they_are_installed_and_not_started(run: list[list[str]]) -> None:
    assert programs.main() == 0
    assert run[-1][-2:] == ["nginx", "caddy"]
    assert not programs.POLICY.exists()


def test_a_policy_of_somebody_else_stays(run: list[list[str]]) -> None:
    programs.POLICY.write_text("#!/bin/sh\nexit 101\n")
    assert programs.main() == 0
    assert programs.POLICY.exists()


def test_nothing_is_done_without_root_or_without_being_asked(
    run: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert programs.main() == 0
    assert "takes root and apt; their tests are skipped" in capsys.readouterr().out
    monkeypatch.setenv("PROXIES", "0")
    assert programs.main() == 0
    assert (run, capsys.readouterr().out) == ([], "")
