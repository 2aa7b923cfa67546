"""Python in a page and its workers, in real Chromium: `python -m bench.browser`.

Boots are measured from the start of the navigation to a machine that is ready. Cold is a browser that has never seen
the page, warm is its second visit. Beside ours: Pyodide and PyScript by themselves, in the same run and by turns.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import Browser, Page, Request, sync_playwright

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine_relay import Match, Relay, StaticRoot, Tunnel
from asyncmachine_web.build import Project, build, new_app, pack, static_folder
from bench import binding, counter
from bench.report import Row, main, row, turns
from tests.web.browser import CHROMIUM, FLAGS, run, serving
from tests.web.desk import serve_desk

PAGES = Path(__file__).parent / "pages"
PATIENCE = 120_000
BOOTS, BOOTS_SECONDS = 3, 30.0
# A browser compiles what is often called again, and better: first after hundreds of trips, or dozens of rounds.
TRIPS, WARM_UP = 2000, 1500
ROUNDS, ROUNDS_SECONDS = 60, 12.0
BATCHES = 40
READY = "performance.getEntriesByName('python ready')[0]?.startTime"


def rows() -> Iterator[Row]:
    """All figures; the comparison, which has no aim, comes last, should a busy computer not get that far."""
    yield from binding.rows()
    dial = [Match("desk", target="desk", serve=serve_desk(Desk)), Match("bare", target="echo", serve=echo)]
    with TemporaryDirectory() as built, sync_playwright() as playwright:
        pack(PAGES, ["worker_jobs.py"], Path(built) / "jobs.zip")
        static: list[StaticRoot] = [("/bench/", PAGES), ("/built/", built), static_folder()]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        with serving(Relay(static, dial=dial, csp={"/bench/pyscript": "pyscript"})) as origin:
            yield from boots(browser, origin)
            yield from trips(browser, origin)
            yield from loops(browser, origin)
            with visitor(browser) as page:
                open_page(page, f"{origin}/bench/jobs.html")
                yield from commits(page)
                yield from workers(page, browser, origin)
        browser.close()
    yield from counter.rows()


@contextmanager
def visitor(browser: Browser) -> Iterator[Page]:
    """An empty page, in a browser without any cache."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


# Boots


def boots(browser: Browser, origin: str) -> Iterator[Row]:
    """Of pages, cold and warm; and the bytes of a first visit, as they are on the wire without headers."""
    names = {"ours": "machine", "bare": "bare-mark", "pyscript": "pyscript-ours", "plain": "pyscript-plain"}
    times: dict[tuple[str, str], list[float]] = {}
    sizes = {}
    for _ in turns(BOOTS, BOOTS_SECONDS):
        for kind, name in names.items():
            with visitor(browser) as page:
                for when in ("cold", "warm"):
                    times.setdefault((kind, when), []).append(boot(page, f"{origin}/bench/{name}.html"))
                    if when == "cold":
                        sizes[kind] = page.evaluate(BYTES) / 1e6
    found = {key: median(each) for key, each in times.items()}
    for when, bare, pyscript in (("cold", 750, 1000), ("warm", 450, 500)):
        peers = {"Pyodide alone": found["bare", when]}
        yield row(f"bare page, {when}", "ms", found["ours", when], peers=peers, aim=f"ours <= {bare}")
        peers = {"PyScript alone": found["plain", when]}
        yield row(f"page with PyScript, {when}", "ms", found["pyscript", when], peers=peers, aim=f"ours <= {pyscript}")
    peers = {"Pyodide alone": sizes["bare"]}
    yield row("first visit of a bare page", "MB", sizes["ours"], peers=peers, aim="ours <= 8.5")
    peers = {"PyScript alone": sizes["plain"]}
    yield row("first visit of a page with PyScript", "MB", sizes["pyscript"], peers=peers, aim="ours <= 8.5")
    yield row("first visit of a new project's page, until it is kept offline", "MB", kept(browser), aim="ours <= 8.5")


def kept(browser: Browser) -> float:
    """Megabytes that the page of `am new` and its service worker have downloaded by then, without headers."""
    with TemporaryDirectory() as folder:
        project = new_app("shop", Path(folder))
        build(Project.read(project), Path(folder) / "site")
        with serving(Relay(Path(folder) / "site")) as origin, visitor(browser) as page:
            requests: list[Request] = []
            page.context.on("requestfinished", lambda request: requests.append(request))  # noqa: PLW0108 (not a builtin)
            page.goto(f"{origin}/")
            page.locator("[data-offline]").wait_for()
            return sum(request.sizes()["responseBodySize"] for request in requests) / 1e6


