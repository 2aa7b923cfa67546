"""The native process: what it serves, and the workflow through its relay."""

import io
import zipfile
from pathlib import Path

import pytest

from asyncmachine.rpc import TransportClosed
from asyncmachine_relay import bind
from examples.wasm_workflow import dag
from examples.wasm_workflow.app import App, NotSetUp, check_setup
from examples.wasm_workflow.orders import Cut
from examples.wasm_workflow.settings import Settings
from examples.wasm_workflow.states import Orchestrator, Page
from tests.wasm_workflow.relayed import Relayed, http, open_tunnel

CALM = Settings(seed=0, success_rate=10**9, hash_iterations=1000)
BUSY = Settings(seed=0, success_rate=10**9, hash_iterations=300_000)


async def test_the_workflow_runs_through_the_relay() -> None:
    async with Relayed(CALM) as flow:
        await flow.mirror.when(Orchestrator.WorkDelivered)
        assert dag.wrong(flow.handlers.run.results) == ()
        assert not flow.machine.is_err()


async def test_a_cut_closes_the_relay_and_opens_it_again_at_the_same_address() -> None:
    async with Relayed(BUSY) as flow:
        address = flow.app.address
        await flow.mirror.when(Orchestrator.Browser1Working)
        flow.mirror.add(Orchestrator.CutConnection, Cut(0.05))
        await flow.page.machine.when_not(Page.Linked)
        await flow.mirror.when(Orchestrator.WorkDelivered)
        assert flow.app.address == address
        assert (flow.handlers.run.round, flow.handlers.run.restarts) == (1, 0)


async def test_nobody_else_gets_a_tunnel() -> None:
    async with App(CALM, bind()) as app:
        for op, name in (("listen", "browser3"), ("listen", "browser"), ("dial", "browser2")):
            with pytest.raises(TransportClosed, match="TARGET"):
                await open_tunnel(app.address.rstrip("/"), op, name)


async def test_the_page_and_its_python_are_served() -> None:
    async with App(CALM, bind()) as app:
        page = await http("GET", app.address, "/")
        assert page.status == 200
        assert b"<title>Five machines" in page.body
        assert "'unsafe-eval'" in page.headers["content-security-policy"], "PyScript needs it"
        for path in ("style.css", "main.py", "pyscript.json", "boot.mjs", "vendor/pyodide/pyodide.mjs"):
            assert (await http("GET", app.address, f"/{path}")).status == 200, path
        packed = zipfile.ZipFile(io.BytesIO((await http("GET", app.address, "/workflow.zip")).body))
        names = packed.namelist()
        assert {"examples/__init__.py", "examples/wasm_workflow/browser.py"} <= set(names)
        assert all(name.startswith("examples/") for name in names)


async def test_nothing_is_left_when_it_ends() -> None:
    app = App(CALM, bind())
    async with app:
        sources = Path(app._sources.name)
        assert (sources / "workflow.zip").is_file()
        address = app.address
    assert not sources.exists()
    assert app.machine.is_disposed
    with pytest.raises(ConnectionRefusedError):
        await http("GET", address, "/")


def test_what_is_not_installed_is_named_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(NotSetUp, match=r"vendor/pyodide/pyodide.mjs is missing: run `make setup` first"):
        check_setup(tmp_path)
