"""Files on disk: names, rotation, what is kept, and that nobody sees half of one."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from asyncmachine.helpers.file_locks import hold
from asyncmachine.telemetry import dbg
from asyncmachine.telemetry.dbg import dumps as module
from asyncmachine.telemetry.dbg.codec import encode
from asyncmachine.telemetry.dbg.dumps import RotatingDumps, Rotation, SingleDump, new_file, stamp
from tests.telemetry.hearing import HELLO
from tests.telemetry.messages import a_batch, a_machine

SECOND = 1_000_000_000
BEGIN = 1_700_000_000 * SECOND
KNOWN = [(1, 1, encode(HELLO)), (1, 1, encode(a_machine()))]


def rotating(folder: Path, **rotation: int) -> RotatingDumps:
    return RotatingDumps(folder, "dump", Rotation(**rotation))


def write(dumps: SingleDump | RotatingDumps, now: int = BEGIN, first: int = 1, count: int = 1) -> None:
    if not dumps.is_open:
        dumps.begin(now, KNOWN)
    dumps.write((1, now, encode(a_batch(first=first, count=count))), count)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    dumps = rotating(tmp_path / "new")
    write(dumps)
    assert names(tmp_path / "new") == ["dump-2023-11-14T22-13-20.amdbg.part"]
    path = dumps.finish(BEGIN + 60 * SECOND)
    assert path == tmp_path / "new" / "dump-2023-11-14T22-14-20.amdbg"
    assert names(tmp_path / "new") == [path.name]
    assert [machine.transitions for machine in dbg.summary(path).machines] == [1]
    assert dumps.finish(BEGIN) is None


def test_what_is_being_written_can_be_read(tmp_path: Path) -> None:
    """By whoever finds it after a crash, too."""
    dumps = rotating(tmp_path)
    write(dumps)
    dumps.flush()
    write(dumps, first=2)
    (part,) = tmp_path.iterdir()
    found = dbg.summary(part)
    assert [machine.transitions for machine in found.machines] == [1]
    assert "before its end" in found.cut
    dumps.abandon()
    assert not dumps.is_open
    dumps.flush()


def test_files_are_for_their_owner(tmp_path: Path) -> None:
    dumps = rotating(tmp_path)
    write(dumps)
    path = dumps.finish(BEGIN)
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_names_that_are_taken_get_a_number(tmp_path: Path) -> None:
    made = []
    for _ in range(3):
        dumps = rotating(tmp_path)
        write(dumps)
        made.append(dumps.finish(BEGIN))
    assert [path and path.name for path in made] == [
        "dump-2023-11-14T22-13-20.amdbg",
        "dump-2023-11-14T22-13-20-1.amdbg",
        "dump-2023-11-14T22-13-20-2.amdbg",
    ]
    assert stamp(BEGIN) == "2023-11-14T22-13-20"
    two = [new_file(tmp_path, "x", ".part") for _ in range(2)]
    assert [path.name for path, _ in two] == ["x.part", "x-1.part"]
    for _, file in two:
        file.close()


def test_a_file_ends_by_records_by_bytes_and_by_age(tmp_path: Path) -> None:
    by_records = rotating(tmp_path, records=3)
    write(by_records, count=2)
    assert not by_records.is_full(BEGIN)
    write(by_records, first=3)
    assert by_records.is_full(BEGIN)
    by_bytes = rotating(tmp_path, bytes=2000)
    write(by_bytes)
    assert not by_bytes.is_full(BEGIN)
    by_bytes.write((1, 0, encode(a_machine(names=("A", os.urandom(100).hex())))), 0)
    for number in range(40):
        by_bytes.write((1, 0, encode(a_machine(names=("A", f"{number}{os.urandom(100).hex()}")))), 0)
        by_bytes.flush()
    assert by_bytes.is_full(BEGIN)
    by_age = rotating(tmp_path, seconds=60)
    assert not by_age.is_full(BEGIN + 99 * SECOND)
    by_age.begin(BEGIN, KNOWN)
    assert not by_age.is_full(BEGIN + 99 * SECOND)
    write(by_age)
    assert not by_age.is_full(BEGIN + 59 * SECOND)
    assert by_age.is_full(BEGIN + 60 * SECOND)
    for dumps in (by_records, by_bytes, by_age):
        dumps.abandon()


def test_the_oldest_files_go(tmp_path: Path) -> None:
    foreign = ["other-2023-11-14T22-13-20.amdbg", "dump-notes.amdbg", "dump-2023-11-14T22-13-20.txt"]
    for name in foreign:
        (tmp_path / name).touch()
    left_behind = tmp_path / "dump-2020-01-01T00-00-00.amdbg.part"
    left_behind.touch()
    os.utime(left_behind, (1, 1))
    dumps = rotating(tmp_path, keep_files=3)
    made = []
    for minute in range(5):
        write(dumps, BEGIN + minute * 60 * SECOND)
        path = dumps.finish(BEGIN + minute * 60 * SECOND)
        assert path is not None
        os.utime(path, (100 + minute, 100 + minute))
        made.append(path.name)
    assert names(tmp_path) == sorted([*foreign, *made[2:]])
    assert [path.name for path in dumps.kept()] == made[2:]


def test_two_recorders_share_a_folder_and_a_name(tmp_path: Path) -> None:
    """The file that one of them is writing is nothing that the other may delete, however few it keeps."""
    one, other = rotating(tmp_path, keep_files=1), rotating(tmp_path, keep_files=1)
    write(one)
    write(other)
    first = other.finish(BEGIN)
    assert len(names(tmp_path)) == 2
    assert one.kept() == other.kept() == [first]
    second = one.finish(BEGIN + SECOND)
    assert second is not None
    assert names(tmp_path) == [second.name]
    assert [machine.transitions for machine in dbg.summary(second).machines] == [1]


def test_what_another_recorder_deletes_meanwhile_is_gone_and_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dumps, unlink = rotating(tmp_path, keep_files=1), Path.unlink
    write(dumps)
    dumps.finish(BEGIN)
    write(dumps)
    monkeypatch.setattr(Path, "unlink", lambda path, **how: (unlink(path), unlink(path, **how)))
    path = dumps.finish(BEGIN + SECOND)
    assert path is not None
    assert names(tmp_path) == [path.name]


def test_what_cannot_be_deleted_is_told_and_the_next_oldest_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dumps, unlink = rotating(tmp_path, keep_files=2), Path.unlink
    made: list[Path] = []

    def refused(path: Path, *, missing_ok: bool = False) -> None:
        if path == made[0]:
            raise PermissionError(errno.EACCES, "not yours")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)
    for second in range(3):
        write(dumps)
        path = dumps.finish(BEGIN + second * SECOND)
        assert path is not None
        os.utime(path, (100 + second, 100 + second))
        made.append(path)
    assert names(tmp_path) == [made[0].name, made[2].name]
    assert f"{made[0]} cannot be deleted: [Errno {errno.EACCES}] not yours" in caplog.text


def test_a_file_that_has_gone_leaves_no_empty_one_under_its_name(tmp_path: Path) -> None:
    dumps = rotating(tmp_path)
    write(dumps)
    (part,) = tmp_path.iterdir()
    part.unlink()
    with pytest.raises(FileNotFoundError):
        dumps.finish(BEGIN)
    assert names(tmp_path) == []
    assert not dumps.is_open


def test_a_file_that_is_deleted_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted: list[Path] = []

    def late(file: int) -> None:
        if not deleted:
            deleted.extend(tmp_path.iterdir())
            deleted[0].unlink()
        hold(file)

    monkeypatch.setattr(module, "hold", late)
    dumps = rotating(tmp_path)
    write(dumps)
    assert len(deleted) == 1
    assert dumps.finish(BEGIN) is not None


def test_files_go_by_their_bytes_but_the_newest_stays(tmp_path: Path) -> None:
    dumps = rotating(tmp_path, keep_bytes=1)
    made = []
    for minute in range(2):
        write(dumps, BEGIN + minute * 60 * SECOND)
        made.append(dumps.finish(BEGIN + minute * 60 * SECOND))
    assert list(tmp_path.iterdir()) == made[1:]


@pytest.mark.parametrize("base", ["", "../x", "a/b", ".hidden", "a b", "x" * 129])
def test_a_base_name_is_a_name(base: str, tmp_path: Path) -> None:
    with pytest.raises(dbg.DbgError, match="cannot be called"):
        RotatingDumps(tmp_path, base)


def test_a_single_file_replaces_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "my demo.amdbg"
    for count in (1, 2):
        dumps = SingleDump(path)
        write(dumps, count=count)
        assert not dumps.is_full(BEGIN * 2)
        assert dumps.finish(BEGIN) == path
        assert [machine.transitions for machine in dbg.summary(path).machines] == [count]
    assert names(tmp_path) == [path.name]


def test_trying_leaves_nothing_behind(tmp_path: Path) -> None:
    rotating(tmp_path / "new" / "newer").try_out()
    rotating(tmp_path).try_out()
    assert names(tmp_path) == []
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "new"):
        with pytest.raises(NotADirectoryError):
            rotating(folder).try_out()


def test_folders_of_a_trial_that_fails_go_as_well(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long"):
        SingleDump(tmp_path / "new" / ("x" * 300) / "x.amdbg").try_out()
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_an_error_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        write(rotating(tmp_path / "file"))
