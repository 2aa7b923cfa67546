"""Workers in real Chromium: how they start, talk, end and start again."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, Page, Route
from playwright.sync_api import Worker as Thread

from tests.web.browser import Mishaps, open_python, run, without_isolation


def test_a_worker_starts_talks_and_returns(shared: Page) -> None:
    told = run(
        shared,
        """
        worker = Worker.fork("w1", "workload:echo")
        states = [worker.machine.active_states()]
        port = await worker.dial()
        states.append(worker.machine.active_states())
        answer = await ask(port, b"hello")
        await port.send(b"exit")
        reason = await worker.ended()
        states.append(worker.machine.active_states())
        json.dumps([states, answer, reason, port.closed, worker.phase.get()])
        """,
    )
    assert told == [[["Starting"], ["Ready"], ["Dead"]], "w1 hello", "returned", True, "ready"]


def test_workers_fork_workers(shared: Page) -> None:
    told = run(
        shared,
        """
        worker = Worker.fork("w1", "workload:nest")
        answer = await ask(await worker.dial(), b"hello")
        worker.terminate()
        json.dumps(answer)
        """,
    )
    assert told == "w1 w1-inner hello"


def test_id_environment_and_lifecycle_arrive(python: Page, context: BrowserContext) -> None:
    run(
        python,
        """
        worker = Worker.fork("w1", "workload:about", {"AM_TEST": "worker", "SEED": "7"})
        port = await worker.dial()
        None
        """,
    )
    facts = run(python, "await ask(port, b'?')")
    assert facts == {
        "id": "w1",
        "env": {"AM_TEST": "worker", "SEED": "7"},
        "environ": "worker",
        "program": "worker w1",
        "page": ["Online", "Visible"],
    }
    context.set_offline(True)
    run(python, "from asyncmachine_web.page.lifecycle import lifecycle; lifecycle(); None")
    assert run(python, "await ask(port, b'?')")["page"] == ["Offline", "Visible"]
    context.set_offline(False)
    python.evaluate("document.dispatchEvent(new Event('freeze'))")
    assert run(python, "await ask(port, b'?')")["page"] == ["Frozen", "Online", "Visible"]


@pytest.mark.parametrize(
    ("main", "code", "message"),
    [
        ("workload:fail", "RuntimeError", "not today"),
        ("workload:nothing", "AttributeError", "nothing"),
        ("nowhere:main", "ModuleNotFoundError", "nowhere"),
        ("asyncmachine_web.page.ui:Page", "NotGiven", "Page() needs a document, and this is a worker"),
    ],
)
def test_a_main_that_fails_is_an_error_state_and_told_in_the_console(
    shared: Page, mishaps: Mishaps, main: str, code: str, message: str
) -> None:
    mishaps.expect("^console error: worker 'w1' failed")
    told = run(
        shared,
        f"""
        worker = Worker.fork("w1", "{main}")
        reason = await worker.ended()
        error = worker.machine.err
        json.dumps([reason, sorted(worker.machine.active_states()), error.code, str(error)])
        """,
    )
    assert told[:3] == ["failed", ["Dead", "ErrWorker", "Exception"], code]
    assert "worker 'w1' failed" in told[3]
    assert message in told[3]
    (console,) = mishaps.seen
    assert console.startswith(f"console error: worker 'w1' failed: {code}: Traceback (most recent call last):\n")
    assert message in console


def test_who_handles_the_death_of_a_worker_has_no_console_told(shared: Page, mishaps: Mishaps) -> None:
    told = run(
        shared,
        """
        worker = Worker.fork("w1", "workload:fail")
        heard = []
        worker.machine.bind({"DeadState": lambda e: heard.append(e.args(Ended).reason)})
        await worker.ended()
        json.dumps(heard)
        """,
    )
    assert told == ["failed"]
    assert not mishaps.seen


def test_terminate_ends_ports_and_restart_leads_to_the_new_worker(shared: Page) -> None:
    told = run(
        shared,
        """
        worker = Worker.fork("w1", "workload:echo")
        old = await worker.dial()
        waiting = asyncio.create_task(old.recv())
        await asyncio.sleep(0)
        worker.terminate()
        worker.terminate()
        try:
            await waiting
        except TransportClosed as error:
            closed = str(error)
        dead = worker.machine.active_states()
        dialling = asyncio.create_task(worker.dial())
        await asyncio.sleep(0)
        worker.restart()
        new = await dialling
        json.dumps([closed, dead, await ask(new, b"again"), worker.machine.active_states()])
        """,
    )
    assert told == ["closed with 1006 (worker w1 has ended)", ["Dead"], "w1 again", ["Ready"]]


def test_an_endless_loop_ends_with_an_error_that_says_where(shared: Page, mishaps: Mishaps) -> None:
    """The page is isolated: the error is raised in the loop itself."""
    mishaps.expect("^console error: worker 'w1' failed")
    told = run(
        shared,
        """
        worker = Worker.fork("w1", "workload:hang")
        await (await worker.dial()).send(b"go")
        reason = await worker.ended()
        json.dumps([reason, worker.machine.err.code, worker.machine.err.trace])
        """,
    )
    assert told[:2] == ["failed", "HandlerDeadline"]
    assert "workload.py" in told[2]
    assert "in hang" in told[2]


def test_a_handler_that_never_ends_is_ended_and_the_worker_goes_on(shared: Page) -> None:
    told = run(
        shared,
        """
        worker = Worker.fork("leaf", "workload:serve_stuck")
        client = rpc.Client(worker.dial, workload.Leaf, "leaf")
        client.start()
        await client.when_ready()
        mirror = client.netmach
        mirror.add("Job")
        await mirror.when("Exception")
        second = rpc.Client(worker.dial, workload.Leaf, "second")
        await client.stop()
        second.start()
        await second.when_ready()
        json.dumps([worker.machine.active_states(), second.netmach.active_states()])
        """,
    )
    assert told == [["Ready"], ["Exception", "Done"]]


@pytest.mark.parametrize("isolated", [True, False])
def test_a_worker_that_will_not_listen_is_ended(context: BrowserContext, isolated: bool, mishaps: Mishaps) -> None:
    """Also where pages are not isolated, and every endless loop is out of reach."""
    mishaps.expect("worker 'w1' failed: SILENT")
    if not isolated:
        context.route("**/python.html", without_isolation)
    page = context.new_page()
    open_python(page)
    assert page.evaluate("crossOriginIsolated") is isolated
    told = run(
        page,
        f"""
        worker = Worker.fork("w1", "workload:{"hang_on" if isolated else "hang"}")
        await (await worker.dial()).send(b"go")
        reason = await worker.ended()
        error = worker.machine.err.code
        worker.restart()
        await worker.dial()
        json.dumps([reason, error, worker.machine.active_states()])
        """,
    )
    assert told == ["failed", "SILENT", ["Ready"]]


def test_a_spare_takes_the_next_order(page: Page) -> None:
    """Its environment and the page's state are those of the order. Another one is kept ready in its place."""
    page.add_init_script("""
        window.made = [];
        window.Worker = class extends Worker {
            constructor(url, options) { super(url, options); made.push(options.name); }
        };
    """)
    open_python(page)
    run(page, "from asyncmachine_web.page.workers import spare; spare(1)")
    assert page.evaluate("made") == ["spare 0"]
    page.evaluate("document.dispatchEvent(new Event('freeze'))")
    told = run(
        page,
        """
        worker = Worker.fork("w1", "workload:about", {"AM_TEST": "order"})
        facts = json.loads(await ask(await worker.dial(), b"?"))
        json.dumps([facts["id"], facts["environ"], facts["program"], worker.phase.get()])
        """,
    )
    assert told == ["w1", "order", "worker w1", "ready"]
    assert page.evaluate("made") == ["spare 0", "spare 0"]
    run(page, "spare(0); worker.terminate(); worker.restart(); await worker.dial(); None")
    assert page.evaluate("made") == ["spare 0", "spare 0", "w1"]


