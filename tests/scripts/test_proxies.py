"""When nginx and Caddy are installed, and that nothing of Debian's is started."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts import proxies


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [({}, False), ({"CI": "true"}, True), ({"PROXIES": "1"}, True), ({"PROXIES": "0", "CI": ""}, False)],
)
def test_only_where_it_is_wanted(environ: dict[str, str], wanted: bool) -> None:
    assert proxies.wanted(environ) is wanted


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """What is run, while services must not start."""
    commands: list[list[str]] = []

    def ran(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        assert proxies.POLICY.read_text().endswith("exit 101\n")
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(proxies, "POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(proxies, "missing", lambda: ["nginx", "caddy"])
    monkeypatch.setattr(subprocess, "run", ran)
    monkeypatch.setattr(shutil, "which", lambda name, path=None: f"/usr/bin/{name}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("PROXIES", "1")
    return commands


def test_they_are_installed_and_not_started(run: list[list[str]]) -> None:
    assert proxies.main() == 0
    assert run[-1][-2:] == ["nginx", "caddy"]
    assert not proxies.POLICY.exists()


def test_a_policy_of_somebody_else_stays(run: list[list[str]]) -> None:
    proxies.POLICY.write_text("#!/bin/sh\nexit 101\n")
    assert proxies.main() == 0
    assert proxies.POLICY.exists()


def test_nothing_is_done_without_root_or_without_being_asked(
    run: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert proxies.main() == 0
    assert "takes root and apt; their tests are skipped" in capsys.readouterr().out
    monkeypatch.setenv("PROXIES", "0")
    assert proxies.main() == 0
    assert (run, capsys.readouterr().out) == ([], "")
