"""Numbers and values that JavaScript would not keep, between a page and the machine in its worker: equal, or an error.

They pass a real MessagePort both ways, as arguments of a mutation and in the payload that answers it.
"""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.web.browser import Mishaps, run

LEDGER = """
    class Taking(rpc.Consumer):
        pass

    got = []
    worker = Worker.fork("ledger", "workload:ledger", {{"TICK": "{tick}"}})
    consumer = am.Machine(Taking, id="consumer")

    def take(e):
        got.append(e.args(rpc.ServerPayload).data)
        e.remove("ServerPayload")

    consumer.bind({{"ServerPayloadState": take}})
    client = rpc.Client(worker.dial, workload.Ledger, "ledger", consumer=consumer)
    client.start()
    await client.when_ready()
    mirror = client.netmach

    async def echoed(*args, **kw):
        arrived = consumer.when_ticks("ServerPayload", 2)
        assert (await mirror.add("Told", *args, **kw)).executed
        await arrived
        return got.pop()

    None
"""

VALUES: list[Any] = [
    nan, inf, -inf, -0.0, 2**53 + 1, 2**64 - 1, -(2**63), bytes(range(256)), b"", "gr\u00fc\u00dfe \u2603 \U0001f600",
    [None, True, {"deep": [1.5, {7: b"x"}]}],
]  # fmt: skip


def test_values_arrive_equal_or_are_refused_before_anything_is_sent(shared: Page) -> None:
    run(shared, LEDGER.format(tick=1))
    told = run(
        shared,
        f"""
        nan, inf = float("nan"), float("inf")
        found = [repr(await echoed(value=value)) for value in {VALUES!r}]
        sample = workload.Sample(frozenset({{"a", "b"}}), inf, bytes(1000))
        typed = await echoed(sample) == sample
        frames, refused = client.statistics.frames_out, []
        for value in ({{1, 2}}, frozenset(), (1, 2), 2**64, object(), "x" * (2 << 20)):
            try:
                await mirror.add("Told", value=value)
            except rpc.Unsendable as error:
                refused.append(type(error).__name__)
        unsent = client.statistics.frames_out == frames
        json.dumps([found, typed, refused, unsent, (await mirror.add("Told", value=0)).executed])
        """,
    )
    assert told == [[repr(value) for value in VALUES], True, ["Unsendable"] * 5 + ["TooLarge"], True, True]


@pytest.mark.parametrize("tick", [2**53 + 1, 2**64 - 3])
def test_ticks_beyond_what_javascript_can_count_are_exact(shared: Page, tick: int) -> None:
    run(shared, LEDGER.format(tick=tick))
    told = run(
        shared,
        """
        before = mirror.tick("Told")
        assert (await mirror.add("Told", value=0)).executed
        json.dumps([str(before), str(mirror.tick("Told")), client.statistics.full_syncs])
        """,
    )
    assert told == [str(tick), str(tick + 2), 0]


def test_a_tick_beyond_the_wire_is_an_error_and_no_wrong_number(shared: Page, mishaps: Mishaps) -> None:
    mishaps.expect("client 'rc-ledger' is not let in, from parent: a tick is beyond")
    run(shared, LEDGER.format(tick=2**64 - 1))
    told = run(
        shared,
        """
        try:
            await mirror.add("Told", value=0)
        except rpc.RpcError as error:
            failed = type(error).__name__
        await client.machine.when("ConnRetryFailed")
        json.dumps([failed, str(mirror.tick("Told")), type(client.machine.err).__name__, str(client.machine.err)])
        """,
    )
    assert told[:3] == ["UnknownOutcome", str(2**64 - 1), "Rejected"]
    assert "INTERNAL" in told[3]
