"""`make mutants [NAME=…]`: break the code on purpose, one line at a time, and see whether the tests notice.

A mutant is an entry of `tests/mutants/NAME.toml`:

    [[mutant]]
    file = "core/asyncmachine/machine/relations.py"
    find = "if blocked:"                      # stands in the file exactly once
    replace = "if not blocked:"
    tests = ["tests/unit/test_relations.py"]  # arguments for pytest

All of it happens on copies of the tree, one for each core, side by side; mutants whose tests need a browser are
tried one after another. The named tests must pass there before anything is broken, and fail after: a mutant that
survives is a hole in the tests. The exit code is 0 when all were killed.

All together have 15 minutes. What a mutant costs is the start of pytest, and tests that have nothing to do with it:
where a file takes longer than a second or two, name the test that sees the mutant.
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
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, groupby, takewhile
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from scripts.vendor import vendor_folder

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path("tests") / "mutants"
BUDGET = 15 * 60.0
LONGEST_RUN = 240.0
SIDE_BY_SIDE = min(4, os.cpu_count() or 1)
TOGETHER = 12
# Tests whose path or text has one of these run pages, which take all cores.
BROWSERS = ("playwright", "tests.web.browser")
# Where the copy keeps what it imports. In front of site-packages, which lead back to the original tree.
SOURCE_ROOTS = ("core", "relay", "tools", "web", ".")

PASSED, FAILED = 0, 1

_UNUSED: Final = count(1)
"""Seconds after the time of a file."""

Tests = tuple[str, ...]


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
    tests: Tests


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


class Bench:
    """Copies of the tree, and a runner: who works in a tree has it alone, and leaves it as it was.

    `deadline` is of the monotonic clock.
    """

    def __init__(self, trees: Sequence[Path], runner: Runner, deadline: float) -> None:
        self.size = len(trees)
        self._runner = runner
        self._deadline = deadline
        self._free = SimpleQueue[Path]()
        for tree in trees:
            self._free.put(tree)

    @property
    def left(self) -> float:
        """Seconds until the time is over."""
        return self._deadline - time.monotonic()

    @contextmanager
    def tree(self) -> Iterator[Path]:
        """A tree that nobody else has meanwhile."""
        tree = self._free.get()
        try:
            yield tree
        finally:
            self._free.put(tree)

    def run(self, tree: Path, tests: Tests, at_most: float = BUDGET) -> int | None:
        """The exit code of tests in a tree; None if the time was not enough."""
        return self._runner(tree, tests, min(self.left, at_most))


def judge(mutants: Sequence[Mutant], bench: Bench) -> Iterator[Outcome]:
    """Try as many mutants at a time as there are trees, and tell of them in their order."""
    with ThreadPoolExecutor(bench.size) as pool:
        sound = sound_ones(list(dict.fromkeys(mutant.tests for mutant in mutants)), bench, pool)
        yield from pool.map(lambda mutant: tried(mutant, bench, sound), mutants)


def sound_ones(all_tests: Sequence[Tests], bench: Bench, pool: ThreadPoolExecutor) -> set[Tests]:
    """The tests that pass while nothing is broken. Where several that were run together fail, each is run by itself."""

    def passes(tests: Tests) -> bool:
        with bench.tree() as tree:
            return bench.left > 0 and bench.run(tree, tests) == PASSED

    batches = batched(all_tests)
    sound, doubtful = set[Tests](), list[Tests]()
    for batch, well in zip(batches, pool.map(passes, map(joined, batches)), strict=True):
        if well:
            sound.update(batch)
        elif len(batch) > 1:
            doubtful += batch
    return sound.union(tests for tests, well in zip(doubtful, pool.map(passes, doubtful), strict=True) if well)


def batched(all_tests: Iterable[Tests]) -> list[list[Tests]]:
    """Tests with the same options may be run together; not too many, as one that fails costs all of them time."""
    batches = []
    for _, group in groupby(sorted(all_tests, key=options), options):
        alike = sorted(group)
        batches += [alike[i : i + TOGETHER] for i in range(0, len(alike), TOGETHER)]
    return batches


def joined(batch: Sequence[Tests]) -> Tests:
    """The arguments of one run for all of these, which have the same options."""
    return (*dict.fromkeys(place for tests in batch for place in places(tests)), *options(batch[0]))


def places(tests: Tests) -> Tests:
    """Where the tests are. Options come behind."""
    return tuple(takewhile(lambda argument: not argument.startswith("-"), tests))


def options(tests: Tests) -> Tests:
    """What else pytest is told."""
    return tests[len(places(tests)) :]


def tried(mutant: Mutant, bench: Bench, sound: Container[Tests]) -> Outcome:
    """Try one mutant, if its tests tell anything and there is time."""
    with bench.tree() as tree:
        begin = time.monotonic()
        if bench.left <= 0:
            return Outcome(mutant, Verdict.NOT_RUN, 0.0, "the time was over")
        if mutant.tests in sound:
            verdict, note = attempt(mutant, tree, bench)
        else:
            verdict, note = Verdict.BROKEN, "its tests do not pass without it"
        return Outcome(mutant, verdict, time.monotonic() - begin, note)


def attempt(mutant: Mutant, tree: Path, bench: Bench) -> tuple[Verdict, str]:
    """Change the file, run the tests, put the file back."""
    path = tree / mutant.file
    text = path.read_text() if path.is_file() else ""
    if text.count(mutant.find) != 1:
        return Verdict.STALE, f"its text is {text.count(mutant.find)} times in {mutant.file}"
    with changed(path, text.replace(mutant.find, mutant.replace)):
        code = bench.run(tree, mutant.tests, LONGEST_RUN)
    if code is None and bench.left <= 0:
        return Verdict.NOT_RUN, "the time was over"
    if code is None:
        return Verdict.KILLED, "the tests hung"
    if code == FAILED:
        return Verdict.KILLED, ""
    if code == PASSED:
        return Verdict.SURVIVED, "no test noticed"
    return Verdict.BROKEN, f"pytest could not run (exit {code})"


@contextmanager
def changed(path: Path, text: str) -> Iterator[None]:
    """Another text for a while. Its time is one that the file never had: compiled files are told apart by it."""
    before, now = path.read_bytes(), path.stat().st_mtime
    path.write_text(text)
    os.utime(path, (now, now + next(_UNUSED)))
    try:
        yield
    finally:
        path.write_bytes(before)
        os.utime(path, (now, now))


def run_pytest(tree: Path, tests: Sequence[str], seconds: float) -> int | None:
    """Run tests against the code of that tree."""
    places = os.pathsep.join(str(tree / name) for name in SOURCE_ROOTS)
    # Half of a start would be compiling. Beside the trees, which keep nothing but what is theirs.
    compiled = {"PYTHONPYCACHEPREFIX": str(tree.parent / "compiled"), "PYTHONDONTWRITEBYTECODE": ""}
    env = {**os.environ, "PYTHONPATH": places, **compiled}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(command, cwd=tree, env=env, capture_output=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        return None
    return done.returncode


def copy_tree(root: Path, target: Path) -> None:
    """Copy what git would see: tracked files and new ones. Of what was made, a link leads to the page's libraries."""
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
    if (vendor := vendor_folder(root)).is_dir():
        vendor_folder(target).symlink_to(vendor)


