"""What every page owes to everybody: it fits, it can be read, and nothing moves for those who asked for that."""

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


def check_looks(page: Page) -> None:
    """On a phone and on a desk, light and dark, with reduced motion: no sideways scrolling, and axe finds nothing."""
    for width, scheme in LOOKS:
        page.set_viewport_size({"width": width, "height": 844})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"wider than {width} px"
        found = Axe().run(page)
        assert found.violations_count == 0, f"{width} px, {scheme}:\n{found.generate_report()}"
    assert page.evaluate(MOVING) == 0
