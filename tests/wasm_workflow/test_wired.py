"""The five machines over real aRPC, in one process."""

from dataclasses import replace

from examples.wasm_workflow import dag, seeds
from examples.wasm_workflow.settings import Settings
from examples.wasm_workflow.states import Orchestrator
from tests.wasm_workflow.wired import Wired

CALM = Settings(seed=0, success_rate=10**9, hash_iterations=1000)
ENDLESS = replace(CALM, hash_iterations=10_000_000)


async def test_a_calm_run_delivers() -> None:
    async with Wired(CALM) as flow:
        await flow.mirror.when(Orchestrator.WorkDelivered)
        assert flow.handlers.run.round == 1
        assert dag.wrong(flow.handlers.run.results) == ()


async def test_a_seed_tells_the_same_story_as_without_any_network() -> None:
    async with Wired(Settings(seeds.EVENTFUL_SEED, hash_iterations=100)) as flow:
        await flow.machine.when(Orchestrator.WorkDelivered)
        assert flow.handlers.run.round == len(list(seeds.foretell(seeds.EVENTFUL_SEED, 5, 50)))
        assert flow.handlers.run.restarts == 2
