"""The orchestrator's decisions, with the nodes' machines right behind it."""

import asyncio
from dataclasses import replace

import pytest

from asyncmachine.rpc.states import ServerPayload
from examples.wasm_workflow import dag, seeds, story
from examples.wasm_workflow.dag import NODES
from examples.wasm_workflow.draws import Draw
from examples.wasm_workflow.orders import RESULT, Child, Cut, to_meta
from examples.wasm_workflow.run import MAX_RETRIES
from examples.wasm_workflow.settings import Settings
from examples.wasm_workflow.states import LEAVES, Orchestrator, Worker, of
from tests.wasm_workflow.local import Local

CALM = Settings(seed=0, success_rate=10**9, hash_iterations=1)
"""No draw goes wrong."""

ENDLESS = replace(CALM, hash_iterations=10_000_000)
"""A node works as long as a test needs it to."""


async def test_a_calm_run_delivers_in_its_first_round() -> None:
    async with Local(CALM) as flow:
        flow.connect()
        await flow.machine.when(Orchestrator.WorkDelivered)
        assert dag.wrong(flow.handlers.run.results) == ()
        assert flow.sentences()[0:2] == ["run 1 begins with seed 0", "round 1: browser1 and browser2 start"]
        assert flow.sentences()[-1] == (
            "round 1: both digests are right, work delivered after 0 restarts and 4 attempts"
        )
        assert sorted(flow.sentences()[2:-1]) == [f"round 1: {node} delivered" for node in NODES]
        assert not flow.machine.is_err()


async def test_every_node_corrupts_and_fails_and_the_third_round_delivers() -> None:
    async with Local(Settings(seeds.EVENTFUL_SEED, hash_iterations=1)) as flow:
        flow.connect()
        await flow.machine.when(Orchestrator.WorkDelivered)
        foretold = list(seeds.foretell(seeds.EVENTFUL_SEED, Settings.success_rate, 50))
        assert flow.handlers.run.round == len(foretold) == 3
        assert flow.handlers.run.restarts == 2
        failed = {(e.round, e.node, e.attempt) for e in flow.told if isinstance(e, story.Failed)}
        assert failed == {
            (number, node, attempt)
            for number, drawn in enumerate(foretold, 1)
            for node, draws in drawn.items()
            for attempt, drawn_ in enumerate(draws, 1)
            if drawn_ is Draw.FAILED
        }
        wrong = [e.reason for e in flow.told if isinstance(e, story.Restarted)]
        assert wrong == ["wrong digest from browser3 and browser4", "wrong digest from browser4"]


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_the_seed_the_work_is_delivered(seed: int) -> None:
    async with Local(Settings(seed, hash_iterations=1)) as flow:
        flow.connect()
        await flow.machine.when(Orchestrator.WorkDelivered)
        foretold = list(seeds.foretell(seed, Settings.success_rate, 50))
        assert flow.handlers.run.round == len(foretold)
        assert dag.wrong(flow.handlers.run.results) == ()


async def test_work_delivered_is_never_active_with_wrong_digests() -> None:
    async with Local(Settings(seeds.EVENTFUL_SEED, hash_iterations=1)) as flow:
        flow.connect()
        await flow.machine.when(Orchestrator.WorkDelivered)
        assert flow.machine.tick(Orchestrator.WorkDelivered) == 1
        assert flow.machine.tick(Orchestrator.DigestsWrong) == 4


async def test_too_many_restarts_end_in_an_error_with_the_reason() -> None:
    async with Local(Settings(seeds.EVENTFUL_SEED, hash_iterations=1, max_restarts=1)) as flow:
        flow.connect()
        await flow.machine.when(Orchestrator.ErrWorkflow)
        assert str(flow.machine.err) == "wrong digest from browser4 after 1 restarts"
        assert flow.sentences()[-1] == "round 2: gave up, wrong digest from browser4 after 1 restarts"
        assert Orchestrator.WorkDelivered not in flow.machine


async def test_who_gave_up_stays_so_when_the_network_comes_back_and_may_be_asked_again() -> None:
    async with Local(Settings(seeds.EVENTFUL_SEED, hash_iterations=1, max_restarts=1)) as flow:
        flow.connect()
        await flow.machine.when(Orchestrator.ErrWorkflow)
        flow.lose("browser1")
        flow.connect("browser1")
        assert flow.machine.is_(Orchestrator.NetworkReady, Orchestrator.ErrWorkflow)
        assert flow.handlers.run.round == 2
        assert flow.machine.add(Orchestrator.RunAgain).executed
        assert flow.machine.not_(Orchestrator.ErrWorkflow, Orchestrator.Exception)
        await flow.machine.when(Orchestrator.WorkDelivered)
        assert (flow.handlers.runs, flow.handlers.run.round, flow.handlers.run.restarts) == (2, 3, 0)


