"""What every page owes to everybody: it fits, it can be read, keys will do, what moves stops, what is old is marked."""

# mypy: disable-error-code="import-untyped"
from __future__ import annotations

from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

LOOKS: list[tuple[int, Literal["light", "dark"]]] = [(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")]
MOVING = """(() => {
    const moves = ({ transitionDuration, animationName, animationIterationCount }) =>
        /[1-9]/.test(transitionDuration) || (!['', 'none'].includes(animationName) && animationIterationCount !== '1');
    const parts = [...document.querySelectorAll('*')].flatMap((each) => ['', '::before', '::after'].map((part) =>
        [`${each.localName}.${each.getAttribute('class')}${part}`, getComputedStyle(each, part || null)]));
    const rules = (list) => [...list].flatMap((rule) => {
        if (rule instanceof CSSMediaRule) return matchMedia(rule.conditionText).matches ? rules(rule.cssRules) : [];
        return rule.selectorText?.includes('::-') ? [[rule.selectorText, rule.style]] : [];
    });
    const shown = parts.filter(([name, { content }]) => !name.includes('::') || !['none', 'normal'].includes(content));
    const told = [...document.styleSheets].flatMap((sheet) => rules(sheet.cssRules));
    return [...shown, ...told].filter(([, style]) => moves(style)).map(([name]) => name);
})()"""
"""What moves: elements, what stands before and after them, and parts of theirs that only a style sheet tells of."""

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


def moving(page: Page, during: str) -> list[str]:
    """What moves while something matches that selector, though the page is asked for reduced motion; waits for it."""
    page.emulate_media(reduced_motion="reduce")
    found = page.wait_for_function(f"(during) => document.querySelector(during) && {MOVING}", arg=during)
    return list(found.json_value())


def check_looks(page: Page) -> None:
    """On a phone and on a desk, light and dark, with reduced motion: no sideways scrolling, and axe finds nothing."""
    for width, scheme in LOOKS:
        page.set_viewport_size({"width": width, "height": 844})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"wider than {width} px"
        found = Axe().run(page)
        assert found.violations_count == 0, f"{width} px, {scheme}:\n{found.generate_report()}"
    assert moving(page, "body") == []


LONGEST_WAY = 30
"""Presses of Tab; no page here has so many places to go to."""


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until the focus is there, as people do who use no mouse, and see that it shows."""
    expect(target).to_be_enabled()
    for _ in range(LONGEST_WAY):
        page.keyboard.press("Tab")
        if target.evaluate("(each) => each === document.activeElement"):
            break
    expect(target).to_be_focused()
    assert target.evaluate("(each) => getComputedStyle(each).outlineStyle") != "none"