def warm_spare(page: Page) -> Thread:
    """The only worker, once it waits for an order."""
    while len(page.workers) != 1 or not page.workers[0].evaluate("performance.getEntriesByName('asyncmachine:ready')"):
        page.wait_for_timeout(20)
    return page.workers[0]


def test_a_spare_has_imported_arpc_when_its_order_comes(page: Page) -> None:
    """Who has no time to wait for an order does not: it may need none of it."""
    open_python(page)
    run(page, "from asyncmachine_web.page.workers import spare; spare(1)")
    warm_spare(page)
    page.wait_for_timeout(2000)  # it begins after one
    told = run(
        page,
        """
        first = Worker.fork("first", "early:told")
        spare(0)
        second = Worker.fork("second", "early:told")
        json.dumps([await ask(await worker.dial(), b"?") for worker in (first, second)])
        """,
    )
    assert told == ["True", "False"]


def test_a_spare_that_dies_is_replaced(page: Page) -> None:
    page.clock.install()
    open_python(page)
    run(page, "from asyncmachine_web.page.workers import spare; spare(1)")
    first = warm_spare(page)
    page.clock.fast_forward(60_000)
    assert warm_spare(page) is first, "who answers is left alone"
    with page.expect_event("worker") as second:
        first.evaluate("void setTimeout(() => { throw new Error('injected') })")
    assert warm_spare(page) is second.value
    second.value.evaluate("void setTimeout(close)")
    with page.expect_event("worker") as third:  # a silent death shows at the third look
        for _ in range(3):
            page.clock.fast_forward(5_000)
    assert warm_spare(page) is third.value


