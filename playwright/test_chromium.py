"""The browser that all these tests run in."""

from __future__ import annotations

from playwright.sync_api import Browser, Page


def test_it_draws_nothing_but_pages(browser: Browser, page: Page) -> None:
    """A renderer for what its own address bar may show takes as long to start as a page does."""
    page.goto("about:blank")
    session = browser.new_browser_cdp_session()
    targets = session.send("Target.getTargets", {"filter": [{}]})["targetInfos"]
    assert page.url in {target["url"] for target in targets}
    assert not [target["url"] for target in targets if target["type"] == "browser_ui"]
