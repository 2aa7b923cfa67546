"""asyncio in a page: on our own loop, from the first future on, and as asyncio defines it."""

from __future__ import annotations

import textwrap

import pytest
from playwright.sync_api import Page, expect

from tests.web.browser import Mishaps, run


def test_it_is_the_loop_of_page_and_workers(shared: Page) -> None:
    told = run(
        shared,
        """
        loops = [asyncio.get_running_loop(), asyncio.get_event_loop()]
        worker = Worker.fork("w1", "workload:loop")
        theirs = json.loads(await ask(await worker.dial(), b"?"))
        json.dumps([loops[0] is loops[1], type(loops[0]).__name__, theirs])
        """,
    )
    assert told == [True, "BatchLoop", "BatchLoop"]


def test_callbacks_run_in_order_and_what_they_add_runs_after_them(shared: Page) -> None:
    told = run(
        shared,
        """
        loop, seen, done = asyncio.get_running_loop(), [], asyncio.Event()
        def first():
            seen.append("first")
            loop.call_soon(seen.append, "added")
            loop.call_soon(done.set)
        loop.call_soon(first)
        for number in range(20):
            loop.call_soon(seen.append, number)
        dropped = loop.call_soon(seen.append, "cancelled")
        dropped.cancel()
        await done.wait()
        json.dumps(seen)
        """,
    )
    assert told == ["first", *range(20), "added"]


@pytest.mark.parametrize("load", ["None", "asyncio.create_task(always())"], ids=["idle", "busy"])
def test_timers_are_never_early_and_equal_ones_keep_their_order(shared: Page, load: str) -> None:
    """A busy loop looks at them all the time."""
    told = run(
        shared,
        """
        loop, seen, early = asyncio.get_running_loop(), [], []
        async def always():
            while len(seen) < 61:
                await asyncio.sleep(0)
        load = LOAD
        def ring(when, name):
            seen.append(name)
            if loop.time() < when:
                early.append(when - loop.time())
        begin = loop.time()
        for name, delay in enumerate([0.03, 0.001, 0.0004, 0.012, 0.0, 0.02, 0.002]):
            loop.call_at(begin + delay, ring, begin + delay, name)
        for name in "abc":
            loop.call_at(begin + 0.025, ring, begin + 0.025, name)
        for number in range(50):
            when = begin + 0.04 + number * 0.0013
            loop.call_at(when, ring, when, "many")
        loop.call_later(-1, seen.append, "past")
        loop.call_later(float("inf"), seen.append, "never")
        loop.call_later(10**9, seen.append, "in years")
        while len(seen) < 61:
            await asyncio.sleep(0.01)
        json.dumps([seen, early])
        """.replace("LOAD", load),
    )
    assert told == [["past", 4, 2, 1, 6, 3, 5, "a", "b", "c", 0, *["many"] * 50], []]


def test_cancelled_timers_do_not_ring_and_do_not_stay(shared: Page) -> None:
    told = run(
        shared,
        """
        loop, seen = asyncio.get_running_loop(), []
        before = len(loop._timers)
        for _ in range(5000):
            loop.call_later(3600, seen.append, 1).cancel()
        most = len(loop._timers) - before
        handle = loop.call_later(0.01, seen.append, "cancelled")
        twice = loop.call_later(0.01, seen.append, "once")
        handle.cancel(), handle.cancel()
        await asyncio.sleep(0.02)
        twice.cancel()
        json.dumps([seen, handle.cancelled(), most < 300, loop._cancelled_timers >= 0])
        """,
    )
    assert told == [["once"], True, True, True]


def test_javascript_can_wait_for_a_future_and_a_task(shared: Page) -> None:
    told = run(
        shared,
        """
        import js
        from pyodide.ffi import to_js
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_later(0.001, future.set_result, 1)
        async def add(n):
            await asyncio.sleep(0)
            return n + 1
        chained = future.then(lambda value: value + 1)
        both = await js.Promise.all(to_js([add(1), asyncio.create_task(add(2)), chained]))
        json.dumps(both.to_py())
        """,
    )
    assert told == [2, 3, 2]


def test_python_can_wait_in_the_middle_of_a_callback_while_others_run(shared: Page) -> None:
    """The turn of the waiting one is left unfinished; those after it must not wait for it."""
    told = run(
        shared,
        """
        from pyodide.ffi import run_sync
        loop, seen = asyncio.get_running_loop(), []
        async def later(name):
            await asyncio.sleep(0.005)
            seen.append(name)
            return name
        async def waits():
            seen.append("before")
            seen.append(run_sync(later("inner")) + " done")
            return asyncio.run(later("run"))
        async def others():
            while len(seen) < 6:
                seen.append("other") if "other" not in seen else None
                await asyncio.sleep(0)
        task = asyncio.create_task(waits())
        background = asyncio.create_task(others())
        result = await asyncio.wait_for(task, 20)
        background.cancel()
        json.dumps([seen, result, loop.run_until_complete(later("whole"))])
        """,
    )
    seen, result, whole = told
    assert result == "run"
    assert whole == "whole"
    assert seen[:2] == ["before", "other"]
    assert seen[2:5] == ["inner", "inner done", "run"]