def boot(page: Page, address: str) -> float:
    """Milliseconds from the navigation until the page says that it is ready."""
    page.goto(address)
    while (at := page.evaluate(READY)) is None:
        page.wait_for_timeout(20)
    return float(at)


BYTES = """
["resource", "navigation"].flatMap((kind) => performance.getEntriesByType(kind))
  .reduce((total, entry) => total + entry.encodedBodySize, 0)
"""


# The event loop


def loops(browser: Browser, origin: str) -> Iterator[Row]:
    """Ours, and Pyodide's in a page without anything of ours."""
    found: dict[str, dict[str, Any]] = {}
    for name in ("machine", "plain-python"):
        with visitor(browser) as page:
            open_page(page, f"{origin}/bench/{name}.html")
            found[name] = run(page, LOOP)
    ours, plain = found["machine"], found["plain-python"]
    what = "task switch by sleep(0)"
    yield row(what, "µs", ours["switch"], peers={"WebLoop": plain["switch"]}, aim="ours <= 4")
    peers = {"WebLoop": plain["tasks"]}
    yield row("tasks per second", "1/s", ours["tasks"], peers=peers, aim="ours >= 60000", more_is_better=True)
    what = "longest stall in 10 s of 5 ms sleeps"
    yield row(what, "ms", ours["stall"], peers={"WebLoop": plain["stall"]}, aim="ours <= 15")


LOOP = f"""
import asyncio, json
from statistics import median
from time import perf_counter

async def switch(times):
    for _ in range(times):
        await asyncio.sleep(0)

async def nothing():
    pass

switches, tasks, stalls = [], [], []
end = perf_counter() + {ROUNDS_SECONDS}
while len(tasks) < {ROUNDS} and (begun := perf_counter()) < end:
    await asyncio.gather(*(switch(500) for _ in range(10)))
    switches.append((perf_counter() - begun) / 5000)
    begun = perf_counter()
    await asyncio.gather(*(nothing() for _ in range(1000)))
    tasks.append(1000 / (perf_counter() - begun))
end = perf_counter() + 10
while (begun := perf_counter()) < end:
    await asyncio.sleep(0.005)
    stalls.append(perf_counter() - begun - 0.005)
warm = len(tasks) * 2 // 3
json.dumps({{"switch": median(switches[warm:]) * 1e6, "tasks": median(tasks[warm:]), "stall": max(stalls) * 1e3}})
"""


# Workers


def workers(page: Page, browser: Browser, origin: str) -> Iterator[Row]:
    """From the order to a main that runs, round trips to one, and the slowest of five that get stuck."""
    with visitor(browser) as bare:
        open_page(bare, f"{origin}/bench/bare-workers.html")
        alone = {count: bare.evaluate("count => startBare(count)", count) for count in (1, 4)}
    found = run(page, WORKERS)
    for count, aim in ((1, 350), (4, 1400)):
        name = "one worker ready" if count == 1 else f"{count} workers ready"
        peers = {"Pyodide alone": median(alone[count])}
        yield row(name, "ms", found[str(count)], peers=peers, aim=f"ours <= {aim}")
    yield row("one worker ready, from a spare", "ms", found["spare"])
    yield row("a stuck worker replaced, ready", "ms", run(page, STUCK), aim="ours <= 3000")
    peers = {"a bare port, 1 KB": found["bare"]}
    yield row("round trip of a page and a worker's mirror", "ms", found["mirror"], peers=peers, aim="ours <= 0.6")


