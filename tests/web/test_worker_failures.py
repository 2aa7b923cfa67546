"""How the failure of a worker is told, without a browser."""

from __future__ import annotations

import traceback

import pytest

from asyncmachine_web.page.workers import WorkerFailed

TRACE = """Traceback (most recent call last):
  File "/app/workers.py", line 7, in prepare
    main = main_function(given.main)
AttributeError: module 'my_app.worker' has no attribute 'mian'
"""
SLIP = """Traceback (most recent call last):
  File "/app/workers.py", line 7, in prepare
  File "worker.py", line 3
    x = =
        ^
SyntaxError: invalid syntax
"""


@pytest.mark.parametrize(
    ("code", "message", "told"),
    [
        ("AttributeError", TRACE, "AttributeError: module 'my_app.worker' has no attribute 'mian'"),
        ("SyntaxError", SLIP, "SyntaxError: invalid syntax (worker.py, line 3)"),
        ("Lost", "Traceback (most recent call last):\nshop.errors.Lost: gone\n", "shop.errors.Lost: gone"),
        ("SILENT", "no sign of life for 2 s", "SILENT: no sign of life for 2 s"),
    ],
)
def test_the_failure_of_a_worker_is_one_line_for_people(code: str, message: str, told: str) -> None:
    assert str(WorkerFailed("primes", code, message)) == f"worker 'primes' failed: {told}"


def test_its_traceback_is_there_for_the_console() -> None:
    error = WorkerFailed("primes", "AttributeError", TRACE)
    assert error.trace == f"worker 'primes' failed: AttributeError: {TRACE.rstrip()}"
    assert TRACE.rstrip() in "".join(traceback.format_exception(error)), "also where nobody asks for it"
