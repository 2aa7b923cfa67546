"""`python -m examples.screenshots [FOLDER]`: the examples' pages, on a phone and on a desk, dark and light.

Needs what the browser tests need: `make setup`, and Chromium. The pictures go to docs/images, or to the folder.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from playwright.async_api import BrowserContext, Page, async_playwright

from asyncmachine_relay import bind
from examples.dashboard.app import App as Dashboard
from examples.dashboard.jobs import QueueHandlers
from examples.dashboard.states import Queue, Wanted
from examples.wasm.app import App as Chat
from examples.wasm.chat import Patience
from examples.wasm_workflow.app import App as Workflow
from examples.wasm_workflow.chromium import SWITCHES, find
from examples.wasm_workflow.settings import DEMO_ITERATIONS, Settings

IMAGES = Path(__file__).parents[1] / "docs" / "images"
FLAGS = [
    *SWITCHES,
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
WIDTHS = (390, 1280)
PATIENCE = 120_000
"""Milliseconds for two rounds of the workflow."""
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@asynccontextmanager
async def dashboard(context: BrowserContext) -> AsyncIterator[Page]:
    """In the middle of its work, with one job that failed."""
    async with Dashboard(bind(), QueueHandlers(step=0.08, seed=3)) as app:
        page = await context.new_page()
        await page.goto(app.address)
        await page.get_by_text("live", exact=True).wait_for()
        for title in ("Resize photos", "Index documents", "Send invoices", "Compact the archive", "Render the report"):
            app.machine.add(Queue.AddJob, Wanted(title, 24))
            await asyncio.sleep(1.2)
        await app.machine.when_query(lambda clock: clock["Ended"] // 2 >= 2)
        app.handlers.step = 5.0  # so that all pictures show the same
        await page.locator(".running").wait_for()
        yield page


@asynccontextmanager
async def chat(context: BrowserContext) -> AsyncIterator[Page]:
    """Two tabs talk; the first is shown."""
    async with Chat(bind(), lambda author, text: None, Patience(bored=3600, hello=3600)) as app:
        first, second = await context.new_page(), await context.new_page()
        for page in (first, second):
            await page.goto(app.address)
            await page.get_by_text("live", exact=True).wait_for()
        while len(app.handlers.tabs) < 2:  # noqa: ASYNC110  # nothing to wait for
            await asyncio.sleep(0.01)
        lines = (
            "Is anybody there?",
            "I am, in the other tab.",
            "Then the server has two mirrors.",
            "And each of us has one.",
        )
        for number, line in enumerate(lines):
            page, other = (first, second) if number % 2 == 0 else (second, first)
            await page.locator("#text").fill(line)
            await page.keyboard.press("Enter")
            await other.get_by_text(line).wait_for()
        await first.bring_to_front()
        yield first


@asynccontextmanager
async def workflow(context: BrowserContext) -> AsyncIterator[Page]:
    """In its second round. The run goes on from picture to picture, slowly."""
    async with Workflow(Settings(seed=7, hash_iterations=4 * DEMO_ITERATIONS), bind()) as app:
        page = await context.new_page()
        await page.goto(app.address)
        await page.get_by_text("round 2: browser2 delivered").wait_for(timeout=PATIENCE)
        yield page


EXAMPLES = {"workflow": workflow, "dashboard": dashboard, "chat": chat}


async def take(folder: Path) -> None:
    """All pictures, as NAME-WIDTH-SCHEME.png."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find(), args=FLAGS)
        for name, opened in EXAMPLES.items():
            context = await browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
            async with opened(context) as page:
                for width in WIDTHS:
                    for scheme in SCHEMES:
                        await page.set_viewport_size({"width": width, "height": 800})
                        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                        target = folder / f"{name}-{width}-{scheme}.png"
                        await page.screenshot(path=target, full_page=True, animations="disabled")
                        print(target)
                await context.close()
        await browser.close()


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1]) if sys.argv[1:] else IMAGES))