def test_an_order_does_not_go_to_a_spare_that_has_just_died(python: Page) -> None:
    run(python, "from asyncmachine_web.page.workers import spare; spare(1)")
    spare = warm_spare(python)
    with spare.expect_event("close"):
        spare.evaluate("void setTimeout(close)")
    told = run(
        python,
        """
        worker = Worker.fork("w1", "workload:echo")
        answer = await ask(await worker.dial(), b"hello")
        json.dumps([answer, worker.machine.tick("Starting"), worker.machine.tick("ErrWorker")])
        """,
    )
    assert told == ["w1 hello", 2, 0]


def test_workers_and_spares_that_were_replaced_are_gone(shared: Page) -> None:
    run(
        shared,
        """
        from asyncmachine_web.page.workers import spare
        worker = Worker.fork("w1", "workload:echo")
        for _ in range(50):
            worker.restart()
            spare(1)
            spare(0)
        await ask(await worker.dial(), b"hello")
        None
        """,
    )
    while len(shared.workers) != 1:
        shared.wait_for_timeout(20)
    assert shared.workers[0].evaluate("name") == "w1"


def test_a_worker_that_cannot_boot_says_why(shared: Page, mishaps: Mishaps) -> None:
    mishaps.expect("404")
    shared.context.route("**/sources.zip", lambda route: route.fulfill(status=404))
    told = run(
        shared,
        """
        worker = Worker.fork("w1", "workload:echo")
        reason = await worker.ended()
        json.dumps([reason, worker.machine.err.code, str(worker.machine.err)])
        """,
    )
    assert told[:2] == ["failed", "FAILED"]
    assert "sources.zip answered 404" in told[2]


def test_a_worker_whose_script_is_missing_is_dead(shared: Page, mishaps: Mishaps) -> None:
    mishaps.expect("worker 'w1' failed: CRASH")
    mishaps.expect("404")
    shared.context.route("**/worker.mjs", lambda route: route.fulfill(status=404))
    told = run(
        shared,
        """
        worker = Worker.fork("w1", "workload:echo")
        json.dumps([await worker.ended(), worker.machine.err.code])
        """,
    )
    assert told == ["failed", "CRASH"]


def test_a_worker_does_not_compile_the_runtime_anew(shared: Page) -> None:
    compiled: list[str] = []
    shared.context.route("**/*.wasm", lambda route: _note(route, compiled))
    run(
        shared,
        """
        worker = Worker.fork("w1", "workload:echo")
        await worker.dial()
        None
        """,
    )
    assert compiled == []


def _note(route: Route, urls: list[str]) -> None:
    urls.append(route.request.url)
    route.continue_()


def test_a_mirror_follows_a_machine_in_a_worker_through_its_death(shared: Page) -> None:
    told = run(
        shared,
        """
        worker = Worker.fork("leaf", "workload:serve")
        client = rpc.Client(worker.dial, workload.Leaf, "leaf")
        client.start()
        await client.when_ready()
        mirror = client.netmach
        first = (await mirror.add("Job")).executed
        done = mirror.tick("Done")
        worker.terminate()
        await client.machine.when_not("Ready")
        worker.restart()
        await client.when_ready()
        fresh = mirror.tick("Done")
        second = (await mirror.add("Job")).executed
        json.dumps([first, done, fresh, second, mirror.tick("Done")])
        """,
    )
    assert told == [True, 1, 0, True, 1]


def test_a_second_dial_gets_a_port_of_its_own(shared: Page) -> None:
    told = run(
        shared,
        """
        worker = Worker.fork("leaf", "workload:serve")
        ready = []
        for _ in range(3):
            client = rpc.Client(worker.dial, workload.Leaf, "leaf")
            client.start()
            await client.when_ready()
            ready.append((await client.netmach.add("Job")).executed)
            await client.stop()
        json.dumps(ready)
        """,
    )
    assert told == [True, True, True]


def test_secrets_of_workers_are_kept_by_the_tab(python: Page) -> None:
    run(
        python,
        """
        from asyncmachine_js import tab
        tab.keep("before", "known")
        worker = Worker.fork("w1", "workload:keeps")
        assert await worker.ended() == "returned", worker.machine.err
        None
        """,
    )
    kept = python.evaluate("JSON.parse(sessionStorage.getItem('asyncmachine.secrets'))")
    assert kept == {"before": "known", "inner": "found"}
