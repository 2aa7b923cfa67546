"""Pools of workers in real Chromium: typed calls, large buffers, and workers that fail, die or get stuck."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.web.browser import Mishaps, open_python, run, without_isolation

OPEN = """
import math, time
import jobs
from asyncmachine_web.page.calls import CallFailed
from asyncmachine_web.page.pool import Pool

async def outcome(awaitable):
    try:
        return await awaitable
    except (am.AmError, asyncio.CancelledError) as error:
        return [type(error).__name__, getattr(error, "kind", getattr(error, "code", "")), str(error)]

def busy():
    # the worker that runs a call
    return next(member.worker for member in pool._members if member.call is not None)

pool = Pool(2)
await pool.machine.when("Ready")
None
"""


@pytest.fixture
def pool(shared: Page) -> Page:
    """A page with a pool of two free workers: the one that the test before left, unless the page or the pool is new."""
    if not run(shared, "json.dumps('pool' in globals())"):
        run(shared, OPEN)
        run(shared, "_before.update(globals()); None")
    run(shared, "await asyncio.gather(*(worker.machine.when('Ready') for worker in pool.workers)); None")
    return shared


@pytest.fixture
def own_pool(shared: Page) -> Iterator[Page]:
    """A page with a pool that this test is the first and the last to use."""
    run(shared, "pool.close() if 'pool' in globals() else None; None")
    run(shared, OPEN)
    yield shared
    run(shared, "pool.close(); del pool; None")


def test_calls_run_side_by_side_and_wait_for_a_worker(own_pool: Page) -> None:
    told = run(
        own_pool,
        """
        import hashlib
        calls = [asyncio.create_task(pool.run(jobs.later, 0.02, str(number))) for number in range(4)]
        await asyncio.sleep(0)
        full = pool.machine.active_states()
        results = await asyncio.gather(*calls)
        once = await pool.run(jobs.digest, b"x")
        named = await pool.run(jobs.digest, data=b"x", rounds=2)
        json.dumps([results, full, pool.machine.active_states(), named == hashlib.sha256(once).digest()])
        """,
    )
    results, full, after, named = told
    assert results == ["0", "1", "2", "3"]
    assert "Full" in full
    assert after == ["Ready"]
    assert named is True


def test_values_arrive_as_they_are(pool: Page) -> None:
    told = run(
        pool,
        """
        values = jobs.Values(2**53 + 1, math.inf, bytes(range(256)), {1, 2}, None, "ä\U0001f600" * 500_000, (1, "x"),
                             {"a": [1], "": []})
        same = await pool.run(jobs.same, values)
        nan = await pool.run(jobs.same, jobs.Values(-2**63, math.nan, b"", set(), None, "", (0, ""), {}))
        json.dumps([same == values, type(same).__name__, math.isnan(nan.real), nan.whole == -2**63])
        """,
    )
    assert told == [True, "Values", True, True]


def test_a_large_buffer_goes_there_and_back(pool: Page) -> None:
    told = run(
        pool,
        """
        data = bytes(range(256)) * 80_000
        json.dumps(await pool.run(jobs.backwards, data) == data[::-1])
        """,
    )
    assert told is True


POSTED = """() => {
    const post = MessagePort.prototype.postMessage;
    window.posted = [];
    MessagePort.prototype.postMessage = function (message, ...rest) {
        const size = message?.byteLength;
        post.call(this, message, ...rest);
        if (size) posted.push([size, message.buffer.detached]);
    };
    window.unwatch = () => { MessagePort.prototype.postMessage = post; };
}"""


def test_a_large_buffer_is_handed_over_and_a_small_one_is_copied(pool: Page) -> None:
    pool.evaluate(POSTED)
    run(pool, "await pool.run(jobs.backwards, bytes(1 << 20)); await pool.run(jobs.backwards, bytes(100)); None")
    (large, handed_over), (small, copied_away) = pool.evaluate("posted")
    pool.evaluate("unwatch()")
    assert (large > 1 << 20, handed_over) == (True, True), "the sender has it no more"
    assert (small < 1000, copied_away) == (True, False)


def test_what_cannot_go_over_is_the_callers_error(pool: Page) -> None:
    wanted = {
        "jobs.digest, 'text'": "Expected `bytes`, got `str`",
        "jobs.digest, b'', 1, 2": "too many positional arguments",
        "jobs.digest": "missing a required argument",
        "jobs.same, jobs.Values(2**64, 0.0, b'', set(), None, '', (1, ''), {})": "64",
        "jobs.same, jobs.Values(1, 'no', b'', set(), None, '', (1, ''), {})": "Expected `float`, got `str`",
        "jobs.anything, object()": "object",
        "jobs.silent, 1": "does not annotate return",
        "lambda: None": "no function of a module",
        "outcome, None": "no function of a module",
    }
    calls = ", ".join(f"await outcome(pool.run({call}))" for call in wanted)
    for (kind, _, text), message in zip(run(pool, f"json.dumps([{calls}])"), wanted.values(), strict=True):
        assert kind == "InvalidArgs"
        assert message in text


def test_what_the_function_raises_is_told(pool: Page) -> None:
    failed, lied = run(
        pool,
        "json.dumps([await outcome(pool.run(jobs.fail, 'nothing there')), await outcome(pool.run(jobs.lie))])",
    )
    assert failed[:2] == ["CallFailed", "KeyError"]
    assert "in fail" in failed[2]
    assert "nothing there" in failed[2]
    assert lied[:2] == ["CallFailed", "InvalidArgs"]
    assert "Expected `int`, got `str`" in lied[2]


def test_cancelling_frees_the_worker(pool: Page) -> None:
    told = run(
        pool,
        """
        tasks = [asyncio.create_task(pool.run(jobs.never)) for _ in range(3)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        early = [asyncio.create_task(pool.run(jobs.never)) for _ in range(2)]
        await asyncio.sleep(0)
        for task in early:
            task.cancel()
        cancelled = all(task.cancelled() for task in tasks)
        json.dumps([cancelled, *[await pool.run(jobs.later, 0.0, "free") for _ in range(4)]])
        """,
    )
    assert told == [True, *["free"] * 4]


def test_a_terminated_worker_is_replaced(pool: Page) -> None:
    told = run(
        pool,
        """
        lost = asyncio.create_task(outcome(pool.run(jobs.never)))
        await asyncio.sleep(0.05)
        machine = busy().machine
        before = machine.tick("Starting")
        busy().terminate()
        failed = await lost
        await machine.when("Ready")
        json.dumps([failed[:2], machine.tick("Starting") - before, await pool.run(jobs.later, 0.0, "well")])
        """,
    )
    assert told == [["WorkerFailed", "EXIT"], 2, "well"]


def test_an_endless_loop_fails_and_its_worker_stays(pool: Page) -> None:
    """The page is isolated."""
    failed, ticks = run(
        pool,
        """
        await asyncio.gather(*[worker.machine.when("Ready") for worker in pool.workers])
        before = [worker.machine.tick("Starting") for worker in pool.workers]
        failed = await outcome(pool.run(jobs.spin))
        json.dumps([failed, [w.machine.tick("Starting") - b for w, b in zip(pool.workers, before)]])
        """,
    )
    assert failed[:2] == ["CallFailed", "HandlerDeadline"]
    assert "in spin" in failed[2]
    assert ticks == [0, 0]


@pytest.mark.parametrize("isolated", [True, False])
def test_a_worker_that_is_stuck_is_replaced(context: BrowserContext, isolated: bool) -> None:
    if not isolated:
        context.route("**/python.html", without_isolation)
    page = context.new_page()
    open_python(page)
    run(page, OPEN)
    function = "spin_on" if isolated else "spin"
    told = run(
        page,
        f"""
        failed = await outcome(pool.run(jobs.{function}))
        json.dumps([failed[:2], pool.machine.is_("ErrWorker"), await pool.run(jobs.later, 0.0, "well")])
        """,
    )
    assert told == [["WorkerFailed", "SILENT"], True, "well"]
    run(page, "await pool.workers[0].machine.when('Ready'); pool.close(); None")


def test_a_call_may_be_made_again(pool: Page) -> None:
    told = run(
        pool,
        """
        call = asyncio.create_task(pool.run_again(1, jobs.later, 1.0, "done"))
        await asyncio.sleep(0.1)
        busy().terminate()
        json.dumps(await call)
        """,
    )
    assert told == "done"


def test_a_call_is_made_again_before_those_that_wait_and_only_so_often(shared: Page) -> None:
    told = run(
        shared,
        OPEN.replace("Pool(2)", "Pool(1, id='one')")
        + """
order = []

async def noted(name, call):
    order.append((name, await outcome(call)))

async def running():
    while pool._members[0].call is None:
        await asyncio.sleep(0.01)

first = asyncio.create_task(noted("first", pool.run_again(1, jobs.later, 0.5, "done")))
await running()
second = asyncio.create_task(noted("second", pool.run_again(1, jobs.never)))
await asyncio.sleep(0)
pool.workers[0].terminate()
await first
for _ in range(2):
    await running()
    pool.workers[0].terminate()
await second
pool.close()
json.dumps(order)
""",
    )
    (first, done), (second, failed) = told
    assert (first, done) == ("first", "done")
    assert (second, failed[:2]) == ("second", ["WorkerFailed", "EXIT"])


def test_workers_that_cannot_start_are_given_up_until_they_can(python: Page, mishaps: Mishaps) -> None:
    mishaps.expect("404")
    python.context.route("**/worker.mjs", lambda route: route.fulfill(status=404))
    told = run(
        python,
        OPEN.replace('await pool.machine.when("Ready")', "")
        + """
failed = await outcome(pool.run(jobs.never))
json.dumps([failed[:2], pool.machine.active_states(), (await outcome(pool.run(jobs.never)))[:2]])
""",
    )
    assert told[0] == told[2] == ["WorkerFailed", "GONE"]
    assert "GaveUp" in told[1]
    python.context.unroute("**/worker.mjs")
    told = run(
        python,
        """
        await pool.machine.when("Ready")
        done = await pool.run(jobs.later, 0.0, "well")
        pool.close()
        json.dumps([done, "GaveUp" in pool.machine])
        """,
    )
    assert told == ["well", False]


@pytest.mark.parametrize("size", [0, -1])
def test_a_pool_without_workers_is_refused(shared: Page, size: int) -> None:
    told = run(
        shared,
        f"""
        from asyncmachine_web.page.pool import Pool
        try:
            Pool({size})
        except am.AmError as error:
            wrong = str(error)
        json.dumps(wrong)
        """,
    )
    assert told == f"size={size}: a pool has at least one worker; leave it out for one per core"


def test_a_closed_pool_answers_nobody(own_pool: Page) -> None:
    told = run(
        own_pool,
        """
        calls = [asyncio.create_task(outcome(pool.run(jobs.never))) for _ in range(3)]
        await asyncio.sleep(0.02)
        pool.close()
        pool.close()
        json.dumps([[(await call)[:2] for call in calls], (await outcome(pool.run(jobs.never)))[:2],
                    pool.machine.active_states(), [worker.machine.is_disposed for worker in pool.workers]])
        """,
    )
    gone = ["WorkerFailed", "GONE"]
    assert told == [[gone] * 3, gone, [], [True, True]]
