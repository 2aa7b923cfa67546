"""What is done is not done again; what failed or was interrupted is."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.console import SetupError
from scripts.step import STAMP, Step, disk_use, hash_files, hash_of, megabytes, perform, replace_text


class Work:
    """A step that counts its runs."""

    def __init__(self, home: Path) -> None:
        self.home, self.hash, self.runs, self.fails = home, "a", 0, False

    def step(self) -> Step:
        return Step("work", self.home, lambda: self.hash, self.run)

    def run(self) -> None:
        self.runs += 1
        self.home.mkdir(exist_ok=True)
        (self.home / f"part{self.runs}").write_bytes(b"x" * 5000)
        if self.fails:
            raise SetupError("no")


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path / "home")


def test_the_second_run_does_nothing(work: Work, capfd: pytest.CaptureFixture[str]) -> None:
    assert perform(work.step())
    assert "▸ work" in capfd.readouterr().err
    assert not perform(work.step())
    assert work.runs == 1
    assert capfd.readouterr().err == ""


def test_other_inputs_make_it_due(work: Work) -> None:
    perform(work.step())
    work.hash = "b"
    perform(work.step())
    perform(work.step())
    assert work.runs == 2


@pytest.mark.parametrize("done_before", [False, True])
def test_a_failed_run_is_done_again(work: Work, done_before: bool) -> None:
    if done_before:
        perform(work.step())
    work.hash, work.fails = "b", True
    with pytest.raises(SetupError):
        perform(work.step())
    assert not (work.home / STAMP).exists()
    # Even if the inputs go back to what they were: the folder is in between.
    work.hash, work.fails = "a", False
    perform(work.step())
    assert work.runs == 2 + done_before


@pytest.mark.parametrize("content", ["", "b", "a "])
def test_a_damaged_stamp_makes_it_due(work: Work, content: str) -> None:
    perform(work.step())
    (work.home / STAMP).write_text(content)
    perform(work.step())
    assert work.runs == 2


def test_a_removed_folder_makes_it_due(work: Work) -> None:
    perform(work.step())
    for path in work.home.iterdir():
        path.unlink()
    work.home.rmdir()
    perform(work.step())
    assert work.runs == 2


def test_hashes_keep_parts_apart() -> None:
    assert hash_of("ab", "c") != hash_of("a", "bc")
    assert hash_of("a") != hash_of("a", "")


def test_hashes_of_files_see_names_and_contents(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    before = hash_files(tmp_path, [one, two])
    assert before == hash_files(tmp_path, [two, one])
    one.write_text("2")
    two.write_text("1")
    assert before != hash_files(tmp_path, [one, two])


def test_a_text_takes_its_place_in_one_move(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    replace_text(target, "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert target.read_text() == "new"


def test_sizes_are_for_people(tmp_path: Path) -> None:
    assert (megabytes(355_000_000), megabytes(1_250_000)) == ("355 MB", "1.2 MB")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").write_bytes(b"x" * 5000)
    assert 5000 <= disk_use(tmp_path) < 50_000
