"""Interrupts that hit a worker which is not stuck, in real Chromium: it goes on serving, wherever they hit."""

from __future__ import annotations

from playwright.sync_api import Page

from tests.web.browser import open_python, run


def test_a_served_machine_answers_however_often_its_worker_is_interrupted(interruptible: Page) -> None:
    """None of the application's code runs for this mutation."""
    open_python(interruptible)
    told = run(
        interruptible,
        """
        import js
        worker = Worker.fork("leaf", "workload:serve")
        client = rpc.Client(worker.dial, workload.Leaf, "leaf")
        client.start()
        await client.when_ready()
        mirror = client.netmach
        executed = 0
        for _ in range(300):
            js.interrupt.fill(2)
            executed += (await asyncio.wait_for(asyncio.ensure_future(mirror.add("Done")), 20)).executed
        json.dumps([executed, mirror.tick("Done"), client.machine.tick("Ready"), worker.machine.active_states()])
        """,
    )
    assert told == [300, 599, 1, ["Ready"]]


def test_a_pool_answers_however_often_its_worker_is_interrupted(interruptible: Page) -> None:
    """A call may fail, no call gets lost."""
    open_python(interruptible)
    told = run(
        interruptible,
        """
        import js, jobs
        from asyncmachine_web.page.calls import CallFailed
        from asyncmachine_web.page.pool import Pool
        pool = Pool(1)
        await pool.machine.when("Ready")
        results, failures = set(), set()
        for _ in range(300):
            js.interrupt.fill(2)
            try:
                results.add(await asyncio.wait_for(pool.run(jobs.backwards, b"ab"), 20))
            except CallFailed as error:
                failures.add(error.kind)
            except am.AmError as error:
                failures.add(str(error))
        others = sorted(failures - {"HandlerDeadline"})
        json.dumps([results == {b"ba"}, others, pool.workers[0].machine.tick("Starting")])
        """,
    )
    assert told == [True, [], 2]
