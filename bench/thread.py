"""The thread through everything, `examples.wasm_workflow` in real Chromium: `python -m bench.thread`.

Boots are measured from the start of the navigation. Cold is a browser that has never seen the page, warm is its second
visit. Beside them: Pyodide by itself, without a package, in the page first and then in three workers at once. A round
trip is a state the page adds, that a handler of the native machine answers with a mutation, and that the page sees.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from time import perf_counter, time

from playwright.sync_api import Browser, Page, sync_playwright

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine_relay import Match, Relay, Tunnel
from asyncmachine_web.build import static_folder
from bench.report import Row, main, row
from examples.wasm_workflow.settings import DEMO_ITERATIONS, QUICK_ITERATIONS, Settings
from examples.wasm_workflow.states import Orchestrator
from scripts.setup import FIRST_RUN
from tests.wasm_workflow.native import CALM, PATIENCE, Native, native, reserved_port
from tests.web.browser import CHROMIUM, FLAGS, run, serving
from tests.web.desk import serve_desk

ROOT = Path(__file__).parents[1]
PAGES = Path(__file__).parent / "pages"
BOOTS, RUNS, CLICKS, TRIPS, WARM_UP = 3, 6, 40, 500, 100
LOOK = 20
"""Milliseconds between two looks at a page."""


def rows() -> Iterator[Row]:
    """All figures."""
    yield from first_run()
    yield row("second run: from the command to the address", "s", command())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield from boots(browser)
        yield from workflow(browser)
        yield from trips(browser)
        browser.close()


def first_run() -> Iterator[Row]:
    """What `make demo` took where nothing was installed: `make setup` has written it down."""
    record = ROOT / ".venv" / FIRST_RUN
    if record.is_file():
        found = json.loads(record.read_text())
        yield row("first run: setup", "s", found["seconds"])
        yield row("first run: disk", "MB", found["bytes"] / 1e6)
    else:
        print("  no first run of the setup is on record; `make clean setup` makes one", file=sys.stderr)


def command() -> float:
    """Seconds until the workflow's command serves."""
    begun = perf_counter()
    arguments = [sys.executable, "-m", "examples.wasm_workflow", "--port=0"]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("Open "):
            pass
        took = perf_counter() - begun
        process.terminate()
    return took


@contextmanager
def visitor(browser: Browser) -> Iterator[Page]:
    """An empty page, in a browser without any cache."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE * 1000)
    yield context.new_page()
    context.close()


@dataclass
class Shown:
    """The workflow on a page. `begun` and `delivered` are times of rounds and ends of runs, in seconds."""

    page: Page
    flow: Native
    begun: list[float]
    delivered: list[float]

    def runs(self) -> list[float]:
        """Milliseconds of each run, if all of them had a single round."""
        return [(end - begin) * 1000 for begin, end in zip(self.begun, self.delivered, strict=True)]


@contextmanager
def shown(browser: Browser, settings: Settings) -> Iterator[Shown]:
    """A page that is about to be opened."""
    with reserved_port() as port, native(settings, port) as flow, visitor(browser) as page:
        begun = flow.note("StartWorkState", lambda _: time())
        delivered = flow.note("WorkDeliveredState", lambda _: time())
        yield Shown(page, flow, begun, delivered)


# Boots


def boots(browser: Browser) -> Iterator[Row]:
    """Page and workers, cold and warm."""
    ours, bare = Boots(), Boots()
    with serving(Relay([("/bench/", PAGES), static_folder()])) as origin:
        for _ in range(BOOTS):
            with visitor(browser) as page:
                bare.cold.append(boot_bare(page, origin))
                bare.warm.append(boot_bare(page, origin))
            with shown(browser, CALM) as its:
                ours.cold.append(boot_ours(its))
                ours.warm.append(boot_ours(its))
    for part, what in enumerate(("page", "page and three workers")):
        for when in ("cold", "warm"):
            peers = {"bare Pyodide": bare.median(when, part)}
            yield row(f"{what}, {when}", "ms", ours.median(when, part), peers=peers)


@dataclass
class Boots:
    """Milliseconds until Python runs in the page, and in the workers too."""

    cold: list[tuple[float, float]] = field(default_factory=list)
    warm: list[tuple[float, float]] = field(default_factory=list)

    def median(self, when: str, part: int) -> float:
        boots: list[tuple[float, float]] = getattr(self, when)
        return median(boot[part] for boot in boots)


def boot_bare(page: Page, origin: str) -> tuple[float, float]:
    """Of a page that does nothing else."""
    page.goto(f"{origin}/bench/bare.html")
    return marked(page, "page ready"), marked(page, "workers ready")


def boot_ours(its: Shown) -> tuple[float, float]:
    """Of the workflow's. The workers are ready when the orchestrator sees them so."""
    ready = its.flow.note("WorkersReadyState", lambda _: time())
    workers = its.flow.machine.when_next_active(Orchestrator.WorkersReady)
    its.page.goto(its.flow.app.address)
    its.flow.until(workers)
    navigated = float(its.page.evaluate("performance.timeOrigin"))
    return marked(its.page, "asyncmachine:ready"), ready[0] * 1000 - navigated


