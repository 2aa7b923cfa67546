"""The mutant runner: a verdict for every case, the tree as it was, and the tree's own code under test."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts import mutants
from scripts.mutants import Bench, Mutant, Outcome, Verdict

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


def judge(tree: Path, runner: mutants.Runner, *tried: Mutant, seconds: float = 60.0) -> list[Outcome]:
    outcomes = list(mutants.judge(tried, Bench([tree], runner, time.monotonic() + seconds)))
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


class Named:
    """Stands in for pytest: which tests fail in the sound tree. In a broken one all do."""

    def __init__(self, *failing: str) -> None:
        self.failing, self.runs = failing, list[tuple[str, ...]]()

    def __call__(self, tree: Path, tests: Sequence[str], seconds: float) -> int | None:
        if (tree / "code.py").read_text() != CODE:
            return mutants.FAILED
        self.runs.append(tuple(tests))
        return mutants.FAILED if set(self.failing) & set(tests) else mutants.PASSED


def test_tests_with_the_same_options_are_run_together_while_nothing_is_broken(tree: Path) -> None:
    runner = Named()
    named = [("b", "a"), ("c", "-k", "x"), ("a::one",), ("d", "-k", "y"), ("e", "-k", "x")]
    outcomes = judge(tree, runner, *[mutant(tests=tests) for tests in named])
    assert [outcome.verdict for outcome in outcomes] == [Verdict.KILLED] * 5
    assert runner.runs == [("a::one", "b", "a"), ("c", "e", "-k", "x"), ("d", "-k", "y")]


def test_where_tests_fail_together_each_is_judged_by_itself(tree: Path) -> None:
    runner = Named("b")
    outcomes = judge(tree, runner, *[mutant(tests=(test,)) for test in ("a", "b", "c")])
    assert [outcome.verdict for outcome in outcomes] == [Verdict.KILLED, Verdict.BROKEN, Verdict.KILLED]
    assert runner.runs == [("a", "b", "c"), ("a",), ("b",), ("c",)]


def test_mutants_are_tried_side_by_side_each_in_a_tree_of_its_own(tmp_path: Path) -> None:
    trees = [tmp_path / "1", tmp_path / "2"]
    for each in trees:
        each.mkdir()
        (each / "code.py").write_text(CODE)
    both, seen = threading.Barrier(2), set[tuple[Path, str]]()

    def runner(tree: Path, tests: Sequence[str], seconds: float) -> int | None:
        if (text := (tree / "code.py").read_text()) == CODE:
            return mutants.PASSED
        seen.add((tree, text))
        both.wait(10)
        return mutants.FAILED

    outcomes = list(mutants.judge([mutant(), mutant("= 3", "= 4")], Bench(trees, runner, time.monotonic() + 60)))
    assert [outcome.verdict for outcome in outcomes] == [Verdict.KILLED] * 2
    assert {tree for tree, _ in seen} == set(trees)
    assert {text for _, text in seen} == {CODE.replace("> 2", "> 9"), CODE.replace("= 3", "= 4")}
    assert [(each / "code.py").read_text() for each in trees] == [CODE] * 2


def test_mutants_that_need_a_browser_are_tried_after_the_others_one_at_a_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "with.py").write_text("from playwright.sync_api import Page\n")
    (tmp_path / "without.py").write_text("import asyncio\n")
    judged = []

    def judge(mutants: Sequence[Mutant], bench: Bench) -> list[Outcome]:
        judged.append((bench.size, [each.tests for each in mutants]))
        return []

    monkeypatch.setattr(mutants, "copy_tree", lambda root, target: None)
    monkeypatch.setattr(mutants, "SIDE_BY_SIDE", 2)
    monkeypatch.setattr(mutants, "judge", judge)
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    named = [("with.py",), ("without.py",), ("without.py", "with.py::test_it"), ("without.py", "-k", "x")]
    assert not list(mutants.try_all([mutant(tests=tests) for tests in named], 0.0))
    assert judged == [(2, [named[1], named[3]]), (1, [named[0], named[2]])]


def test_tests_that_the_end_of_the_time_stops_have_caught_nothing(tree: Path) -> None:
    def slow(tree: Path, tests: Sequence[str], seconds: float) -> int | None:
        if (tree / "code.py").read_text() == CODE:
            return mutants.PASSED
        bench._deadline = time.monotonic()
        return None

    bench = Bench([tree], slow, time.monotonic() + 60)
    (outcome,) = mutants.judge([mutant()], bench)
    assert outcome.verdict is Verdict.NOT_RUN
    assert (tree / "code.py").read_text() == CODE


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
        list(mutants.judge([mutant()], Bench([tree], interrupted, time.monotonic() + 60)))
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
    assert re.fullmatch(r"1 of 2 caught in \d\.\d minutes, 1 survived", total)


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
        for test in (*mutants.places(mutant.tests), *chosen(mutant))
        if not is_there(test)
    ]
    assert not stale + missing


def chosen(mutant: Mutant) -> list[str]:
    """The words by which it chooses among the tests of its files, each as "file … -k word"."""
    _, _, choice = " ".join(mutants.options(mutant.tests)).partition("-k ")
    words = re.findall(r"[a-z]\w{3,}", choice.partition(" -")[0])
    return [f"{' '.join(mutants.places(mutant.tests))} -k {word}" for word in words]


def test_each_mutant_in_python_is_still_python() -> None:
    """One that cannot be read is caught by every test."""
    for path in sorted((ROOT / "tests" / "mutants").glob("*.toml")):
        for mutant in mutants.read(path):
            if mutant.file.endswith(".py"):
                text = (ROOT / mutant.file).read_text().replace(mutant.find, mutant.replace)
                compile(text, f"{mutant.name} in {mutant.file}", "exec", dont_inherit=True)


def is_there(test: str) -> bool:
    """Whether there is such a file, and the test in it, or one with the word in its name or in a parameter's."""
    test, _, word = test.partition(" -k ")
    if word:
        paths = [ROOT / place.partition("::")[0] for place in test.split()]
        files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py"))]
        return any(re.search(rf"def test_\w*{word}|[\"']{word}", file.read_text()) for file in files)
    file, _, name = test.partition("::")
    path = ROOT / file
    return path.exists() and (not name or f"def {name.partition('[')[0]}(" in path.read_text())
