"""The setup as a whole: exit codes and what a person reads; and make, which hands things on."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts import setup
from scripts.console import SetupError
from scripts.step import Step

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def only_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Callable[[], None]], None]:
    """Replaces the steps by one, which does what the test says."""

    def put(work: Callable[[], None]) -> None:
        (tmp_path / "constraints.txt").touch()
        monkeypatch.setattr(setup, "ROOT", tmp_path)
        monkeypatch.setattr(setup, "STEPS", (lambda root: Step("work", root, lambda: "hash", work),))
        monkeypatch.setattr(setup, "provide_browser", lambda root, venv: None)

    return put


def test_the_total_is_printed_when_something_was_done(
    only_step: Callable[[Callable[[], None]], None], capfd: pytest.CaptureFixture[str]
) -> None:
    only_step(lambda: None)
    assert setup.main([]) == 0
    out, err = capfd.readouterr()
    assert out == "", "standard output belongs to the target"
    assert err.splitlines()[0] == "▸ work"
    assert err.splitlines()[-1].startswith("setup: 0.")
    assert setup.main([]) == 0
    assert capfd.readouterr().err == ""


def test_what_the_first_run_took_is_kept_for_the_bench(only_step: Callable[[Callable[[], None]], None]) -> None:
    only_step(lambda: None)
    assert setup.main([]) == 0
    record = setup.ROOT / setup.FIRST_RUN
    first = record.read_text()
    found = json.loads(first)
    assert 0 < found["seconds"] < 60
    assert found["bytes"] >= 0
    assert setup.main([]) == 0
    assert record.read_text() == first


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [(SetupError("npm is missing"), 1, "setup: npm is missing"), (KeyboardInterrupt(), 130, "setup: interrupted")],
)
def test_failures_have_a_code_and_a_reason(
    only_step: Callable[[Callable[[], None]], None],
    capfd: pytest.CaptureFixture[str],
    raised: BaseException,
    code: int,
    words: str,
) -> None:
    def fail() -> None:
        raise raised

    only_step(fail)
    assert setup.main([]) == code
    assert words in capfd.readouterr().err


def make(*arguments: str, **variables: str) -> str:
    """What make would run, without what an outer make has set."""
    outer = {"MFLAGS", "PYTHON", "HEADLESS", "NAME", "TIME"}
    clean_env = {name: value for name, value in os.environ.items() if name not in outer and name[:4] != "MAKE"}
    done = subprocess.run(
        ["make", "--dry-run", *arguments],
        cwd=ROOT,
        env={**clean_env, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("target", ["demo", "test", "check", "bench", "mutants", "nightly", "docs"])
def test_every_target_stands_on_setup(target: str) -> None:
    assert make(target).splitlines()[0] == "python3 scripts/bootstrap.py"


@pytest.mark.parametrize(
    ("value", "headless"), [("1", True), ("yes", True), ("0", False), ("", False), ("no", False), ("false", False)]
)
def test_headless_counts_from_both_sides(value: str, headless: bool) -> None:
    assert make("demo", f"HEADLESS={value}").rstrip().endswith("--headless") is headless
    assert make("demo", HEADLESS=value).rstrip().endswith("--headless") is headless


@pytest.mark.parametrize("name", ["SEED", "SUCCESS_RATE", "HASH_ITERATIONS", "PORT", "HEADLESS"])
def test_variables_reach_the_program_from_both_sides(tmp_path: Path, name: str) -> None:
    """Make itself hands them on; this is what the Makefile relies on when it does not mention them."""
    (tmp_path / "Makefile").write_text(f"show:\n\t@printenv {name}\n")
    for arguments, env in (([f"{name}=7"], {}), ([], {name: "7"})):
        done = subprocess.run(
            ["make", "--silent", "show", *arguments],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], **env},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "7\n"


def test_names_and_times_reach_the_scripts() -> None:
    assert "scripts.mutants relations" in make("mutants", "NAME=relations")
    assert "scripts.nightly 30" in make("nightly", "TIME=30")
    assert "for name in thread;" in make("bench", "NAME=thread")
    assert "report" not in make("bench")
