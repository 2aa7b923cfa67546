"""`am`: which commands there are, and how they end."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import asyncmachine as am
from asyncmachine_tools import main as tool
from asyncmachine_tools.main import commands, main

PLAIN = "tests.tools.commands:{}"


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only commands of these tests."""
    found = {
        name: EntryPoint(name, f"tests.tools.commands:{name}", tool.GROUP)
        for name in ("fine", "failing", "refusing", "interrupted", "absent")
    }
    found["broken"] = EntryPoint("broken", "tests.tools.no_such_module:configure", tool.GROUP)
    monkeypatch.setattr(tool, "commands", lambda: found)


def test_the_projects_commands_are_there() -> None:
    assert {"dbg", "relay"} <= set(commands())


def test_help_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    for asking in (["--help"], ["-h"]):
        assert main(asking) == 0
        out = capsys.readouterr().out
        assert "  dbg    Look into recorded debug streams" in out
        assert "  relay  Serve pages and carry their tunnels" in out


@pytest.mark.usefixtures("own")
def test_help_says_of_a_command_why_it_cannot_be_called(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "  broken       (needs the package tests.tools.no_such_module)\n" in out
    assert "  absent       (cannot be loaded: module 'tests.tools.commands' has no attribute 'absent')\n" in out


def test_nothing_is_bad_use_and_shows_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: am" in capsys.readouterr().err


def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rellay"]) == 2
    said = capsys.readouterr().err
    assert "there is no command 'rellay'; commands: " in said
    assert ", relay" in said


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["relay", "foo"], "am relay: there is no command 'foo'; commands: wasm, rotate-dbg, check\n"),
        (["dbg", "list", "x"], "am dbg: there is no command 'list'; commands: ls\n"),
        (["new", "worker", "x"], "am new: there is no kind 'worker'; kinds: app\n"),
    ],
)
def test_so_is_one_of_a_command(given: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(given)
    assert end.value.code == 2
    assert capsys.readouterr().err == says


def test_other_choices_are_told_with_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["relay", "wasm", "--log", "xml"])
    assert "usage: am relay wasm" in capsys.readouterr().err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert am.__version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    "command", [["relay"], ["dbg"], ["relay", "wasm"], ["relay", "check"], ["relay", "rotate-dbg"]]
)
def test_every_command_has_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([*command, "--help"], ["--help", *command[:1]]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
        assert f"usage: am {command[0]}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command", [["relay"], ["dbg"], ["relay", "check"], ["dbg", "ls"], ["relay", "wasm", "--nope"]]
)
def test_bad_use_is_2(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(command)
    assert end.value.code == 2
    assert "usage: am" in capsys.readouterr().err


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(("name", "code"), [("fine", 7), ("failing", 1), ("refusing", 1), ("interrupted", 130)])
def test_exit_codes(name: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--size", "7"]) == code
    if name in {"failing", "refusing"}:
        assert f"am {name}: it cannot be" in capsys.readouterr().err


@pytest.mark.usefixtures("own")
def test_a_command_whose_package_is_not_installed_says_how_to_get_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["broken"]) == 1
    assert "am broken: the package tests.tools.no_such_module is missing: pip install" in capsys.readouterr().err


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from importlib.metadata import EntryPoint\n"
        "from asyncmachine_tools import main\n"
        "found = EntryPoint('endless', 'tests.tools.commands:endless', 'x')\n"
        "sys.exit(main.run('endless', found, []))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"more\n"
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_it_is_a_program_in_both_forms() -> None:
    for command in ([sys.executable, "-m", "asyncmachine_tools"], [str(Path(sys.executable).parent / "am")]):
        found = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
        assert "usage: am" in found.stdout
