"""`make mutants [NAME=…]`: break the code on purpose, one line at a time, and see whether the tests notice.

A mutant is an entry of `tests/mutants/NAME.toml`:

    [[mutant]]
    file = "core/asyncmachine/machine/relations.py"
    find = "if blocked:"                      # stands in the file exactly once
    replace = "if not blocked:"
    tests = ["tests/unit/test_relations.py"]  # arguments for pytest

All of it happens on a copy of the tree. The named tests must pass there before anything is broken, and
fail after: a mutant that survives is a hole in the tests. The exit code is 0 when all were killed.
"""

from __future__ import annotations

import enum
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path("tests") / "mutants"
BUDGET = 15 * 60.0
LONGEST_RUN = 240.0
# Where the copy keeps what it imports. In front of site-packages, which lead back to the original tree.
SOURCE_ROOTS = ("core", "relay", "web", ".")

PASSED, FAILED = 0, 1


class Verdict(enum.StrEnum):
    """What became of a mutant. Only `killed` is well."""

    KILLED = "killed"
    SURVIVED = "survived"
    STALE = "stale"  # its text is not in the file exactly once
    BROKEN = "broken"  # its tests could not be run, or fail without it
    NOT_RUN = "not run"  # the time was over


@dataclass(frozen=True)
class Mutant:
    """One change and the tests that should see it."""

    name: str
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant, in how many seconds, and why."""

    mutant: Mutant
    verdict: Verdict
    seconds: float
    note: str = ""


# Runs tests in a tree and returns pytest's exit code; None when the time (seconds) was not enough.
Runner = Callable[[Path, Sequence[str], float], int | None]


class MutantFileError(Exception):
    """A file of mutants that says something else than it should."""


def read(path: Path) -> list[Mutant]:
    """Read one file of mutants. Raises MutantFileError."""
    fields = {"file", "find", "replace", "tests"}
    mutants = []
    for number, entry in enumerate(tomllib.loads(path.read_text()).get("mutant", []), 1):
        name = f"{path.stem}-{number}"
        if set(entry) != fields:
            raise MutantFileError(f"{path.name}, {name}: has {sorted(entry)}, should have {sorted(fields)}")
        mutants.append(Mutant(name, entry["file"], entry["find"], entry["replace"], tuple(entry["tests"])))
    if not mutants:
        raise MutantFileError(f"{path.name} has no [[mutant]]")
    return mutants


def judge(mutants: Iterable[Mutant], tree: Path, runner: Runner, deadline: float) -> Iterable[Outcome]:
    """Try each mutant in the tree, which is as it was afterwards. `deadline` is of the monotonic clock."""
    sound: dict[tuple[str, ...], bool] = {}
    for mutant in mutants:
        begin = time.monotonic()
        if deadline - begin <= 0:
            yield Outcome(mutant, Verdict.NOT_RUN, 0.0, "the time was over")
            continue
        if mutant.tests not in sound:
            sound[mutant.tests] = runner(tree, mutant.tests, deadline - begin) == PASSED
        if sound[mutant.tests]:
            verdict, note = attempt(mutant, tree, runner, deadline)
        else:
            verdict, note = Verdict.BROKEN, "its tests do not pass without it"
        yield Outcome(mutant, verdict, time.monotonic() - begin, note)


def attempt(mutant: Mutant, tree: Path, runner: Runner, deadline: float) -> tuple[Verdict, str]:
    """Change the file, run the tests, put the file back."""
    path = tree / mutant.file
    text = path.read_text() if path.is_file() else ""
    if text.count(mutant.find) != 1:
        return Verdict.STALE, f"its text is {text.count(mutant.find)} times in {mutant.file}"
    path.write_text(text.replace(mutant.find, mutant.replace))
    try:
        code = runner(tree, mutant.tests, deadline - time.monotonic())
    finally:
        path.write_text(text)
    if code is None:
        return Verdict.KILLED, "the tests hung"
    if code == FAILED:
        return Verdict.KILLED, ""
    if code == PASSED:
        return Verdict.SURVIVED, "no test noticed"
    return Verdict.BROKEN, f"pytest could not run (exit {code})"


def run_pytest(tree: Path, tests: Sequence[str], seconds: float) -> int | None:
    """Run tests against the code of that tree."""
    places = os.pathsep.join(str(tree / name) for name in SOURCE_ROOTS)
    # No compiled files: a change within the same second could go unseen.
    env = {**os.environ, "PYTHONPATH": places, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(
            command, cwd=tree, env=env, capture_output=True, check=False, timeout=min(seconds, LONGEST_RUN)
        )
    except subprocess.TimeoutExpired:
        return None
    return done.returncode


def copy_tree(root: Path, target: Path) -> None:
    """Copy what git would see: tracked files and new ones, nothing that was installed or made."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
        text=True,
    )
    for name in filter(None, listing.stdout.split("\0")):
        if (root / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes((root / name).read_bytes())


def row(outcome: Outcome) -> str:
    """One line of the table."""
    return f"{outcome.mutant.name:<24} {outcome.verdict:<9} {outcome.seconds:6.1f} s  {outcome.note}".rstrip()


def main(arguments: list[str]) -> int:
    """Run the named files of mutants, or all; print the table."""
    deadline = time.monotonic() + BUDGET
    known = sorted(path.stem for path in (ROOT / FOLDER).glob("*.toml"))
    unknown = sorted(set(arguments) - set(known))
    if unknown or not known:
        print(f"mutants: no {', '.join(unknown) or 'files'} in {FOLDER}; there are: {', '.join(known) or 'none'}")
        return 2
    try:
        mutants = [mutant for name in arguments or known for mutant in read(ROOT / FOLDER / f"{name}.toml")]
    except (MutantFileError, tomllib.TOMLDecodeError) as error:
        print(f"mutants: {error}")
        return 2
    counts: Counter[Verdict] = Counter()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy_tree(ROOT, Path(folder))
        for outcome in judge(mutants, Path(folder), run_pytest, deadline):
            print(row(outcome), flush=True)
            counts[outcome.verdict] += 1
    print(", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict]))
    return 0 if set(counts) == {Verdict.KILLED} else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
