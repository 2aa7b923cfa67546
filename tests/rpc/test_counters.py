"""What sessions count, and snapshots of it."""

from __future__ import annotations

from asyncmachine.rpc.counters import LATENCIES, Counters, Statistics
from tests.rpc.behaviour import Basic, paired
from tests.rpc.duo import ready
from tests.rpc.nets import MemoryNet


def test_answers_are_counted_by_the_time_they_took() -> None:
    counters = Counters()
    for seconds in (0.0, 0.001, 0.0011, 0.3, 11.0):
        counters.answered_after(seconds)
    found = {bound: count for bound, count in zip((*LATENCIES, "more"), counters.latencies, strict=True) if count}
    assert found == {0.001: 2, 0.0025: 1, 0.5: 1, "more": 1}


def test_a_snapshot_does_not_change() -> None:
    duo = ready()
    duo.client.call("add", (0,), None, None, 0.0)
    before = duo.client.statistics(2.0)
    assert (before.calls, before.open_calls, before.silence, before.round_trip) == (1, 1, 2.0, None)
    duo.client.call("add", (0,), None, None, 0.0)
    duo.client.counters.answered_after(1.0)
    assert (before.calls, before.latencies) == (1, [])
    assert duo.client.statistics(2.0).calls == 2


async def test_both_sides_of_a_session() -> None:
    async with paired(MemoryNet(), Basic) as pair:
        for _ in range(3):
            await pair.mirror.add("Ask")
        pair.mirror.add_ns("Ask")
        await pair.client.sync()
        pair.source.add("B")
        await pair.mirror.when("B")
        client, server = pair.client.statistics, pair.server.statistics()["rc-test"]
        assert isinstance(client, Statistics)
        assert (client.calls, server.calls) == (3, 3)
        assert (client.notifies, server.notifies) == (1, 1)
        assert (client.piggybacks, server.piggybacks) == (3, 3)
        assert (client.full_syncs, server.full_syncs) == (1, 1)
        assert client.pushes == server.pushes >= 1
        assert (client.frames_out, client.bytes_out) == (server.frames_in, server.bytes_in)
        assert (server.frames_out, server.bytes_out) == (client.frames_in, client.bytes_in)
        assert sum(client.latencies) == 3
        assert (client.retries, client.drops, client.out_of_step) == (0, 0, 0)
        # The notification is open until something tells that it has arrived.
        assert client.open_calls == 1
        sent = client.frames_out
    assert client.frames_out == sent