def row(outcome: Outcome) -> str:
    """One line of the table."""
    return f"{outcome.mutant.name:<24} {outcome.verdict:<9} {outcome.seconds:6.1f} s  {outcome.note}".rstrip()


def main(arguments: list[str]) -> int:
    """Run the named files of mutants, or all; print the table."""
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
    begin, counts = time.monotonic(), Counter[Verdict]()
    for outcome in try_all(mutants, begin + BUDGET):
        print(row(outcome), flush=True)
        counts[outcome.verdict] += 1
    print(total(counts, time.monotonic() - begin))
    return 0 if set(counts) == {Verdict.KILLED} else 1


def try_all(mutants: Sequence[Mutant], deadline: float) -> Iterator[Outcome]:
    """Make the copies, and judge: side by side, and one after another what needs a browser."""
    beside = [mutant for mutant in mutants if not needs_browser(mutant)]
    alone = [mutant for mutant in mutants if needs_browser(mutant)]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        trees = [Path(folder) / str(number) for number in range(SIDE_BY_SIDE if len(beside) > 1 else 1)]
        for tree in trees:
            copy_tree(ROOT, tree)
        yield from judge(beside, Bench(trees, run_pytest, deadline))
        yield from judge(alone, Bench(trees[:1], run_pytest, deadline))


def needs_browser(mutant: Mutant) -> bool:
    """Whether its tests wait for pages."""
    files = [place.partition("::")[0] for place in places(mutant.tests)]
    texts = [file + (ROOT / file).read_text() if (ROOT / file).is_file() else file for file in files]
    return any(word in text for text in texts for word in BROWSERS)


def total(counts: Counter[Verdict], seconds: float) -> str:
    """The last line: how many are caught, and what became of the others."""
    others = [
        f"{counts[verdict]} {verdict}" for verdict in Verdict if verdict is not Verdict.KILLED and counts[verdict]
    ]
    caught = f"{counts[Verdict.KILLED]} of {counts.total()} caught in {seconds / 60:.1f} minutes"
    return ", ".join([caught, *others])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
