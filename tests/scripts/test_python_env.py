"""What decides the content of `.venv/`, and whether one can be kept."""

from __future__ import annotations

import ast
import re
import shutil
import sys
import tomllib
from functools import cache
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts import console, python_env
from scripts.tree_rules import tracked

ROOT = Path(__file__).resolve().parents[2]

PROJECT = """
[project]
name = "x"
dependencies = ["msgspec"]
[dependency-groups]
dev = ["pytest"]
[tool.ruff]
line-length = 100
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "constraints.txt").write_text("pytest==9.2.0\n")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "old", "new", "due"),
    [
        ("constraints.txt", "9.2.0", "9.2.1", True),
        ("pyproject.toml", '"msgspec"', '"msgspec>=0.20"', True),
        ("pyproject.toml", '"pytest"', '"pytest", "ruff"', True),
        ("pyproject.toml", "line-length = 100", "line-length = 120", False),
    ],
)
def test_only_what_is_installed_makes_it_due(tree: Path, file: str, old: str, new: str, due: bool) -> None:
    before = python_env.inputs(tree)
    path = tree / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert (python_env.inputs(tree) != before) is due


def test_the_environment_that_runs_this_is_healthy() -> None:
    assert python_env.healthy(ROOT / ".venv")


def test_an_environment_that_is_not_there_or_was_moved_is_not_healthy(tmp_path: Path) -> None:
    assert not python_env.healthy(tmp_path / "absent")
    moved = tmp_path / "venv"
    (moved / "bin").mkdir(parents=True)
    for name in ("python", "pip"):
        (moved / "bin" / name).symlink_to(ROOT / ".venv" / "bin" / name)
    assert not python_env.healthy(moved)


def test_an_environment_in_which_pip_did_not_finish_is_made_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[str] = []
    interrupted = True

    def run(command: list[str | Path], label: str, **options: object) -> None:
        ran.append(label)
        if label == "virtual environment":
            shutil.rmtree(tmp_path / ".venv", ignore_errors=True)
            (tmp_path / ".venv" / "bin").mkdir(parents=True)
            (tmp_path / ".venv" / "bin" / "pip").write_text(f"#!{tmp_path}/.venv/bin/python\n")
            (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
        elif label == "packages" and interrupted:
            raise KeyboardInterrupt

    monkeypatch.setattr(python_env, "run", run)
    with pytest.raises(KeyboardInterrupt):
        python_env.install(tmp_path, tmp_path / ".venv")
    interrupted = False
    for _ in range(2):
        python_env.install(tmp_path, tmp_path / ".venv")
    made_anew = ["virtual environment", "pip", "packages"]
    assert ran == [*made_anew, *made_anew, "pip", "packages"]
    assert (tmp_path / ".venv" / python_env.MADE_HERE).exists()


def test_the_environment_of_another_tree_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other, venv = tmp_path / "other", tmp_path / "tree" / ".venv"
    (other / "bin").mkdir(parents=True)
    venv.parent.mkdir()
    venv.symlink_to(other)
    real = console.run
    monkeypatch.setattr(python_env, "pip", lambda root: ["pip"])

    def run(command: list[str | Path], label: str, **options: object) -> None:
        if label == "virtual environment":
            real([*command[:3], "--without-pip", *command[3:]], label, cwd=tmp_path)

    monkeypatch.setattr(python_env, "run", run)
    python_env.install(venv.parent, venv)
    assert (other / "bin").is_dir()
    assert not venv.is_symlink()
    assert (venv / "bin" / "python").exists()


def test_every_package_has_its_exact_version() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9.-]+==\S+", line)] == []
    pins = dict(line.split("==") for line in lines)
    installed = {name: distribution(name).version for name in needed()}
    assert {name: pins.get(canonicalize_name(name)) for name in installed} == installed


def test_every_package_that_is_imported_is_declared() -> None:
    """What happens to be in one's own `.venv/` is not there in a fresh clone."""
    homes, declared = packages_distributions(), needed() | {"asyncmachine", "atheris"}
    undeclared = {
        f"{name}: {module}"
        for name in tracked(ROOT)
        if name.endswith(".py")
        for module in imported(ROOT / name)
        if module in homes and not {canonicalize_name(home) for home in homes[module]} & declared
    }
    assert undeclared == set()


def imported(path: Path) -> set[str]:
    """Top names of the modules that a file imports."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    absolute = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.split(".")[0] for name in plain | absolute}


@cache
def needed() -> set[str]:
    """Names of everything that the project and its groups need, directly or not, on this Python."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    # The fuzzer is installed by `make nightly`, where it can be had.
    groups = [group for name, group in project["dependency-groups"].items() if name != "fuzz"]
    found: set[str] = set()
    waiting = [Requirement(line) for group in groups for line in group if isinstance(line, str)]
    waiting.append(Requirement("asyncmachine[all]"))
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        key = (name, frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        if name != "asyncmachine":
            found.add(name)
        for line in distribution(name).requires or []:
            further = Requirement(line)
            extras = requirement.extras or {""}
            if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(further)
    return found
