"""Counts, and differences in a form that people can read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator

from .check import Verdict
from .compare import MISSING, Coverage, Difference

SHOWN_DIFFERENCES = 5
"""Differences shown of one line unless all are asked for: what comes first mostly explains the rest."""


class Report:
    """Takes verdicts one by one; says something about failures only, until the counts at the end."""

    def __init__(self, write: Callable[[str], object], *, verbose: bool = False) -> None:
        self._write = write
        self._verbose = verbose
        self.passed = 0
        self.failed = 0
        self._coverage: Counter[Coverage] = Counter()

    def add(self, verdict: Verdict) -> None:
        """Counts a line, and shows it if it failed."""
        if not verdict.passed:
            self.failed += 1
            self._write("\n".join(described(verdict, all_of_it=self._verbose)) + "\n")
            return
        self.passed += 1
        self._coverage[verdict.coverage] += 1

    def close(self, seconds: float) -> None:
        """Writes the counts. The last line is the one that other programs read."""
        counts = ", ".join(f"{self._coverage[coverage]} {coverage}" for coverage in Coverage)
        self._write(f"lines compared: {counts}, in {seconds:.1f} s")
        self._write(f"{self.passed} passed, {self.failed} failed")

    @property
    def green(self) -> bool:
        """Whether something was run and all of it passed."""
        return self.failed == 0 and self.passed > 0


def described(verdict: Verdict, *, all_of_it: bool = False) -> Iterator[str]:
    """The lines about a failure: where it is, at which operation, what was recorded and what ours did."""
    yield f"FAILED {verdict.place} {verdict.id}".rstrip()
    index = verdict.operation if verdict.operation is not None else first_operation(verdict)
    if index is not None and verdict.data is not None:
        yield f"  ops[{index}] of {len(verdict.data['ops'])}: {compact(verdict.data['ops'][index])}"
    if verdict.data is not None and "fn" in verdict.data:
        yield f"  {verdict.data['fn']} {compact(verdict.data.get('args'))}"
    if verdict.error:
        yield f"  {verdict.error}"
    shown = verdict.differences if all_of_it else verdict.differences[:SHOWN_DIFFERENCES]
    for difference in shown:
        yield from described_difference(difference)
    if len(verdict.differences) > len(shown):
        yield f"  and {len(verdict.differences) - len(shown)} more fields differ"
    if all_of_it:
        yield from (f"  {line}" for line in verdict.trace.splitlines())
        yield from inputs(verdict)


def described_difference(difference: Difference) -> Iterator[str]:
    """Both values under the path to the field; for long lists also where they part."""
    yield f"  {difference.path}{parting(difference.recorded, difference.ours)}"
    yield f"    recorded {compact(difference.recorded)}"
    yield f"    ours     {compact(difference.ours)}"


def parting(recorded: object, ours: object) -> str:
    """Where two lists part, if both are lists."""
    if not isinstance(recorded, list) or not isinstance(ours, list):
        return ""
    same = next(
        (i for i, (left, right) in enumerate(zip(recorded, ours, strict=False)) if left != right),
        min(len(recorded), len(ours)),
    )
    return f" (from [{same}] on)" if same else ""


def inputs(verdict: Verdict) -> Iterator[str]:
    """All that the line told the machine, for doing it again by hand."""
    for key in ("states", "schema", "bind", "handlers", "queue_limit", "order", "quirks", "compare_until", "ops"):
        if verdict.data is not None and key in verdict.data:
            yield f"  {key}: {compact(verdict.data[key])}"


def first_operation(verdict: Verdict) -> int | None:
    """The index of the operation that the first difference is in; None if the line is not about operations."""
    if not verdict.differences or not verdict.differences[0].path.startswith("results["):
        return None
    return int(verdict.differences[0].path.removeprefix("results[").split("]")[0])


def compact(value: object) -> str:
    """A value as one line of JSON; the absence of one as words."""
    return repr(value) if value is MISSING else json.dumps(value, default=repr)
