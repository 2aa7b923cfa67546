"""Workers that are replaced again and again: nothing of the old ones is left."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.web.browser import open_python, run

COUNT = """
    window.workers = 0;
    window.ports = 0;
    window.Worker = class extends Worker {
        constructor(...all) { super(...all); workers += 1; }
        terminate() { super.terminate(); workers -= 1; }
    };
    window.MessageChannel = class extends MessageChannel {
        constructor() { super(); ports += 1; }
    };
    MessagePort.prototype.close = new Proxy(MessagePort.prototype.close, {
        apply(close, port, all) { ports -= 1; return Reflect.apply(close, port, all); }
    });
"""
"""How many there are: each channel has one port that stays in the page."""

REPLACE = """
    import pyodide.ffi
    from asyncmachine_web.page.pool import Pool

    proxies = []
    create = pyodide.ffi.create_proxy

    def noted(*all, **options):
        proxies.append(create(*all, **options))
        return proxies[-1]

    def living(proxy):
        try:
            return bool(proxy.unwrap()) or True
        except Exception:
            return False

    def counts():
        import js
        proxies[:] = filter(living, proxies)
        return [js.workers, js.ports, len(proxies)]

    pyodide.ffi.create_proxy = noted
    pool = Pool(1)
    (worker,) = pool.workers
    found = []
    for _ in range(TIMES + 1):
        await worker.machine.when("Ready")
        while pool._members[0].port is None:
            await asyncio.sleep(0)
        found.append(counts())
        ended = worker.machine.when("Starting")
        worker.terminate()
        await ended
    pool.close()
    await asyncio.sleep(0)
    json.dumps([found, counts()])
"""


@pytest.mark.parametrize("times", [10, pytest.param(100, marks=[pytest.mark.nightly, pytest.mark.timeout(900)])])
def test_a_pool_whose_worker_ends_again_and_again_keeps_nothing_of_it(page: Page, times: int) -> None:
    page.add_init_script(COUNT)
    open_python(page)
    page.set_default_timeout(900_000)
    before = page.evaluate("ports")
    found, after = run(page, REPLACE.replace("TIMES", str(times)))
    assert len(found) == times + 1
    assert found[0][0] == 1
    assert found == [found[0]] * (times + 1)
    assert after == [0, before, 0]