def test_a_callback_may_wait_for_javascript(python: Page) -> None:
    """What cannot leaves the loop standing still: so the browser's own timer ends the test."""
    code = """
        from pyodide.ffi import run_sync
        async def waits():
            return run_sync(asyncio.sleep(0.005, "waited"))
        await asyncio.create_task(waits())
    """
    late = "new Promise((done) => setTimeout(done, 20_000, 'still waits'))"
    told = python.evaluate(f"code => Promise.race([python.runPythonAsync(code), {late}])", textwrap.dedent(code))
    assert told == "waited"


def test_what_asyncio_is_made_of_works(shared: Page) -> None:
    told = run(
        shared,
        """
        import contextvars
        log = []
        variable = contextvars.ContextVar("variable", default="outside")
        async def fails():
            await asyncio.sleep(0.001)
            raise ValueError("one")
        async def waits(name):
            try:
                await asyncio.sleep(3600)
            finally:
                log.append(f"{name} {asyncio.current_task().get_name()}")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(waits("group"), name="second")
                group.create_task(fails())
        except* ValueError as errors:
            log.append(str(errors.exceptions[0]))
        try:
            async with asyncio.timeout(0.005):
                await waits("timeout")
        except TimeoutError:
            log.append("timed out")
        async def inside():
            variable.set("inside")
            await asyncio.sleep(0)
            return variable.get()
        log += [await asyncio.create_task(inside()), variable.get()]
        eager = asyncio.Task(inside(), loop=asyncio.get_running_loop(), eager_start=True)
        log.append(await eager)
        queue = asyncio.Queue(1)
        async def produce():
            for number in range(3):
                await queue.put(number)
        producer = asyncio.create_task(produce())
        log.append([await queue.get() for _ in range(3)])
        async def numbers():
            try:
                yield 1
                yield 2
            finally:
                log.append("closed")
        async for number in numbers():
            break
        import gc; gc.collect()
        await asyncio.sleep(0.005)
        json.dumps(log)
        """,
    )
    first = told.pop(0)
    assert first == "group second"
    name = told.pop(1)
    assert name.startswith("timeout Task-")
    assert told == ["one", "timed out", "inside", "outside", "inside", [0, 1, 2], "closed"]


def test_errors_reach_the_exception_handler(shared: Page) -> None:
    told = run(
        shared,
        """
        import gc
        loop, told = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda _loop, context: told.append(f"{context['message']} {context['exception']!r}"))
        loop.call_soon(lambda: 1 / 0)
        async def fails():
            raise ValueError("nobody asks")
        task = asyncio.create_task(fails())
        await asyncio.sleep(0.001)
        del task
        gc.collect()
        await asyncio.sleep(0)
        loop.set_exception_handler(None)
        json.dumps(told)
        """,
    )
    assert len(told) == 2
    assert "ZeroDivisionError" in told[0]
    assert told[1] == "Task exception was never retrieved ValueError('nobody asks')"


def test_who_leaves_in_a_callback_ends_that_one_alone(shared: Page, mishaps: Mishaps) -> None:
    """There is no program to end."""
    mishaps.expect("SystemExit: 3|KeyboardInterrupt")
    told = run(
        shared,
        """
        import sys
        loop, seen, done = asyncio.get_running_loop(), [], asyncio.Event()
        def interrupt():
            raise KeyboardInterrupt
        loop.call_soon(sys.exit, 3)
        loop.call_soon(interrupt)
        loop.call_soon(seen.append, "next")
        loop.call_later(0.001, done.set)
        await done.wait()
        json.dumps(seen)
        """,
    )
    assert told == ["next"]
    mishaps.wait_until_told(shared, "SystemExit: 3.*KeyboardInterrupt")


def test_generators_that_were_begun_are_closed_with_the_loops(python: Page) -> None:
    """Also one whose end fails, and one that ran where Python waited for it."""
    told = run(
        python,
        """
        import warnings
        loop, log, kept = asyncio.get_running_loop(), [], []
        async def numbers(name):
            try:
                yield 1
                yield 2
            finally:
                log.append(name)
                if name == "fails":
                    raise ValueError(name)
        async def begin(name):
            kept.append(numbers(name))
            await anext(kept[-1])
        await asyncio.gather(begin("one"), begin("fails"))
        await asyncio.create_task(begin("task"))
        async def wait():
            asyncio.run(begin("waited"))
        await asyncio.create_task(wait())
        def told(_, context):
            log.append(f"{context['exception']!r} {context['asyncgen'] in kept}")
        loop.set_exception_handler(told)
        await loop.shutdown_asyncgens()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            await begin("late")
        json.dumps([sorted(log), [str(each.message) for each in warned]])
        """,
    )
    log, warned = told
    assert log == ["ValueError('fails') True", "fails", "one", "task", "waited"]
    (late,) = warned  # by our loop, or by asyncio's where Python waits
    assert "after loop.shutdown_asyncgens()" in late