def marked(page: Page, name: str) -> float:
    """Milliseconds from the navigation to a mark of the page, which may still have to be made."""
    look = "name => performance.getEntriesByName(name)[0]?.startTime"
    while (at := page.evaluate(look, name)) is None:
        page.wait_for_timeout(LOOK)
    return float(at)


# The workflow


def workflow(browser: Browser) -> Iterator[Row]:
    """The time of a run, and from a click to what it changes."""
    with shown(browser, CALM) as its:
        its.page.goto(its.flow.app.address)
        its.flow.reach(Orchestrator.WorkDelivered)
        for _ in range(RUNS):
            done = its.flow.machine.when_next_active(Orchestrator.WorkDelivered)
            its.page.click("#again")
            its.flow.until(done)
        yield row("a run without a mishap", "ms", median(its.runs()[1:]))
        clicks = [float(its.page.evaluate(CLICK)) for _ in range(CLICKS)]
        yield row("from a click, there and back, to the changed document", "ms", median(clicks[CLICKS // 2 :]))
    with shown(browser, Settings(seed=7, hash_iterations=QUICK_ITERATIONS)) as its:
        its.page.goto(its.flow.app.address)
        its.flow.reach(Orchestrator.WorkDelivered)
        yield row("a run with seed 7: 11 attempts in 2 rounds", "ms", (its.delivered[0] - its.begun[0]) * 1000)
    with shown(browser, replace(CALM, hash_iterations=DEMO_ITERATIONS)) as its:
        its.page.goto(its.flow.app.address)
        its.flow.reach(Orchestrator.WorkDelivered)
        yield row("a run as the interactive demo has it", "ms", *its.runs())


CLICK = """
() => new Promise((done) => {
    const button = document.querySelector("#corrupt");
    const begun = performance.now();
    const changed = () => done(performance.now() - begun);
    new MutationObserver(changed).observe(button, { attributes: true, attributeFilter: ["aria-pressed"] });
    button.click();
})
"""
"""Milliseconds from a click on the switch until it shows its other state, which is the orchestrator's."""


# Round trips


class Desk(rpc.StateSource):
    """What the native machine of the round trips has."""

    Ask = am.state(multi=True)
    Told = am.state(multi=True)
    Noted = am.state(multi=True)


class DeskHandlers:
    """Answers a state with a mutation."""

    def AskState(self, e: am.Event) -> None:
        e.remove(Desk.Ask)
        e.add(Desk.Told)

    def ToldState(self, e: am.Event) -> None:
        e.remove(Desk.Told)


async def echo(tunnel: Tunnel) -> None:
    """Sends everything back, until the page has gone."""
    while True:
        await tunnel.transport.send(await tunnel.transport.recv())


def trips(browser: Browser) -> Iterator[Row]:
    """Times and bytes between a page and the native process, through the relay."""
    dial = [
        Match("desk", target="desk", serve=serve_desk(Desk, DeskHandlers())),
        Match("bare", target="echo", serve=echo),
    ]
    with serving(Relay([("/bench/", PAGES), static_folder()], dial=dial)) as origin, visitor(browser) as page:
        page.goto(f"{origin}/bench/trips.html")
        page.wait_for_selector("#python", state="attached")
        times, size = run(page, MIRROR)
        bare = page.evaluate("([count, size]) => bareTrips(count, size)", [TRIPS, round(size / 2)])
        peers = {"bare WebSocket": median(bare[WARM_UP:]) * 1000}
        what = "a state of the page, answered by a mutation, seen by the page"
        yield row(what, "µs", median(times[WARM_UP:]) * 1e6, peers=peers)
        yield row("a mutation and its answer", "B", size)


MIRROR = f"""
import json
from time import perf_counter
import asyncmachine as am
from asyncmachine import rpc
from asyncmachine_web.page import relay

class Desk(rpc.StateSource):
    Ask = am.state(multi=True)
    Told = am.state(multi=True)
    Noted = am.state(multi=True)

client = rpc.Client(relay.dial("desk", "desk"), Desk)
client.start()
await client.when_ready()
desk = client.netmach
times = []
for _ in range({TRIPS}):
    begun = perf_counter()
    desk.add(Desk.Ask)
    await desk.when_ticks(Desk.Told, 1)
    times.append(perf_counter() - begun)

def carried():
    return client.statistics.bytes_in + client.statistics.bytes_out

before = carried()
for _ in range({TRIPS}):
    await desk.add(Desk.Noted)
size = (carried() - before) / {TRIPS}
await client.stop()
json.dumps([times, size])
"""


if __name__ == "__main__":
    sys.exit(main("thread", rows))
