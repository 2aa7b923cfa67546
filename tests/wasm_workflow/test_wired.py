"""The five machines over real aRPC, in one process. Faults come when states say so, never after a time."""

from dataclasses import replace
from typing import Any

import pytest

from examples.wasm_workflow import dag, seeds
from examples.wasm_workflow.orders import Child, Cut
from examples.wasm_workflow.parent import PATIENCE, STARTING_PATIENCE
from examples.wasm_workflow.settings import Settings
from examples.wasm_workflow.states import LEAVES, Orchestrator, Page, Worker, of
from tests.wasm_workflow.wired import Wired

CALM = Settings(seed=0, success_rate=10**9, hash_iterations=1000)

BUSY = replace(CALM, hash_iterations=200_000)
"""A node works for some tenths of a second, so that one can interfere."""


async def test_a_calm_run_delivers() -> None:
    async with Wired(CALM) as flow:
        await flow.mirror.when(Orchestrator.WorkDelivered)
        assert flow.handlers.run.round == 1
        assert dag.wrong(flow.handlers.run.results) == ()
        assert not flow.machine.is_err()


async def test_a_seed_tells_the_same_story_as_without_any_network() -> None:
    async with Wired(Settings(seeds.EVENTFUL_SEED, hash_iterations=100)) as flow:
        await flow.machine.when(Orchestrator.WorkDelivered)
        assert flow.handlers.run.round == len(list(seeds.foretell(seeds.EVENTFUL_SEED, 5, 50)))
        assert flow.handlers.run.restarts == 2


async def test_workers_are_given_time_to_start_and_less_when_they_are_ready() -> None:
    async with Wired(BUSY) as flow:
        leaf, starts = flow.leaves["browser3"], []
        assert flow.browser2.patience == STARTING_PATIENCE
        leaf.machine.bind({"StartingState": lambda _: starts.append(leaf.patience)})
        await flow.mirror.when(of(leaf.id, "Working"))
        assert [worker.patience for worker in (flow.browser2, *flow.leaves.values())] == [PATIENCE] * 3
        await flow.mirror.add(Orchestrator.KillWorker, Child(leaf.id))
        await flow.mirror.when(Orchestrator.WorkDelivered)
        assert (starts, leaf.patience) == ([STARTING_PATIENCE] * 2, PATIENCE)


@pytest.mark.parametrize("leaf", LEAVES)
async def test_a_leaf_that_is_killed_at_work_is_forked_again_and_its_node_retried(leaf: str) -> None:
    async with Wired(BUSY) as flow:
        await flow.mirror.when(of(leaf, "Working"))
        assert (await flow.mirror.add(Orchestrator.KillWorker, Child(leaf))).executed
        await flow.mirror.when(Orchestrator.WorkDelivered)
        assert flow.leaves[leaf].starts == 2
        assert f"round 1: {leaf} starts over, attempt 2" in flow.sentences()
        assert (flow.handlers.run.round, flow.handlers.run.attempts["browser1"]) == (1, 1)


async def test_a_dispatcher_that_is_killed_is_forked_again_and_forks_its_leaves() -> None:
    async with Wired(BUSY) as flow:
        await flow.mirror.when(Orchestrator.Browser2Working)
        await flow.mirror.add(Orchestrator.KillWorker, Child("browser2"))
        await flow.mirror.when(Orchestrator.WorkDelivered)
        assert [flow.browser2.starts, *(leaf.starts for leaf in flow.leaves.values())] == [2, 2, 2]
        assert "round 1: browser2, browser3 and browser4 are gone" in flow.sentences()
        assert flow.handlers.run.round == 1


async def test_a_cut_is_mended_and_the_round_goes_on() -> None:
    async with Wired(BUSY) as flow:
        await flow.mirror.when(Orchestrator.Browser1Working)
        flow.mirror.add(Orchestrator.CutConnection, Cut(0.05))
        await flow.machine.when(Orchestrator.CutConnection)
        await flow.page.machine.when_not(Page.Linked, Worker.Working, Worker.Ready)
        await flow.mirror.when(Orchestrator.WorkDelivered)
        assert flow.handlers.run.restarts == 0
        assert Page.Linked in flow.page.machine


