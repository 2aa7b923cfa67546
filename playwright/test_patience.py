"""How long a parent waits for its worker, counted in its beats: a slow computer changes none of that."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route

from tests.web.browser import Mishaps, open_python, run, without_isolation

BEAT = 250
"""Milliseconds between two looks of a parent at its worker, `supervision`."""


def open_still(page: Page, main: str = "stand_still") -> None:
    """A worker that has just given a sign of life, in a page whose clock stood still before it started."""
    page.clock.install()
    open_python(page)
    page.clock.pause_at(page.evaluate("Date.now() + 1000"))
    run(page, f"""worker = Worker.fork("w1", "workload:{main}"); port = await worker.dial(); None""")
    hear(page)


def hear(page: Page) -> None:
    """A beat, and a sign of life for which the next one waits, however long the worker takes."""
    page.clock.run_for(BEAT)
    while page.evaluate("unanswered()"):
        page.wait_for_timeout(10)


def beats_until_dead(page: Page) -> int:
    """From when it is stuck on."""
    run(page, """await port.send(b"go"); await port.recv(); None""")
    beats = 0
    while run(page, "json.dumps('Ready' in worker.machine)"):
        page.clock.run_for(BEAT)
        beats += 1
    return beats


@pytest.mark.parametrize(("isolated", "beats"), [(True, 10), (False, 7)])
def test_a_worker_that_is_stuck_for_good_is_ended_in_time_for_a_successor(
    interruptible: Page, isolated: bool, beats: int, mishaps: Mishaps
) -> None:
    """Where pages are isolated, it is first told to come to itself. The successor has what is left of three seconds."""
    mishaps.expect("worker 'w1' failed: SILENT")
    page = interruptible
    if not isolated:
        page.context.route("**/python.html", without_isolation)
    open_still(page)
    assert beats_until_dead(page) == beats
    assert run(page, "json.dumps([worker.machine.err.code, str(worker.machine.err)])") == [
        "SILENT",
        f"worker 'w1' failed: SILENT: no sign of life for {beats * BEAT / 1000:g} s",
    ]


NOTED = """
    window.told = [];
    window.Worker = class extends Worker {
        constructor(url, options) {
            super(url, options);
            this.label = options.name;
            told.push(`${this.label} starts`);
        }
        postMessage(message, ...rest) {
            super.postMessage(message, ...rest);
            if (message.type === "RUN") told.push(`${this.label} gets an order`);
        }
        terminate() {
            super.terminate();
            told.push(`${this.label} ends`);
        }
    };
"""


@pytest.mark.parametrize(("patience", "beats"), [(1.5, 10), (10, 61)])
def test_a_successor_starts_before_a_stuck_worker_is_dead(
    interruptible: Page, patience: float, beats: int, mishaps: Mishaps
) -> None:
    """And is kept until then, also by who has much patience."""
    mishaps.expect("worker 'w1' failed: SILENT")
    page = interruptible
    page.add_init_script(NOTED)
    open_still(page)
    run(page, f"worker.patience = {patience}; None")
    hear(page)
    assert beats_until_dead(page) == beats
    run(page, "worker.restart(); await worker.dial(); None")
    assert page.evaluate("told") == [
        "w1 starts",
        "w1 gets an order",
        "spare 0 starts",
        "w1 ends",
        "spare 0 gets an order",
    ]


UNASKED = """() => {
    const { postMessage } = Worker.prototype;
    Worker.prototype.postMessage = function (message, ...rest) {
        if (message.type !== "PING") postMessage.call(this, message, ...rest);
    };
}"""


def test_a_successor_that_nobody_needs_is_let_go(interruptible: Page) -> None:
    page = interruptible
    page.add_init_script(NOTED)
    open_still(page)
    run(page, """await port.send(b"go"); await port.recv(); None""")
    while "spare 0 starts" not in page.evaluate("told"):
        page.clock.run_for(BEAT)
    run(page, "worker.terminate(); None")
    page.clock.run_for(5_000)
    assert page.evaluate("told")[2:] == ["spare 0 starts", "w1 ends", "spare 0 ends"]


def test_a_worker_that_takes_long_to_start_gets_no_second_one_beside_it(interruptible: Page) -> None:
    """As on a slow computer: nothing is heard of it for most of a minute."""
    page = interruptible
    page.add_init_script(NOTED)
    page.clock.install()
    open_python(page)
    held: list[Route] = []
    page.context.route("**/sources.zip", lambda route: held.append(route))
    page.evaluate(UNASKED)
    run(page, """worker = Worker.fork("w1", "workload:echo"); None""")
    while not held:
        page.wait_for_timeout(10)
    page.clock.run_for(50_000)
    held[0].continue_()
    run(page, "await worker.dial(); None")
    assert page.evaluate("told") == ["w1 starts", "w1 gets an order"]


def test_an_error_that_says_where_is_waited_for_while_python_does_not_look(
    interruptible: Page, mishaps: Mishaps
) -> None:
    """As on a slow computer."""
    mishaps.expect("^console error: worker 'w1' failed")
    page = interruptible
    open_still(page, "hang_late")
    run(page, """await port.send(b"go"); await port.recv(); None""")
    page.clock.run_for(9 * BEAT)  # the error comes with the seventh
    told = run(page, "json.dumps([await worker.ended(), worker.machine.err.code, worker.machine.err.trace])")
    assert told[:2] == ["failed", "HandlerDeadline"]
    assert "in hang_late" in told[2]


def test_an_error_that_says_where_is_waited_for_while_an_import_on_its_way_is_downloaded(
    interruptible: Page, mishaps: Mishaps
) -> None:
    """The download has no end before a minute of beats is nearly over."""
    mishaps.expect("^console error: worker 'w1' failed")
    page = interruptible
    open_still(page, "hang_and_import")
    held: list[Route] = []
    page.context.route("**/python_stdlib.zip", lambda route: held.append(route))
    run(page, """await port.send(b"go"); await port.recv(); None""")
    page.clock.run_for(7 * BEAT)  # with the last of them comes the error
    while not held:
        page.wait_for_timeout(10)
    page.clock.run_for(55_000)
    held[0].continue_()
    told = run(page, "json.dumps([await worker.ended(), worker.machine.err.code, worker.machine.err.trace])")
    assert told[:2] == ["failed", "HandlerDeadline"]
    assert "in hang_and_import" in told[2]


def test_patience_may_be_set_while_a_worker_runs(interruptible: Page, mishaps: Mishaps) -> None:
    mishaps.expect("worker 'w1' failed: ")
    page = interruptible
    open_still(page)
    run(page, "worker.patience = 0.5; None")
    hear(page)
    assert beats_until_dead(page) == 4
    run(page, "worker.restart(); port = await worker.dial(); None")
    hear(page)
    assert run(page, "json.dumps(worker.patience)") == 0.5
    assert beats_until_dead(page) == 4, "the next one is treated as this one"
