"""What every page owes to everybody: it fits, it can be read, what moves stops when asked, what is old is marked."""

# mypy: disable-error-code="import-untyped"
from __future__ import annotations

from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

LOOKS: list[tuple[int, Literal["light", "dark"]]] = [(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")]
MOVING = """[...document.querySelectorAll('*')].filter((each) => {
    const { transitionDuration, animationName, animationIterationCount } = getComputedStyle(each);
    return transitionDuration !== '0s' || (animationName !== 'none' && animationIterationCount !== '1');
}).length"""

FRAMES_UNTIL_STALE = """
window.framesUntilStale = new Promise((done) => {
    window.WebSocket = class extends WebSocket {
        constructor(...given) {
            super(...given);
            let frames = 0;
            const look = () => {
                if (document.querySelector("[data-stale]")) return done(frames);
                frames += 1;
                requestAnimationFrame(look);
            };
            this.addEventListener("close", look);
        }
    };
});
"""
"""To be run before a page's own scripts: counts the frames it draws from the cut until something is marked stale."""

A_SECOND = 60
"""Frames: seconds would measure how busy the computer is."""


def check_looks(page: Page) -> None:
    """On a phone and on a desk, light and dark, with reduced motion: no sideways scrolling, and axe finds nothing."""
    for width, scheme in LOOKS:
        page.set_viewport_size({"width": width, "height": 844})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"wider than {width} px"
        found = Axe().run(page)
        assert found.violations_count == 0, f"{width} px, {scheme}:\n{found.generate_report()}"
    assert page.evaluate(MOVING) == 0
