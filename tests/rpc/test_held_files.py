"""Files that stand as long as their process: whole, told from those of the dead, and swept after it."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asyncmachine.helpers import file_locks
from asyncmachine.rpc import held_files
from asyncmachine.rpc.held_files import HeldFile, sweep

PATTERN = "*.addr"


def test_a_text_replaces_the_one_before_as_a_whole(tmp_path: Path) -> None:
    file = HeldFile(tmp_path / "oven.addr")
    file.write("tcp://127.0.0.1:1")
    file.write("tcp://127.0.0.1:2")
    assert file.path.read_text() == "tcp://127.0.0.1:2"
    assert list(tmp_path.iterdir()) == [file.path]
    file.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_another_process_has_replaced_is_left_to_it(tmp_path: Path) -> None:
    mine, other = (HeldFile(tmp_path / "oven.addr") for _ in range(2))
    mine.write("tcp://127.0.0.1:1")
    other.write("tcp://127.0.0.1:2")
    mine.remove()
    assert other.path.read_text() == "tcp://127.0.0.1:2"
    other.remove()


UNFINISHED = """
import pathlib, sys
from asyncmachine.rpc.held_files import HeldFile

def replace(draft, path):
    print(draft.name, flush=True)
    sys.stdin.read()

pathlib.Path.replace = replace
HeldFile(pathlib.Path(sys.argv[1])).write("tcp://127.0.0.1:1")
"""


@contextmanager
def writing(file: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has begun to write a file, and is not done."""
    command = [sys.executable, "-c", UNFINISHED, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_what_a_killed_process_had_not_finished_is_swept_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    with writing(tmp_path / "oven.addr") as process:
        assert process.stdout is not None
        draft = tmp_path / process.stdout.readline().strip()
        foreign = tmp_path / f"{draft.name}.bak"
        foreign.write_text("of somebody else")
        assert sweep(tmp_path, PATTERN) == []
        assert draft.read_text() == "tcp://127.0.0.1:1"
        process.kill()
        process.wait()
        assert sweep(tmp_path, PATTERN) == [draft]
        assert list(tmp_path.iterdir()) == [foreign]


def test_a_draft_that_is_swept_before_it_is_locked_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[Path] = []
    flock = file_locks.fcntl.flock

    def late(file: int, how: int) -> None:
        if how == file_locks.fcntl.LOCK_EX and not swept:
            swept.extend(sweep(tmp_path, PATTERN))
        flock(file, how)

    monkeypatch.setattr(file_locks.fcntl, "flock", late)
    own = HeldFile(tmp_path / "oven.addr")
    own.write("tcp://127.0.0.1:1")
    assert len(swept) == 1
    assert list(tmp_path.iterdir()) == [own.path]
    assert sweep(tmp_path, PATTERN) == []
    own.remove()


def test_a_file_that_another_process_puts_there_meanwhile_is_not_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "oven.addr"
    file.write_text("tcp://127.0.0.1:1")
    living = HeldFile(file)

    def looked_at(_: int) -> bool:
        living.write("tcp://127.0.0.1:2")
        return False

    monkeypatch.setattr(held_files, "is_held", looked_at)
    assert sweep(tmp_path, PATTERN) == []
    assert file.read_text() == "tcp://127.0.0.1:2"
    living.remove()
    assert not file.exists()


def test_where_files_cannot_be_locked_they_count_as_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(file: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(file_locks.fcntl, "flock", flock)
    own = HeldFile(tmp_path / "oven.addr")
    own.write("tcp://127.0.0.1:1")
    assert own.path.read_text() == "tcp://127.0.0.1:1"
    assert sweep(tmp_path, PATTERN) == []
    own.remove()
    assert not own.path.exists()
