"""The same in Firefox ESR: Python boots, the document follows, workers, a native machine's mirror, what is kept.

It is installed in CI and by `make test FIREFOX=1`; elsewhere these tests are skipped, and say so.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine_relay import Match, Relay, StaticRoot
from asyncmachine_web.build import static_folder
from tests.web.browser import IMPORTS, serving, vendor_folder
from tests.web.desk import serve_desk
from tests.web.firefox import Firefox, firefox, installed

PAGES = Path(__file__).parent / "pages"

pytestmark = pytest.mark.skipif(
    not installed(), reason="firefox-esr is not installed: make test FIREFOX=1 does that, and CI"
)


class Desk(rpc.StateSource):
    """A native machine."""

    Noted = am.state(multi=True)
    Closed = am.state()


class DeskHandlers:
    def NotedState(self, e: am.Event) -> None:
        if e.machine.tick(Desk.Noted) == 3:
            e.add(Desk.Closed)


@pytest.fixture(scope="module")
def address(base_url: str, built: Path) -> Iterator[str]:
    """Where the pages of all browser tests are, and the desk."""
    static: list[StaticRoot] = [("/pages/", PAGES), ("/built/", built), static_folder(), ("/vendor/", vendor_folder())]
    with serving(Relay(static, dial=[Match("desk", target="desk", serve=serve_desk(Desk, DeskHandlers()))])) as found:
        yield found


@pytest.fixture(scope="module")
def fox(address: str) -> Iterator[Firefox]:
    with firefox() as found:
        yield found
        found.check()


def test_python_starts_from_the_snapshot_and_the_document_follows_it(fox: Firefox, address: str) -> None:
    fox.goto(f"{address}/pages/bare-counter.html")
    fox.until("document.getElementById('badge').className === 'on'")
    fox.evaluate("() => document.querySelector('[data-action=add] i').click()")
    fox.until("document.getElementById('badge').textContent === '1 clicks'")
    asked = fox.evaluate("() => performance.getEntriesByType('resource').map((each) => each.name)")
    assert any(url.endswith("/python.snapshot") for url in asked)
    assert not [url for url in asked if re.search(r"python_stdlib|asyncmachine-.*whl", url)]
    assert fox.evaluate("() => crossOriginIsolated")


def test_a_loader_that_was_not_there_at_first_is_asked_for_again(fox: Firefox, built: Path, tmp_path: Path) -> None:
    """Firefox remembers that an import has failed."""
    own = shutil.copytree(static_folder(), tmp_path / "static")
    loader = own / "vendor/pyodide/pyodide.mjs"
    files = [file.rename(tmp_path / file.name) for file in loader.parent.glob(f"{loader.name}*")]
    with serving(Relay([("/pages/", PAGES), ("/built/", built), own])) as address:
        fox.goto(f"{address}/pages/python.html")
        fox.until("performance.getEntriesByName('asyncmachine:retrying').length")
        for file in files:
            file.rename(loader.parent / file.name)
        fox.until("performance.getEntriesByName('asyncmachine:ready').length")
        fox.check("pyodide.mjs")


def test_workers_a_native_machine_and_what_is_kept(fox: Firefox, address: str) -> None:
    def open_python() -> None:
        fox.until("document.getElementById('python')")
        fox.run(IMPORTS)
        fox.run("import shop; machine = await shop.open_shop(); None")

    fox.goto(f"{address}/pages/python.html")
    open_python()
    assert fox.run(ECHO) == ["w1 hello", "returned"]
    assert fox.run(MIRROR) == {"Noted": 3, "Closed": 1}
    before = fox.run("await machine.add('Open'); await machine.add('Paid'); json.dumps(shop.told(machine))")
    fox.reload()
    open_python()
    after = fox.run("json.dumps(shop.told(machine))")
    assert after == {**before, "keeping": ["Kept", "Resumed"]}
    assert after["clock"] == {"Exception": 0, "Open": 1, "Paid": 1}


ECHO = """
worker = Worker.fork("w1", "workload:echo")
port = await worker.dial()
answer = await ask(port, b"hello")
await port.send(b"exit")
json.dumps([answer, await worker.ended()])
"""

MIRROR = """
class Desk(rpc.StateSource):
    Noted = am.state(multi=True)
    Closed = am.state()

client = rpc.Client(relay.dial("desk", "desk"), Desk)
client.start()
await client.when_ready()
mirror = client.netmach
await mirror.add(Desk.Noted)
await mirror.add(Desk.Noted)
await mirror.when(Desk.Closed)
clock = {name: mirror.tick(name) for name in ("Noted", "Closed")}
await client.stop()
json.dumps(clock)
"""