async def test_a_node_that_fails_six_times_costs_the_round() -> None:
    async with Local(ENDLESS) as flow:
        flow.connect()
        for number in range(1, MAX_RETRIES + 2):
            assert flow.handlers.run.attempt("browser2").number == number
            attempt = flow.handlers.run.attempt("browser2")
            flow.machine.add(
                Orchestrator.ServerPayload, ServerPayload(RESULT, b"", source="browser2", meta=to_meta(attempt))
            )
        assert flow.handlers.run.round == 2
        assert "round 1: browser2 failed 6 times, restart 1 of at most 50" in flow.sentences()


async def test_a_node_that_gives_no_answer_is_asked_again() -> None:
    async with Local(replace(CALM, node_timeout=0.01)) as flow:
        flow.holding = True
        flow.connect()
        await flow.machine.when_ticks(Orchestrator.Browser1Work, 3)
        assert "round 1: browser1 gave no answer in 0.01 s, attempt 1, retried" in flow.sentences()
        flow.holding = False
        await flow.machine.when(Orchestrator.WorkDelivered)


async def test_late_answers_are_dropped() -> None:
    async with Local(CALM) as flow:
        flow.holding = True
        flow.connect()
        await flow.machine.when(Orchestrator.Browser1Completed, Orchestrator.Browser2Completed)
        while len(flow.held) < 2:
            await asyncio.sleep(0)
        late, flow.held, flow.holding = flow.held, [], False
        flow.machine.add(Orchestrator.RunAgain)
        for node, answer in late:
            assert flow.answer(node, answer).executed
        assert "round 2: dropped a late answer of browser1 to round 1, attempt 1" in flow.sentences()
        assert Orchestrator.Browser1Delivered not in flow.machine
        await flow.machine.when(Orchestrator.WorkDelivered)
        assert flow.handlers.run.round == 2


async def test_malformed_answers_are_refused() -> None:
    async with Local(ENDLESS) as flow:
        flow.connect()
        meta = to_meta(flow.handlers.run.attempt("browser1"))
        good = ServerPayload(RESULT, b"x" * 64, source="browser1", meta=meta)
        for bad in (
            replace(good, data=b"short"),
            replace(good, data="text" * 16),
            replace(good, source="browser5"),
            replace(good, name="other"),
            replace(good, meta={}),
            replace(good, meta={**meta, "round": "1"}),
        ):
            assert flow.machine.add(Orchestrator.ServerPayload, bad).canceled
        assert flow.machine.add(Orchestrator.ServerPayload).canceled
        assert flow.machine.add(Orchestrator.ServerPayload, good).executed
        assert Orchestrator.Browser1Delivered in flow.machine


@pytest.mark.parametrize("lost", NODES)
async def test_a_lost_worker_starts_over_in_the_same_round(lost: str) -> None:
    async with Local(CALM) as flow:
        flow.holding = True
        flow.connect()
        if lost in ("browser3", "browser4"):
            flow.holding = False
            await flow.machine.when(of(lost, "Working"))
        flow.lose(lost)
        assert Orchestrator.NetworkReady not in flow.machine
        assert of(lost, "Pending") not in flow.machine
        assert f"round 1: {lost} is gone" in flow.sentences()
        flow.holding = False
        flow.connect(lost)
        assert f"round 1: {lost} starts over, attempt 2" in flow.sentences()
        others = [e.node for e in flow.told if isinstance(e, story.Resumed)]
        assert others == [lost], "the other nodes go on with what they do"
        for node, answer in flow.held:
            flow.answer(node, answer)
        await flow.machine.when(Orchestrator.WorkDelivered)
        assert (flow.handlers.run.round, flow.handlers.run.restarts) == (1, 0)


async def test_the_dispatcher_takes_its_leaves_along() -> None:
    async with Local(ENDLESS) as flow:
        flow.connect()
        await flow.machine.when(Orchestrator.Browser1Working)
        flow.machine.remove(Orchestrator.Browser2Conn)
        assert "round 1: browser2, browser3 and browser4 are gone" in flow.sentences()
        assert flow.machine.is_(Orchestrator.Browser1Pending, Orchestrator.Browser1Working)


async def test_results_survive_while_the_network_does_not() -> None:
    async with Local(CALM) as flow:
        flow.holding = True
        flow.connect()
        await flow.machine.when(Orchestrator.Browser1Completed)
        while not any(node == "browser1" for node, _ in flow.held):
            await asyncio.sleep(0)
        flow.lose("browser4")
        flow.holding = False
        flow.answer(*next(held for held in flow.held if held[0] == "browser1"))
        assert Orchestrator.Browser1Delivered in flow.machine
        assert Orchestrator.Browser3Pending not in flow.machine
        flow.connect("browser4")
        assert Orchestrator.Browser3Pending in flow.machine