def test_debug_mode_tells_where_a_callback_was_made_that_met_an_error(shared: Page) -> None:
    told = run(
        shared,
        """
        import contextlib, io
        loop, said, done = asyncio.get_running_loop(), io.StringIO(), asyncio.Event()
        def meets_an_error():
            with contextlib.redirect_stderr(said):
                loop.call_exception_handler({"message": "met"})
            done.set()
        loop.set_debug(True)
        try:
            loop.call_soon(meets_an_error)
            await done.wait()
        finally:
            loop.set_debug(False)
        json.dumps(said.getvalue())
        """,
    )
    assert told.startswith("met\nhandle_traceback: Handle created at (most recent call last):")


def test_debug_mode_tells_of_slow_callbacks_and_where_things_were_made(shared: Page) -> None:
    told = run(
        shared,
        """
        import logging, time
        class Keep(logging.Handler):
            def emit(self, record):
                told.append(record.getMessage())
        loop, told, keep = asyncio.get_running_loop(), [], Keep()
        logging.getLogger("asyncio").addHandler(keep)
        logging.getLogger("asyncio").propagate = False
        loop.set_debug(True)
        async def nothing(): pass
        def slow():
            end = time.perf_counter() + 0.02
            while time.perf_counter() < end: pass
        try:
            loop.slow_callback_duration = 0.01
            try:
                loop.call_soon(nothing)
            except TypeError as error:
                refused = str(error)
            handle = loop.call_soon(slow)
            await asyncio.sleep(0.001)
            task = asyncio.create_task(nothing())
            await task
            origins = [made._source_traceback[-1].filename.endswith("page/loop.py") for made in (handle, task)]
        finally:
            loop.set_debug(False)
            loop.slow_callback_duration = 0.1
            logging.getLogger("asyncio").removeHandler(keep)
        json.dumps([refused, [line for line in told if "slow" in line], origins])
        """,
    )
    refused, slow, origins = told
    assert refused == "coroutines cannot be used with call_soon()"
    assert len(slow) == 1
    assert " took 0." in slow[0]
    assert origins == [False, False]


@pytest.mark.parametrize("load", ["await asyncio.sleep(0)", "await asyncio.create_task(nothing())"])
def test_the_browser_gets_its_turns_while_python_has_always_something_to_do(shared: Page, load: str) -> None:
    """Frames are drawn and events handled in between."""
    shared.evaluate("""() => {
        window.turns = { frames: 0, timers: 0, over: false };
        const frame = () => { turns.frames += 1; if (!turns.over) requestAnimationFrame(frame); };
        requestAnimationFrame(frame);
        turns.timer = setInterval(() => turns.timers += 1, 5);
    }""")
    run(
        shared,
        f"""
        import js, time
        rounds = 0
        async def nothing(): pass
        async def load():
            global rounds
            end = time.monotonic() + 60
            while rounds <= 1000 or js.turns.frames < 5 or js.turns.timers < 20:
                assert time.monotonic() < end
                {load}
                rounds += 1
        await asyncio.gather(load(), load())
        None
        """,
    )
    shared.evaluate("turns.over = true; clearInterval(turns.timer)")


@pytest.mark.parametrize("hours", [-24, 24])
def test_sleeps_and_deadlines_do_not_follow_the_system_clock(python: Page, hours: int) -> None:
    """It is set while they run."""
    run(
        python,
        """
        import time
        machine = am.Machine({"A": {}}, id="m")
        wall, begun = time.time(), time.perf_counter()

        async def past(awaitable):
            try:
                await awaitable
            except TimeoutError:
                pass
            return time.perf_counter() - begun

        running = [past(asyncio.sleep(0.3)), past(am.wait_all(machine.when("A"), timeout=0.3))]
        running = [asyncio.create_task(one) for one in running]
        await asyncio.sleep(0)
        """,
    )
    python.evaluate("(shift) => { const { now } = Date; Date.now = () => now() + shift; }", hours * 3_600_000)
    took = run(
        python, "json.dumps([*await asyncio.gather(*running), await past(asyncio.sleep(0.3)), time.time() - wall])"
    )
    *seconds, shifted = took
    assert all(0.3 <= each < 600 for each in seconds)
    assert abs(shifted - hours * 3600) < 600


def test_a_main_that_waits_for_what_it_alone_knows_is_held(page: Page) -> None:
    """It was destroyed by the garbage collector."""
    settings = '{"sources": ["../built/sources.zip"], "main": "early:waits_in_page"}'
    body = f"""<!doctype html><title>waits</title><link rel="icon" href="data:,">
        <script type="application/json" id="asyncmachine">{settings}</script>
        <script type="module" src="../page.mjs"></script>"""
    page.route("**/pages/waits.html", lambda route: route.fulfill(body=body, content_type="text/html"))
    page.goto("/pages/waits.html")
    expect(page).to_have_title("held")


def test_a_workers_main_is_held_too(shared: Page) -> None:
    told = run(
        shared,
        """
        worker = Worker.fork("waiting", "early:waits")
        json.dumps(await ask(await worker.dial(), b"?"))
        """,
    )
    assert told == "held"
