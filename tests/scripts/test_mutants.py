"""The mutant runner: a verdict for every case, the tree as it was, and the tree's own code under test."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts import mutants
from scripts.mutants import Mutant, Outcome, Verdict

ROOT = Path(__file__).parents[2]
CODE = "limit = 3\nif limit > 2:\n    limit = 2\n"


def mutant(find: str = "limit > 2", replace: str = "limit > 9", tests: tuple[str, ...] = ("t",)) -> Mutant:
    return Mutant("m-1", "code.py", find, replace, tests)


class Runner:
    """Stands in for pytest: one exit code for the sound tree, one for the broken one."""

    def __init__(self, broken: int | None, sound: int | None = mutants.PASSED) -> None:
        self.broken, self.sound, self.seen = broken, sound, list[str]()

    def __call__(self, tree: Path, tests: Sequence[str], seconds: float) -> int | None:
        self.seen.append((tree / "code.py").read_text())
        return self.sound if self.seen[-1] == CODE else self.broken


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "code.py").write_text(CODE)
    return tmp_path


def judge(tree: Path, runner: Runner, *tried: Mutant, seconds: float = 60.0) -> list[Outcome]:
    outcomes = list(mutants.judge(tried, tree, runner, time.monotonic() + seconds))
    assert (tree / "code.py").read_text() == CODE
    return outcomes


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (1, Verdict.KILLED),
        (None, Verdict.KILLED),
        (0, Verdict.SURVIVED),
        (2, Verdict.BROKEN),
        (4, Verdict.BROKEN),
        (5, Verdict.BROKEN),
    ],
)
def test_the_exit_code_of_the_tests_decides(tree: Path, code: int | None, verdict: Verdict) -> None:
    runner = Runner(code)
    (outcome,) = judge(tree, runner, mutant())
    assert outcome.verdict is verdict
    assert runner.seen == [CODE, CODE.replace("> 2", "> 9")]


@pytest.mark.parametrize("find", ["limit > 4", "limit"])
def test_text_that_is_not_there_exactly_once_is_stale(tree: Path, find: str) -> None:
    (outcome,) = judge(tree, Runner(1), mutant(find))
    assert outcome.verdict is Verdict.STALE


def test_a_file_that_is_not_there_is_stale(tree: Path) -> None:
    (outcome,) = judge(tree, Runner(1), Mutant("m", "absent.py", "a", "b", ("t",)))
    assert outcome.verdict is Verdict.STALE


def test_tests_that_fail_anyway_prove_nothing(tree: Path) -> None:
    runner = Runner(1, sound=1)
    outcomes = judge(tree, runner, mutant(), mutant())
    assert [outcome.verdict for outcome in outcomes] == [Verdict.BROKEN, Verdict.BROKEN]
    assert runner.seen == [CODE], "the sound tree is tried once for the same tests"


def test_what_the_time_does_not_reach_is_not_run(tree: Path) -> None:
    runner = Runner(1)
    (outcome,) = judge(tree, runner, mutant(), seconds=0.0)
    assert outcome.verdict is Verdict.NOT_RUN
    assert runner.seen == []


def test_the_file_is_put_back_when_the_run_is_interrupted(tree: Path) -> None:
    def interrupted(tree: Path, tests: Sequence[str], seconds: float) -> int | None:
        if (tree / "code.py").read_text() != CODE:
            raise KeyboardInterrupt
        return 0

    with pytest.raises(KeyboardInterrupt):
        list(mutants.judge([mutant()], tree, interrupted, time.monotonic() + 60))
    assert (tree / "code.py").read_text() == CODE


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no"),
        ('[[mutant]]\nfile = "a"\nfind = "b"\nreplace = "c"\n', "should have"),
        ('[[mutant]]\nfile = "a"\nfind = "b"\nreplace = "c"\ntests = []\nwhy = ""\n', "why"),
    ],
)
def test_a_wrong_file_of_mutants_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(mutants.MutantFileError, match=reason):
        mutants.read(path)


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert mutants.main(["no-such-file"]) == 2
    assert "no no-such-file in tests/mutants" in capsys.readouterr().out


def test_from_the_file_to_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A small project with real pytest: its own `asyncmachine` is what its tests import, not the installed one."""
    files = {
        "pyproject.toml": "[tool.pytest.ini_options]\n",
        "core/asyncmachine/__init__.py": "def twice(n):\n    return n + n\n\n\ndef thrice(n):\n    return n * 3\n",
        "tests/test_it.py": "import asyncmachine\n\n\ndef test_twice():\n    assert asyncmachine.twice(2) == 4\n",
        "tests/mutants/small.toml": "".join(
            f'[[mutant]]\nfile = "core/asyncmachine/__init__.py"\nfind = "{find}"\nreplace = "0"\n'
            'tests = ["tests/test_it.py"]\n'
            for find in ("n + n", "n * 3")
        ),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    assert mutants.main(["small"]) == 1
    first, second, total = capsys.readouterr().out.splitlines()
    assert first.split()[:2] == ["small-1", "killed"]
    assert second.split()[:2] == ["small-2", "survived"]
    assert total == "1 killed, 1 survived"


def test_each_mutant_of_the_project_fits_its_file_and_names_tests_that_are_there() -> None:
    """A mutant that no longer fits breaks nothing, so nobody would notice that it is gone."""
    stale = [
        f"{mutant.name}: {mutant.find!r} is not once in {mutant.file}"
        for path in sorted((ROOT / "tests" / "mutants").glob("*.toml"))
        for mutant in mutants.read(path)
        if (ROOT / mutant.file).read_text().count(mutant.find) != 1
    ]
    missing = [
        f"{mutant.name}: no {test}"
        for path in sorted((ROOT / "tests" / "mutants").glob("*.toml"))
        for mutant in mutants.read(path)
        for test in mutant.tests
        if "/" in test and not (ROOT / test.partition("::")[0]).exists()
    ]
    assert not stale + missing
