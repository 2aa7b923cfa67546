"""A Python that JavaScript has not given what is needed: each part says what that is."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine_web.page import durable, relay, shared
from asyncmachine_web.page.durable import DurableMachine
from asyncmachine_web.page.given import NotGiven
from asyncmachine_web.page.lifecycle import lifecycle
from asyncmachine_web.page.ui import Page

STARTED = "of asyncmachine_js; it is there if boot.mjs has started Python"


class Shop(am.StatesDef):
    Open = am.state()


async def opened() -> DurableMachine[Any]:
    return await durable.open(Shop, id="shop")


async def joined() -> shared.Tab[Shop]:
    return shared.join("shop", Shop, opened)


async def called(part: Callable[[], object]) -> None:
    part()


@pytest.mark.parametrize("given", [None, SimpleNamespace(ui=None)], ids=["nothing", "its surface alone"])
@pytest.mark.parametrize(
    ("part", "why"),
    [
        (lambda: called(lifecycle), f"lifecycle() needs discarded, follow, visibility {STARTED}"),
        (lambda: called(lambda: relay.dial("me", "shop")), f"a tunnel needs base, tab {STARTED}"),
        (opened, f"durable.open() needs records, base {STARTED}"),
        (joined, f"shared.join() needs base {STARTED}"),
    ],
    ids=["lifecycle", "tunnel", "durable", "shared"],
)
async def test_what_javascript_has_not_given_is_told_where_it_is_needed(
    monkeypatch: pytest.MonkeyPatch, given: object, part: Callable[[], Awaitable[object]], why: str
) -> None:
    monkeypatch.setitem(sys.modules, "asyncmachine_js", given)
    with pytest.raises(NotGiven) as told:
        await part()
    assert str(told.value) == why


def test_a_page_needs_a_surface_and_a_document(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotGiven, match=r"Page\(\) needs ui .* or by pyodide\.registerJsModule"):
        Page()
    monkeypatch.setitem(sys.modules, "asyncmachine_js", SimpleNamespace(ui=None))
    with pytest.raises(NotGiven, match="needs a document, and this is a worker"):
        Page()
