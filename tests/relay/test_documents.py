"""The documents tell the truth: tests that they name are there, settings are all of them, the example is valid."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from asyncmachine_relay import Limits, Op, Reason
from asyncmachine_relay.config import Config
from asyncmachine_relay.headers import POLICIES
from asyncmachine_relay.meetings import Meeting
from asyncmachine_relay.reading import parse
from asyncmachine_relay.targets import Target

ROOT = Path(__file__).resolve().parents[2]
SECURITY = (ROOT / "docs" / "security.md").read_text()
RELAY = (ROOT / "docs" / "relay.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", SECURITY)))


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_every_test_that_security_names_is_there(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_row_of_a_rule_or_limit_names_a_test() -> None:
    rows = [
        line
        for line in SECURITY.splitlines()
        if line.startswith("| ") and not line.startswith(("| Rule", "| Limit", "| ---"))
    ]
    assert len(rows) > 40
    assert [row for row in rows if "::test_" not in row and "| the same |" not in row] == []


def test_every_limit_stands_there_with_its_default() -> None:
    for each in fields(Limits):
        default = f"{each.default:g}" if isinstance(each.default, float) else str(each.default)
        row = next(
            line
            for line in SECURITY.partition("## Limits")[2].splitlines()
            if line.startswith("| ") and f"`{each.name}`" in line
        )
        assert default in row.split("|")[2], each.name


def test_the_example_is_valid_and_has_every_setting() -> None:
    example = re.findall(r"```toml\n(.*?)```", RELAY, re.DOTALL)[0]
    config = parse(example, "docs/relay.md")
    assert [target.name for target in config.targets] == ["backend", "repl"]
    assert [name for name in settings() if not re.search(rf"^(# )?{name} = ", example, re.MULTILINE)] == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_systemd_unit_is_one(tmp_path: Path) -> None:
    [unit] = re.findall(r"```ini\n(.*?)```", RELAY, re.DOTALL)
    program = "/opt/relay/.venv/bin/am "
    assert unit.count(program) == 3
    file = tmp_path / "relay.service"
    file.write_text(unit.replace(program, f"{sys.executable} -m asyncmachine_tools "))
    found = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, check=False)
    said = [line for line in found.stderr.splitlines() if "relay.service" in line]
    assert (found.returncode, said) == (0, []), found.stderr


def test_the_systemd_unit_has_its_secret_where_a_reload_sees_it() -> None:
    """Credentials are copies of the start with modes that `secret_of` refuses, and a reload's command has none."""
    [unit] = re.findall(r"```ini\n(.*?)```", RELAY, re.DOTALL)
    assert not re.search(r"^(LoadCredential|DynamicUser)=|%d/", unit, re.MULTILINE)
    assert "User=relay\n" in unit
    assert "chown relay: /etc/relay/relay.secret" in RELAY


def test_the_example_of_a_cluster_is_valid() -> None:
    [example] = [text for text in re.findall(r"```toml\n(.*?)```", RELAY, re.DOTALL) if text.startswith("[server]")]
    config = parse(example, "docs/relay.md")
    assert config.cluster.on
    assert [meeting.name for meeting in config.meetings] == ["peers"]


def settings(kind: type[Any] = Config) -> Iterator[str]:
    """The names of all settings but the limits, which are in the other document."""
    hints = get_type_hints(kind)
    for each in fields(kind):
        if isinstance(hints[each.name], type) and is_dataclass(hints[each.name]):
            yield from settings(hints[each.name]) if hints[each.name] is not Limits else ()
        elif each.init and each.name not in {"targets", "meetings"}:
            yield each.name
    if kind is Config:
        yield from (each.name for kind in (Target, Meeting) for each in fields(kind) if each.init)


@pytest.mark.parametrize("name", POLICIES)
def test_the_content_policies_are_told_to_who_serves_the_files_otherwise(name: str) -> None:
    assert POLICIES[name] in (ROOT / "docs" / "server.md").read_text().splitlines()


def test_reasons_have_names_that_fit_into_a_close_frame() -> None:
    assert all(len(reason.name) < 20 for reason in Reason)
    assert {op.value for op in Op} == {"listen", "dial"}
