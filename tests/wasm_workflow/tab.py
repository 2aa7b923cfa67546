"""The page of the workflow in a browser test, as a person sees and uses it."""

from __future__ import annotations

from playwright.sync_api import Error, Page, Worker, expect

from examples.wasm_workflow.dag import FINAL
from tests.wasm_workflow.native import DIGESTS
from tests.web.looks import tab_to

WORKERS = ("browser2", "browser3", "browser4")
LOOK = 20
"""Milliseconds between two looks at something that tells nobody of its change."""


class Tab:
    """A page that shows the workflow. Every `expect_` waits."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def open(self, address: str) -> None:
        """Leaves a mark, by which a later look can tell that this is still the same document."""
        self.page.goto(address)
        self.page.evaluate("window.untouched = true")

    def expect_link(self, word: str) -> None:
        """The word on the badge: live, reconnecting, open in another tab."""
        expect(self.page.locator("#link")).to_have_text(word)

    def expect_node(self, node: str, standing: str) -> None:
        """One of the words of `reading.standing`."""
        expect(self.page.locator(f"#{node}")).to_have_attribute("data-state", standing)

    def expect_told(self, sentence: str) -> None:
        """The story has it."""
        expect(self.page.locator("#story")).to_contain_text(sentence)

    def expect_delivery(self) -> None:
        """The work is delivered, and both digests are there and right."""
        expect(self.page.locator("#result")).to_have_attribute("data-state", "delivered")
        self.expect_link("live")
        for node in FINAL:
            row = self.page.locator(f"#digest-{node}")
            expect(row).to_have_class("right")
            expect(row.locator("dd")).to_have_text(DIGESTS[node])

    def workers(self) -> dict[str, Worker]:
        """The three web workers by name. Playwright hears of a start or an end a little later than the page does."""
        while set(found := self.named()) != set(WORKERS):
            self.page.wait_for_timeout(LOOK)
        return {name: found[name] for name in WORKERS}

    def named(self) -> dict[str, Worker]:
        """Those that are there. Spares have no name of a node."""
        found = {}
        for worker in self.page.workers:
            try:
                found[str(worker.evaluate("self.name"))] = worker
            except Error:
                pass  # it has just ended
        return {name: worker for name, worker in found.items() if name in WORKERS}

    def assert_not_reloaded(self) -> None:
        assert self.page.evaluate("window.untouched") is True

    def press(self, control: str) -> None:
        """The button of that name, by keys alone."""
        tab_to(self.page, self.page.get_by_role("button", name=control, exact=True))
        self.page.keyboard.press("Space")

    def kill(self, node: str) -> None:
        """The node's own button, likewise."""
        tab_to(self.page, self.page.locator(f"#{node} .kill"))
        self.page.keyboard.press("Enter")

    def close(self) -> None:
        """Once everything that the page had to say until now has been heard."""
        self.page.evaluate("0")
        self.page.close()
