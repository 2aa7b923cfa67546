"""Programs run out of sight, show that they live, and are shown when they fail."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

import pytest

from scripts import console


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_success_says_nothing(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    console.run(python("print('noise')"), "work", cwd=tmp_path)
    assert capfd.readouterr() == ("", "")


def test_failure_shows_the_end_of_the_output(tmp_path: Path) -> None:
    with pytest.raises(console.SetupError) as caught:
        console.run(python("import sys; print('x' * 9000); print('the reason'); sys.exit(3)"), "work", cwd=tmp_path)
    assert str(caught.value).startswith("work failed (")
    assert "exit 3" in str(caught.value)
    assert str(caught.value).endswith("the reason")
    assert len(str(caught.value)) < 2 * console.TAIL_BYTES


def test_environment_and_folder_are_handed_on(tmp_path: Path) -> None:
    code = "import os, pathlib; pathlib.Path('seen').write_text(os.environ['MARK'])"
    console.run(python(code), "work", cwd=tmp_path, env={"MARK": "here"})
    assert (tmp_path / "seen").read_text() == "here"


def test_a_long_step_shows_its_last_line(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(console, "RENEW_LOG", 0.01)
    # The program goes on until a line of progress has been seen.
    show = console.show
    seen: list[str] = []

    def watched(label: str, seconds: float, detail: str, *, terminal: bool) -> None:
        seen.append(detail)
        show(label, seconds, detail, terminal=terminal)
        if detail:
            (tmp_path / "go").touch()

    monkeypatch.setattr(console, "show", watched)
    code = "import os\nprint('first\\nfetching parts', flush=True)\nwhile not os.path.exists('go'): pass"
    console.run(python(code), "work", cwd=tmp_path)
    assert seen[-1] == "fetching parts"
    assert "  work: 0 s  fetching parts\n" in capfd.readouterr().err


def test_an_interrupt_ends_the_program_and_what_it_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A pipe that only the grandchild writes to is at its end when that one is gone."""
    os.mkfifo(tmp_path / "pipe")
    with ExitStack() as stack:

        def interrupted(program: subprocess.Popen[bytes], label: str, log: int) -> None:
            seen.append(program)
            pipes.append(stack.enter_context((tmp_path / "pipe").open()))
            assert pipes[0].readline() == "up\n"
            raise KeyboardInterrupt

        seen: list[subprocess.Popen[bytes]] = []
        pipes: list[TextIO] = []
        monkeypatch.setattr(console, "watch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            console.run(["sh", "-c", "(echo up; exec sleep 600) > pipe; true"], "work", cwd=tmp_path)
        assert seen[0].poll() is not None
        assert pipes[0].read() == ""
