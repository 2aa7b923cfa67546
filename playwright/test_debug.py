"""What a page tells of itself: its log, and to its server's recorder what its machines do, if its address says so."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.web.browser import Mishaps, open_python, run, wait_for_python

WATCH = """
from asyncmachine_web.page import debug
machine = am.Machine({"A": {}}, id="told")
watched = debug.watch(machine)
json.dumps([debug.asked(), watched is not None, debug.env()])
"""


def test_a_page_that_is_not_asked_tells_nobody(python: Page) -> None:
    sockets: list[str] = []
    python.on("websocket", lambda socket: sockets.append(socket.url))
    assert run(python, WATCH) == [False, False, {}]
    assert not sockets


def test_a_page_opened_with_dbg_1_streams_to_its_own_server(page: Page, mishaps: Mishaps) -> None:
    """This server does not record, and there is one error of the browser's own and one clear word."""
    mishaps.expect("WebSocket connection|dbg.ws: nobody records there .*: the page's own server has to")
    page.clock.install()
    page.goto("/pages/python.html?dbg=1")
    wait_for_python(page)
    with page.expect_websocket() as found:
        assert run(page, WATCH) == [True, True, {"AM_DBG_ADDR": "/dbg.ws"}]
    assert found.value.url == page.evaluate("location.origin").replace("http", "ws") + "/dbg.ws"
    mishaps.wait_until_told(page, "nobody records there")
    page.clock.run_for(10_000)
    assert len(mishaps.seen) == 2


def test_each_record_of_the_log_is_one_message_of_the_console(shared: Page, mishaps: Mishaps) -> None:
    mishaps.expect("^console (error|warning): log ")
    run(
        shared,
        """
        import logging
        logger = logging.getLogger("my_app")
        logger.info("log of no interest")
        logger.warning("log one")
        try:
            1 / 0
        except ZeroDivisionError:
            logger.exception("log two")
        None
        """,
    )
    warning, error = mishaps.seen
    assert warning == "console warning: log one"
    assert error.startswith("console error: log two\nTraceback (most recent call last):\n")
    assert error.endswith("\nZeroDivisionError: division by zero")


@pytest.mark.parametrize(
    ("title", "program"),
    [("Prices", "Prices"), (" in / out ", "in - out"), ("", "python.html")],
)
def test_a_page_is_known_to_debuggers_by_its_title_or_else_its_address(page: Page, title: str, program: str) -> None:
    page.add_init_script(f"addEventListener('DOMContentLoaded', () => {{ document.title = {title!r}; }})")
    open_python(page)
    known = "from asyncmachine.telemetry.dbg.sender import this_process; json.dumps(this_process().program)"
    assert run(page, known) == program


def test_a_link_cannot_send_the_stream_elsewhere(page: Page) -> None:
    page.goto("/pages/python.html?dbg=ws://example.org/dbg.ws")
    wait_for_python(page)
    assert run(page, WATCH) == [False, False, {}]


def test_a_worker_hands_what_it_was_told_on_to_its_own(python: Page) -> None:
    told = run(
        python,
        """
        import os
        from asyncmachine_web.page import debug
        os.environ["AM_DBG_ADDR"] = "/dbg.ws"
        found = debug.env()
        del os.environ["AM_DBG_ADDR"]
        json.dumps(found)
        """,
    )
    assert told == {"AM_DBG_ADDR": "/dbg.ws"}
