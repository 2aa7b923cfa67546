"""What a page tells when its own main fails: the error, what helps, and whether loading the page anew may."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine_web.page import mains

WRITTEN = 'it is "main" in the page\'s settings (#asyncmachine)'
LEFT_OUT = 'is not part of the page: "leave_out" in pyproject.toml leaves it out, or it is not there'

SOURCES = {
    "__init__": "",
    "page": "def main():\n    ran.append(1)\n\nran = []",
    "left": "from .backend import Backend",
    "from_it": "from my_shop import backend",
    "name_of_module": "from my_shop.page import nothing",
    "other": "import numpy_of_nobody",
    "written_wrong": "def main():\n    return (",
    "network": "def main():\n    raise ConnectionError('cut')",
    "file": "def main():\n    open('/nowhere')",
    "leaves": "import sys\n\ndef main():\n    sys.exit(3)",
}


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package `my_shop`."""
    folder = tmp_path / "my_shop"
    folder.mkdir()
    for name, text in SOURCES.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_shop"]:
        monkeypatch.delitem(sys.modules, name)


def told(main: str) -> tuple[str, bool]:
    """What it failed by, which is raised too."""
    all_told: list[tuple[str, bool]] = []
    with pytest.raises(BaseException):  # noqa: B017 (what it is, is told)
        mains.run(main, lambda *told: all_told.append(told))
    ((text, again),) = all_told
    start = f"{main or 'the page'} failed: "
    assert text.startswith(start)
    return text.removeprefix(start), again


def test_a_main_is_run_and_nothing_is_told() -> None:
    assert mains.run("my_shop.page:main", lambda *told: pytest.fail(str(told))) is None
    assert sys.modules["my_shop.page"].ran == [1]


@pytest.mark.parametrize(
    ("main", "why"),
    [
        ("my_shop.page:mian", f"there is no mian in it; did you mean main? {WRITTEN}"),
        ("my_shop.page:xyz", f"there is no xyz in it; {WRITTEN}"),
        ("", 'there is no "main" in its settings (#asyncmachine); write "package.module:function"'),
        (
            "my_shop.pgae:main",
            f"ModuleNotFoundError: No module named 'my_shop.pgae'. my_shop.pgae {LEFT_OUT}; {WRITTEN}",
        ),
        (
            "my_shop.left:main",
            f"ModuleNotFoundError: No module named 'my_shop.backend'. my_shop.backend {LEFT_OUT}",
        ),
        (
            "my_shop.other:main",
            f"ModuleNotFoundError: No module named 'numpy_of_nobody'. {mains.OTHERS}",
        ),
        ("my_shop.leaves:main", "SystemExit: 3"),
    ],
)
def test_a_mistake_is_told_with_what_helps(main: str, why: str) -> None:
    """A reload is not among it."""
    assert told(main) == (why, False)


@pytest.mark.parametrize(
    ("module", "name", "helps"), [("from_it", "backend", True), ("name_of_module", "nothing", False)]
)
def test_a_package_without_the_module_that_is_taken_from_it(module: str, name: str, helps: bool) -> None:
    with pytest.raises(ImportError) as caught:
        importlib.import_module(f"my_shop.{module}")
    vars(caught.value)["name_from"] = name  # Python 3.11 does not tell
    text = mains.why(caught.value, f"my_shop.{module}:main")
    assert text.startswith(f"ImportError: cannot import name '{name}' from 'my_shop")
    assert text.endswith(f"). my_shop.{name} {LEFT_OUT}") is helps


def test_what_is_no_python_is_told_with_its_place() -> None:
    text, again = told("my_shop.written_wrong:main")
    assert text.startswith("SyntaxError: '(' was never closed (")
    assert text.endswith("my_shop/written_wrong.py, line 2)")
    assert not again


def test_what_may_pass_is_told_to_be_tried_again() -> None:
    assert told("my_shop.network:main") == ("ConnectionError: cut", True)
    text, again = told("my_shop.file:main")
    assert "FileNotFoundError" in text
    assert not again


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (TimeoutError(), True),
        (am.WaitTimeout("no answer"), True),
        (rpc.TransportClosed(1006, "cut"), True),
        (rpc.NotConnected("cut"), True),
        (am.StateMissing(["Opne"], "shop", ["Open"]), False),
        (am.SchemaError("it changed"), False),
        (ValueError(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_mistakes_do_not_pass(error: BaseException, passes: bool) -> None:
    assert mains.may_pass(error) is passes