async def test_a_round_that_was_wrong_while_the_network_was_away_is_followed_by_another() -> None:
    async with Local(CALM) as flow:
        flow.connect()
        await flow.machine.when(Orchestrator.Browser1Delivered, Orchestrator.Browser2Delivered)
        flow.holding = True
        while {node for node, _ in flow.held} != set(LEAVES):
            await asyncio.sleep(0)
        flow.lose("browser1")
        flow.machine.add(Orchestrator.CorruptNext)
        for node, answer in flow.held:
            flow.answer(node, answer)
        assert Orchestrator.DigestsWrong in flow.machine
        assert flow.machine.not_(Orchestrator.NetworkReady, Orchestrator.RoundOpen)
        flow.holding = False
        flow.connect("browser1")
        await flow.machine.when(Orchestrator.WorkDelivered)
        assert (flow.handlers.run.round, flow.handlers.run.restarts) == (2, 1)


async def test_a_worker_in_error_gets_another_attempt() -> None:
    async with Local(ENDLESS) as flow:
        flow.connect()
        flow.machine.add(Orchestrator.ErrBrowser1)
        assert "round 1: browser1 reports an error, attempt 1, retried" in flow.sentences()
        assert flow.handlers.run.attempt("browser1").number == 2
        flow.machine.add(Orchestrator.ErrBrowser3)
        assert flow.handlers.run.attempt("browser3").number == 0, "it was not at work"


async def test_corrupt_the_next_result() -> None:
    async with Local(CALM) as flow:
        flow.connect()
        assert flow.machine.add(Orchestrator.CorruptNext).executed
        await flow.machine.when(Orchestrator.WorkDelivered)
        assert flow.handlers.run.round == 2
        assert Orchestrator.CorruptNext not in flow.machine
        assert [e for e in flow.told if isinstance(e, story.Corrupted)] == [story.Corrupted(1, "browser1")]
        assert sum(isinstance(e, story.Restarted) for e in flow.told) == 1


async def test_run_again_begins_a_run_at_any_time() -> None:
    async with Local(CALM) as flow:
        flow.connect()
        assert flow.machine.add(Orchestrator.RunAgain).executed
        await flow.machine.when(Orchestrator.WorkDelivered)
        assert flow.machine.add(Orchestrator.RunAgain).executed
        assert Orchestrator.WorkDelivered not in flow.machine
        await flow.machine.when(Orchestrator.WorkDelivered)
        assert flow.handlers.runs == 3
        assert flow.handlers.run.round == 3
        assert "run 3 begins with seed 0" in flow.sentences()
        assert not any(isinstance(event, story.Restarted) for event in flow.told)


async def test_there_is_no_run_without_workers() -> None:
    async with Local(CALM) as flow:
        flow.connect("browser1", "browser2", "browser3")
        assert flow.machine.add(Orchestrator.RunAgain).canceled
        assert flow.told == []


async def test_kill_a_worker() -> None:
    async with Local(ENDLESS) as flow:
        flow.connect()
        assert flow.machine.add(Orchestrator.KillWorker, Child("browser3")).executed
        assert "browser3 is being killed, as you asked" in flow.sentences()
        assert Worker.RpcReady not in flow.nodes["browser3"]
        for nobody in ("browser1", "browser5"):
            assert flow.machine.add(Orchestrator.KillWorker, Child(nobody)).canceled
        assert flow.machine.add(Orchestrator.KillWorker).canceled


async def test_cut_the_connection() -> None:
    async with Local(ENDLESS) as flow:
        flow.connect()
        flow.machine.add(Orchestrator.CutConnection, Cut(0.01))
        await flow.machine.when_not(Orchestrator.CutConnection)
        assert flow.cuts == ["cut", "mended"]
        assert "every connection is cut for 0.01 s, as you asked" in flow.sentences()


async def test_a_cut_is_not_for_ever() -> None:
    async with Local(ENDLESS) as flow:
        for seconds in (-1.0, 61.0, float("nan")):
            assert flow.machine.add(Orchestrator.CutConnection, Cut(seconds)).canceled
        assert flow.cuts == []


async def test_rounds_are_numbered_by_the_clock_of_start_work() -> None:
    async with Local(Settings(seeds.EVENTFUL_SEED, hash_iterations=1)) as flow:
        flow.connect()
        await flow.machine.when(Orchestrator.WorkDelivered)
        assert flow.machine.tick(Orchestrator.StartWork) == 2 * flow.handlers.run.round