async def test_an_orchestrator_that_starts_anew_begins_a_new_run() -> None:
    async with Wired(BUSY) as flow:
        await flow.mirror.when(Orchestrator.Browser1Working)
        dead = flow.machine
        async with flow.cut():
            flow.start_orchestrator()
        await flow.machine.when(Orchestrator.WorkDelivered)
        await flow.mirror.when(Orchestrator.WorkDelivered)
        assert Orchestrator.WorkDelivered not in dead
        assert flow.sentences()[0] == "run 1 begins with seed 0"
        assert not any("late" in sentence for sentence in flow.sentences())
        dead.dispose()


async def test_run_again_is_asked_for_on_the_mirror() -> None:
    async with Wired(CALM) as flow:
        await flow.mirror.when(Orchestrator.WorkDelivered)
        assert (await flow.mirror.add(Orchestrator.RunAgain)).executed
        assert Orchestrator.WorkDelivered not in flow.mirror
        await flow.mirror.when(Orchestrator.WorkDelivered)
        assert flow.handlers.runs == 2


async def test_the_next_result_can_be_corrupted_from_the_mirror() -> None:
    async with Wired(BUSY) as flow:
        await flow.mirror.when(Orchestrator.Browser1Working)
        await flow.mirror.add(Orchestrator.CorruptNext)
        await flow.mirror.when(Orchestrator.WorkDelivered)
        assert flow.handlers.run.restarts == 1


async def test_the_page_may_use_the_controls_and_nothing_else() -> None:
    async with Wired(BUSY) as flow:
        await flow.mirror.when(Orchestrator.Browser1Working)
        for state in (Orchestrator.WorkDelivered, Orchestrator.StartWork, Orchestrator.Exception):
            with pytest.raises(Exception, match="FORBIDDEN"):
                await flow.mirror.add(state)
        assert Orchestrator.WorkDelivered not in flow.machine


async def test_the_page_gets_the_whole_story_in_order_and_each_sentence_once() -> None:
    async with Wired(Settings(seeds.EVENTFUL_SEED, hash_iterations=100)) as flow:
        await flow.mirror.when(Orchestrator.WorkDelivered)
        while not flow.shown or flow.shown[-1]["wrong"]:
            await flow.page.machine.when_ticks(Page.ServerPayload, 1)
        lines = [line for figures in flow.shown for line in figures["lines"]]
        assert [text for _, _, _, text in lines] == flow.sentences()
        assert [number for number, *_ in lines] == list(range(len(lines)))
        last = flow.shown[-1]
        assert (last["finals"], last["finals_round"]) == (dag.EXPECTED, 3)
        assert set(last["bytes"]) == set(last["latency"]) == set(dag.NODES)
        assert all(size > 300 for size in last["bytes"].values())


async def test_a_page_that_comes_back_gets_the_story_from_its_beginning() -> None:
    async with Wired(CALM) as flow:
        await flow.mirror.when(Orchestrator.WorkDelivered)
        await flow.page.machine.when(Page.Linked)
        flow.shown.clear()
        flow.tunnels["page"].cut()
        while not any(figures["lines"] for figures in flow.shown):
            await flow.page.machine.when_ticks(Page.ServerPayload, 1)
        assert flow.shown[0]["lines"][0][0] == 0


async def test_the_dispatcher_shows_every_state_of_its_leaves() -> None:
    async with Wired(BUSY) as flow:
        await flow.machine.when(Orchestrator.Browser3Working)
        dispatcher: Any = flow.handlers.remotes["browser2"]
        seen = {name.removeprefix("Browser3") for name in dispatcher.active_states() if name.startswith("Browser3")}
        assert {"RpcReady", "Start", "Ready", "Working"} <= seen
