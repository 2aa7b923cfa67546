"""A page goes into the back/forward cache and comes back, with its Python, its workers and its tunnels."""

from __future__ import annotations

from playwright.sync_api import Page

from tests.web.browser import come_back, open_python, run, wait_for_python


def away_and_back(page: Page) -> None:
    page.goto("/pages/blank.html")
    come_back(page)
    page.wait_for_selector("#python", state="attached")


def test_python_workers_and_tunnels_outlive_the_cache(caching: Page) -> None:
    open_python(caching)
    run(
        caching,
        """
        from asyncmachine_web.page.lifecycle import lifecycle
        page, states = lifecycle(), []
        page.machine.bind({"AnyState": lambda e: states.append(sorted(e.machine.active_states()))})
        worker = Worker.fork("w1", "workload:echo")
        port = await worker.dial()
        assert await ask(port, b"before") == "w1 before"
        tunnel = relay.dial("browser1", "echo")
        first = await tunnel()
        assert await ask(first, b"before") == "browser1 before"
        closed = asyncio.create_task(first.recv())
        kept = 42
        None
        """,
    )
    away_and_back(caching)
    told = run(
        caching,
        """
        try:
            await closed
        except TransportClosed as error:
            reason = str(error)
        again = await ask(await tunnel(), b"after")
        gone = next(s for s in states if "Cached" in s)
        json.dumps([kept, reason, again, await ask(port, b"after"), gone, "Leaving" in page.machine])
        """,
    )
    gone = ["Cached", "Leaving", "Online", "Visible"]
    assert told[:4] == [42, "closed with 1000 (the page was left)", "browser1 after", "w1 after"]
    assert set(gone) - {"Visible"} <= set(told[4])
    assert told[5] is False


def test_a_page_that_is_loaded_anew_begins_anew(python: Page) -> None:
    run(python, "kept = 42; None")
    python.reload()
    wait_for_python(python)
    assert run(python, "json.dumps('kept' in globals())") is False


def test_a_computer_that_slept_wakes_connections(python: Page) -> None:
    """The clock jumps while the page is visible, and its timers did not run."""
    python.clock.install()
    open_python(python)
    run(
        python,
        """
        from asyncmachine_web.page.lifecycle import lifecycle
        woken = []
        lifecycle().on_wake(lambda: woken.append(1))
        None
        """,
    )
    python.clock.fast_forward(10_000)
    assert run(python, "json.dumps(len(woken))") == 0
    python.clock.fast_forward(3_600_000)
    assert run(python, "json.dumps(len(woken))") == 1
