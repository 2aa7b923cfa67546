"""Runs that nobody disturbs."""

from __future__ import annotations

from collections import Counter

import pytest
from playwright.sync_api import Page, Worker

import asyncmachine as am
from asyncmachine.rpc.states import ServerPayload
from examples.wasm_workflow import dag, seeds
from examples.wasm_workflow.draws import Draw
from examples.wasm_workflow.orders import from_meta
from examples.wasm_workflow.settings import QUICK_ITERATIONS, Settings
from tests.wasm_workflow.native import CALM, Serve
from tests.wasm_workflow.tab import Tab
from tests.web.browser import Mishaps

Answer = tuple[int, str, int, Draw]
"""Round, node, attempt, and what it was."""

PATIENCE = 200
"""Looks at what a page has told, 50 ms apart."""


def answer(e: am.Event) -> Answer:
    """What a node has sent."""
    payload = e.args(ServerPayload)
    attempt = from_meta(payload.meta)
    assert attempt is not None
    what = {b"": Draw.FAILED, dag.CORRUPTED: Draw.CORRUPT}.get(payload.data, Draw.GOOD)
    return attempt.round, payload.source, attempt.number, what


def test_a_plain_run_delivers(serve: Serve, tab: Tab, mishaps: Mishaps, address: str) -> None:
    flow = serve(Settings(seed=7, hash_iterations=QUICK_ITERATIONS))
    tab.open(address)
    flow.deliver()
    tab.expect_delivery()
    files = Counter(url.rpartition("/")[2] for url in mishaps.requests)
    assert files["workflow.zip"] >= len(dag.NODES), "the requests of all four threads are counted"
    assert not files["python_stdlib.zip"], "all that the threads import is in the snapshot"
    assert mishaps.foreign == []


def test_seed_1104_lets_every_node_corrupt_and_fail_and_tells_the_story_that_was_foretold(
    serve: Serve, tab: Tab, address: str
) -> None:
    flow = serve(Settings(seed=1104, hash_iterations=QUICK_ITERATIONS))
    answers = flow.note("ServerPayloadState", answer)
    tab.open(address)
    flow.deliver()
    tab.expect_delivery()
    assert flow.app.settings.seed == seeds.EVENTFUL_SEED
    for node in dag.NODES:
        assert {what for _, source, _, what in answers if source == node} == set(Draw), node
    foretold = [
        (number, node, attempt, what)
        for number, drawn in enumerate(seeds.foretell(1104, Settings.success_rate, rounds=50), start=1)
        for node, draws in drawn.items()
        for attempt, what in enumerate(draws, start=1)
    ]
    assert sorted(answers) == sorted(foretold)
    tab.expect_told("round 1: browser3 failed, attempt 1, retried")


def test_nothing_that_a_thread_does_wrong_escapes_these_tests(
    serve: Serve, tab: Tab, mishaps: Mishaps, address: str
) -> None:
    """What all other tests here rely on: errors of workers and of workers' workers are seen, and no request leaves."""
    watched = Mishaps(address)
    watched.watch(tab.page.context)
    mishaps.expect("provoked|Content Security Policy")
    serve(CALM)
    tab.open(address)
    tab.expect_delivery()
    threads: list[Page | Worker] = [tab.page, *tab.workers().values()]
    for thread in threads:
        thread.evaluate("console.error(`provoked error in ${self.name}`)")
        thread.evaluate("Promise.reject(new Error(`provoked rejection in ${self.name}`)); 0")
        blocked = "fetch('https://foreign.invalid/').then(() => 'sent', (error) => error.name)"
        assert thread.evaluate(blocked) == "TypeError"
    told = ("console error: provoked error in {}", "unhandled: provoked rejection in {}")
    due = {line.format(node) for line in told for node in ("", "browser2", "browser3", "browser4")}
    for _ in range(PATIENCE):  # a rejection is told some turns of its thread later
        if due <= set(watched.seen):
            break
        tab.page.wait_for_timeout(50)
    with pytest.raises(AssertionError) as caught:
        watched.check()
    assert due <= set(str(caught.value).splitlines())
    assert mishaps.foreign == []