WORKERS = f"""
import asyncio, json
from statistics import median
from time import perf_counter
from asyncmachine import rpc
from asyncmachine_web.page.workers import Worker, spare
import worker_jobs

async def ready(count):
    begun = perf_counter()
    made = [Worker.fork(f"w{{n}}", "worker_jobs:echo") for n in range(count)]
    for worker in made:
        await worker.machine.when("Ready")
    took = (perf_counter() - begun) * 1000
    for worker in made:
        worker.terminate()
    return took

async def often(count):
    begun, times = perf_counter(), []
    while len(times) < 5 and perf_counter() - begun < 10:
        times.append(await ready(count))
    return median(times)

found = {{str(count): await often(count) for count in (1, 4)}}
spare(1)
await asyncio.sleep(3)
found["spare"] = await ready(1)
spare(0)

async def trips(trip):
    times = []
    for _ in range({TRIPS}):
        begun = perf_counter()
        await trip()
        times.append(perf_counter() - begun)
    return median(times[{WARM_UP}:]) * 1000

port = await Worker.fork("echo", "worker_jobs:echo").dial()
data = bytes(1024)
async def bare():
    await port.send(data)
    await port.recv()
found["bare"] = await trips(bare)

desk = Worker.fork("desk", "worker_jobs:desk")
client = rpc.Client(desk.dial, worker_jobs.Desk)
client.start()
await client.when_ready()
async def mirror():
    await client.netmach.add("Noted")
found["mirror"] = await trips(mirror)
json.dumps(found)
"""


STUCK = """
import json
from time import perf_counter
from asyncmachine_web.page.workers import Worker

async def replaced():
    worker = Worker.fork("stuck", "worker_jobs:hang_on")
    port = await worker.dial()
    await port.send(b"go")
    await port.recv()
    begun = perf_counter()
    await worker.ended()
    worker.restart()
    await worker.machine.when("Ready")
    took = (perf_counter() - begun) * 1000
    worker.terminate()
    return took

json.dumps(max([await replaced() for _ in range(5)]))
"""


# Durable machines


def commits(page: Page) -> Iterator[Row]:
    """From the call to the end of its await, which is after the commit; beside it the bare commit of a record."""
    found = run(page, COMMITS)
    peers = {"a bare record of 64 bytes": found["bare"]}
    yield row("an awaited mutation of a durable machine", "ms", found["durable"], peers=peers)
    yield row("100 of them at once, each", "ms", found["many"])


COMMITS = f"""
import asyncio, json
from statistics import median
from time import perf_counter
import asyncmachine as am
from asyncmachine_web.page import durable
from asyncmachine_web.page.store import IndexedDb

class Noting(am.StatesDef):
    Noted = am.state(multi=True)

async def times(work, count={TRIPS // 2}):
    found = []
    for _ in range(count):
        begun = perf_counter()
        await work()
        found.append(perf_counter() - begun)
    return median(found[count * 3 // 4:]) * 1000

machine = await durable.open(Noting, id="bench")
async def add():
    await machine.add("Noted")
async def many():
    for result in [machine.add("Noted") for _ in range(100)]:
        await result

store = IndexedDb("bare")
await store.claim()
async def bare():
    await store.write({{"record": bytes(64)}}, ())

json.dumps({{"durable": await times(add), "bare": await times(bare), "many": await times(many, {BATCHES}) / 100}})
"""


# Page and native


class Desk(rpc.StateSource):
    """What the native machine of the round trips has."""

    Noted = am.state(multi=True)


async def echo(tunnel: Tunnel) -> None:
    """Sends everything back, until the page has gone."""
    while True:
        await tunnel.transport.send(await tunnel.transport.recv())


def trips(browser: Browser, origin: str) -> Iterator[Row]:
    """A mutation of a native machine through the relay, awaited."""
    with visitor(browser) as page:
        open_page(page, f"{origin}/bench/trips.html")
        ours = run(page, MIRROR)
        bare = page.evaluate("([count, size]) => bareTrips(count, size)", [TRIPS, 64])
    peers = {"bare WebSocket": median(bare[WARM_UP:])}
    what = "round trip of a page and a native mutation"
    yield row(what, "ms", median(ours[WARM_UP:]) * 1000, peers=peers, aim="ours <= 1.5")


MIRROR = f"""
import json
from time import perf_counter
import asyncmachine as am
from asyncmachine import rpc
from asyncmachine_web.page import relay

class Desk(rpc.StateSource):
    Noted = am.state(multi=True)

client = rpc.Client(relay.dial("desk", "desk"), Desk)
client.start()
await client.when_ready()
times = []
for _ in range({TRIPS}):
    begun = perf_counter()
    await client.netmach.add(Desk.Noted)
    times.append(perf_counter() - begun)
await client.stop()
json.dumps(times)
"""


def open_page(page: Page, address: str) -> None:
    """Wait until its Python takes what the bench tells it."""
    page.goto(address)
    page.wait_for_selector("#python", state="attached")


if __name__ == "__main__":
    sys.exit(main("browser", rows))
