"""`.venv/`: the project itself, every extra, the tools of tests and checks, and the benchmarks' peers."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

from scripts.console import pip, run
from scripts.prerequisites import need_venv_module
from scripts.step import Step, hash_of

# Put into an environment that we make, so that `make clean` takes away no other.
MADE_HERE = ".made-by-make"
# There while pip works. An interrupted pip can leave a package half installed and take it for whole later.
UNFINISHED = ".unfinished"
# The parts of pyproject.toml that decide what is installed; settings of tools do not.
DECISIVE = ("build-system", "project", "dependency-groups")


def python_env(root: Path) -> Step:
    """The step that fills `.venv/`."""
    venv = root / ".venv"
    return Step("Python packages in .venv", venv, lambda: inputs(root), lambda: install(root, venv))


def inputs(root: Path) -> str:
    """Hash of what decides the content of the environment."""
    project = tomllib.loads((root / "pyproject.toml").read_text())
    decisive = [project.get(part) for part in DECISIVE]
    wheel = project.get("tool", {}).get("hatch", {})
    return hash_of(
        sys.version, str(root), (root / "constraints.txt").read_text(), json.dumps([decisive, wheel], sort_keys=True)
    )


def install(root: Path, venv: Path) -> None:
    """Make the environment, or mend it, and install into it."""
    if not healthy(venv):
        need_venv_module(root)
        if venv.is_symlink():  # to that of another tree, which would be emptied
            venv.unlink()
        run([sys.executable, "-m", "venv", "--clear", venv], "virtual environment", cwd=root)
        (venv / MADE_HERE).touch()
    (venv / UNFINISHED).touch()
    command = [*pip(root), "install", "--progress-bar=off", "--constraint", root / "constraints.txt"]
    run([*command, "pip", "hatchling", "editables"], "pip", cwd=root)
    run([*command, "--no-build-isolation", "--group", "dev", "--editable", ".[all]"], "packages", cwd=root)
    (venv / UNFINISHED).unlink()


def healthy(venv: Path) -> bool:
    """Tell whether it is a working environment, of this Python, made for this place and without half a package."""
    script = venv / "bin" / "pip"
    try:
        if (venv / UNFINISHED).exists() or str(venv / "bin") not in script.read_text().partition("\n")[0]:
            return False
        answer = subprocess.run(
            [venv / "bin" / "python", "-c", "import pip, sys; print(sys.version)"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return False
    return answer.returncode == 0 and answer.stdout.strip() == sys.version.strip()
