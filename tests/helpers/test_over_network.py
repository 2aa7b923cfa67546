"""Helpers are written for `am.Api`: here with a mirror, whose results come later."""

import asyncio
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import helpers, pipes
from tests.rpc.behaviour import Basic, paired
from tests.rpc.nets import MemoryNet


class Seen:
    """Handlers of the source that note what arrives, and refuse `B` a number of times."""

    def __init__(self, refusals: int = 0) -> None:
        self.calls: list[str] = []
        self.args: list[dict[str, Any]] = []
        self.refusals = refusals

    def AState(self, e: am.Event) -> None:
        self.calls.append("+A")
        self.args.append(e.raw_args)

    def AEnd(self, e: am.Event) -> None:
        self.calls.append("-A")

    def BEnter(self, e: am.Event) -> bool:
        self.calls.append("?B")
        self.refusals -= 1
        return self.refusals < 0

    def AskState(self, e: am.Event) -> None:
        self.args.append(e.raw_args)


def local() -> am.Machine[str]:
    return am.Machine({"A": {}, "B": {}}, id="local")


async def test_outcomes_are_waited_for() -> None:
    async with paired(MemoryNet(), handlers=Seen(refusals=1)) as pair:
        assert await helpers.add_sync(pair.mirror, "A", n=1)
        assert not await helpers.add_sync(pair.mirror, "B")
        assert await helpers.remove_sync(pair.mirror, "A")
        assert await helpers.add_async(pair.mirror, "C", wait="C")
        assert pair.mirror.active_states() == ("C",)


async def test_a_refused_request_is_tried_again() -> None:
    async with paired(MemoryNet(), handlers=(seen := Seen(refusals=2))) as pair:
        request = helpers.MutRequest(pair.mirror, "add", "B").clone(delay=0.001)
        assert (await request.run()).executed
        assert seen.calls == ["?B", "?B", "?B"]
        await pair.mirror.remove("B")
        seen.refusals = 1
        with pytest.raises(helpers.MutationCanceled, match="was canceled 1 times"):
            await request.clone(retries=0).run()


async def test_a_pipe_to_a_mirror_keeps_order_and_arguments() -> None:
    async with paired(MemoryNet(), handlers=(seen := Seen())) as pair:
        source = local()
        pipes.bind(source, "A", pair.mirror)
        for n in range(5):
            source.add("A", n=n)
            source.remove("A")
        await pair.mirror.add("D")
        assert seen.calls == ["+A", "-A"] * 5
        assert [args["n"] for args in seen.args] == list(range(5))
        source.dispose()


async def test_a_pipe_from_a_mirror() -> None:
    async with paired(MemoryNet()) as pair:
        target = local()
        pipes.bind_many(pair.mirror, target, ["A", "B"])
        pair.source.add(["A", "B"])
        pair.source.remove("A")
        await target.when("B")
        await target.when_not("A")
        target.dispose()


async def test_errors_travel_through_pipes() -> None:
    async with paired(MemoryNet(), errors=True) as pair:
        source = local()
        pipes.bind_err(source, pair.mirror)
        source.add_err(OSError("no route"))
        await pair.source.when_err()
        assert "no route" in str(pair.source.err)
        source.dispose()


async def test_a_mirror_of_a_mirror_by_any_transition() -> None:
    async with paired(MemoryNet()) as pair:
        target = am.Machine(pair.mirror.schema, id="twin")
        pipes.bind_any(pair.mirror, target)
        pair.source.add(["A", "C"])
        await target.when("A", "C")
        pair.source.remove(["A", "C"])
        await target.when_not("A", "C")
        target.dispose()


async def test_batches() -> None:
    async with paired(MemoryNet(), handlers=(seen := Seen())) as pair:
        batcher = helpers.Batcher[int](pair.mirror, "Ask", window=0.001)
        batcher.put(1)
        assert (await batcher.put(2)).executed
        assert seen.args == [{"items": [1, 2]}]


async def test_conditions_and_groups() -> None:
    async with paired(MemoryNet()) as pair:
        group = helpers.MachGroup([pair.source, pair.mirror])
        pair.source.add("A")
        await am.wait_all(*group.when("A"))
        helpers.assert_no_err_ever(pair.mirror)
        assert group.is_("A") and helpers.Cond(is_=("A",), not_=("B",)).check(pair.mirror)


async def test_an_error_at_the_source_ends_the_waiting_here() -> None:
    async with paired(MemoryNet()) as pair:
        task = asyncio.create_task(helpers.all_or_err(pair.mirror, pair.mirror.when("A")))
        await asyncio.sleep(0)
        pair.source.add_err(OSError("no route"))
        with pytest.raises(helpers.MachineErred):
            await task


async def test_the_end_of_a_mirror() -> None:
    gone: list[str] = []
    async with paired(MemoryNet()) as pair:
        helpers.dispose_bind(pair.mirror, lambda machine_id, scope: gone.append(machine_id))
        helpers.dispose(pair.mirror)
        assert gone == [pair.mirror.id]


async def test_questions_are_for_local_machines() -> None:
    assert Basic.Ask == "Ask"
    async with paired(MemoryNet()) as pair:
        machine: Any = pair.mirror
        with pytest.raises(
            am.InvalidArgs, match=r"'rnm-test' is no machine of this process.* answer to Ask cannot travel"
        ):
            await helpers.ask(machine, "Ask")
        assert pair.source.tick("Ask") == 0
