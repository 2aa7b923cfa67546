"""The sender: when it sends, how it comes back, and that a machine feels nothing of a receiver that is out or slow."""

from __future__ import annotations

import asyncio
import gc
import logging
import tracemalloc
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine.rpc.transport import Transport, TransportClosed
from asyncmachine.telemetry.dbg import messages as m
from asyncmachine.telemetry.dbg.line import FIRST_DELAY, IN_PAGE, LONGEST_DELAY, delay
from asyncmachine.telemetry.dbg.outbox import OutboxLimits
from asyncmachine.telemetry.dbg.sender import GATHER, LOOK_EVERY, SESSION, Sender, SenderOptions, this_process
from tests.telemetry.desk import Desk
from tests.telemetry.hearing import Plain, heard
from tests.virtual_time import in_virtual_time


def machine(id: str = "m", **more: Any) -> am.Machine[str]:
    return am.Machine({"A": {}, "B": {"multi": True}}, id=id, **more)


def room(**limits: int) -> SenderOptions:
    return SenderOptions(limits=OutboxLimits(**limits))


@in_virtual_time
async def test_records_gather_for_a_moment() -> None:
    desk, worker = Desk(), machine()
    sender = Sender(desk.dial)
    sender.attach(worker)
    sender.start()
    await asyncio.sleep(1)
    worker.add("A")
    worker.add("B")
    await asyncio.sleep(GATHER / 2)
    assert desk.heard.records == []
    await asyncio.sleep(GATHER)
    assert [record.called for record in desk.heard.records] == [("A",), ("B",)]
    assert len(desk.heard.of(m.Transitions)) == 1
    await sender.close()


@in_virtual_time
async def test_many_records_do_not_wait() -> None:
    desk, worker = Desk(), machine()
    sender = Sender(desk.dial, options=room(hurry=3))
    sender.attach(worker)
    sender.start()
    await asyncio.sleep(1)
    for _ in range(5):
        worker.add("B")
    await asyncio.sleep(0.001)
    assert len(desk.heard.records) == 5
    await sender.close()


@in_virtual_time
async def test_the_hello_tells_who_speaks() -> None:
    desk, worker = Desk(), machine()
    sender = Sender(desk.dial)
    sender.attach(worker)
    sender.start()
    await asyncio.sleep(1)
    hello = desk.heard.stream.hello
    assert hello == m.Hello("amdbg", 1, SESSION, this_process())
    assert hello.process.pid > 0
    assert "/" not in hello.process.program
    await sender.close()
    assert type(desk.heard.messages[-1]) is m.Bye
    assert [error.code for error in desk.closed] == [1000]


@in_virtual_time
async def test_after_a_loss_the_machines_come_first_and_nothing_is_told_twice() -> None:
    desk, worker, plain = Desk(), machine(), Plain()
    sender = Sender(desk.dial)
    sender.attach(worker)
    worker.trace(plain)
    sender.start()
    await asyncio.sleep(1)
    worker.add("A")
    await asyncio.sleep(1)
    desk.is_out = True
    desk.ends[-1].cut()
    worker.remove("A")
    await asyncio.sleep(5)
    worker.add("B")
    desk.is_out = False
    await asyncio.sleep(LONGEST_DELAY + 1)
    first, second = desk.listeners
    assert [type(message).__name__ for message in second.messages[:2]] == ["Hello", "Machine"]
    assert heard([*first.records, *second.records]) == plain.seen
    assert [record.number for record in (*first.records, *second.records)] == [1, 2, 3]
    assert sender.statistics().connections == 2
    await sender.close()


@in_virtual_time
async def test_it_comes_back_ever_more_slowly() -> None:
    desk, worker = Desk(is_out=True), machine()
    sender = Sender(desk.dial)
    sender.attach(worker)
    sender.start()
    await asyncio.sleep(100)
    pauses = [later - earlier for earlier, later in zip(desk.dialled, desk.dialled[1:], strict=False)]
    assert all(0.79 * FIRST_DELAY * 2**i <= pause <= 1.21 * FIRST_DELAY * 2**i for i, pause in enumerate(pauses[:5]))
    assert all(0.79 * LONGEST_DELAY <= pause <= 1.21 * LONGEST_DELAY for pause in pauses[8:])
    assert max(delay(number) for number in (50, 5000)) <= 1.21 * LONGEST_DELAY
    await sender.close()


@in_virtual_time
async def test_a_page_tries_a_receiver_that_it_never_reached_rarely_and_one_that_it_knows_at_once() -> None:
    desk, worker = Desk(is_out=True), machine()
    sender = Sender(desk.dial, absence=IN_PAGE)
    sender.attach(worker)
    sender.start()
    await asyncio.sleep(60)
    assert len(desk.dialled) == 3
    desk.is_out = False
    await asyncio.sleep(IN_PAGE.longest)
    desk.ends[-1].cut()
    cut_at = asyncio.get_running_loop().time()
    await asyncio.sleep(1)
    assert desk.dialled[-1] - cut_at <= 1.21 * FIRST_DELAY
    await sender.close()


@in_virtual_time
async def test_after_a_good_connection_it_comes_back_at_once() -> None:
    desk, worker = Desk(is_out=True), machine()
    sender = Sender(desk.dial)
    sender.attach(worker)
    sender.start()
    await asyncio.sleep(60)
    desk.is_out = False
    await asyncio.sleep(60)
    desk.ends[-1].cut()
    cut_at = asyncio.get_running_loop().time()
    await asyncio.sleep(60)
    assert desk.dialled[-1] - cut_at <= 1.21 * FIRST_DELAY
    await sender.close()


@in_virtual_time
async def test_what_was_lost_with_a_connection_shows_in_the_numbers() -> None:
    desk, worker = Desk(), machine()
    sender = Sender(desk.dial, options=room(hurry=2))
    sender.attach(worker)
    sender.start()
    await asyncio.sleep(1)
    desk.reads.clear()
    for _ in range(4):
        worker.add("B")
    await asyncio.sleep(1)
    desk.ends[-1].cut()
    desk.reads.set()
    worker.add("B")
    await asyncio.sleep(5)
    (again,) = desk.heard.of(m.Machine)
    assert again.next == 5
    assert [record.number for record in desk.heard.records] == [5]
    assert desk.heard.records[0].after == worker.time()
    await sender.close()


@in_virtual_time
async def test_what_was_packed_for_a_connection_that_broke_is_counted() -> None:
    """The first of several machines has its frame on the way, those of the others were never made."""

    class Breaks:
        """Takes so many frames, then is gone."""

        def __init__(self, near: Transport, frames: int) -> None:
            self.peer, self._near, self._left = near.peer, near, frames

        @property
        def closed(self) -> bool:
            return self._near.closed

        async def send(self, data: bytes) -> None:
            self._left -= 1
            if self._left < 0:
                raise TransportClosed(1006, "gone")
            await self._near.send(data)

        async def recv(self) -> bytes:
            return await self._near.recv()

        async def close(self, code: int = 1000, reason: str = "") -> None:
            await self._near.close(code, reason)

    desk, machines = Desk(), [machine(f"m{number}") for number in range(3)]
    left = [5, 1000]

    async def dial() -> Transport:
        return Breaks(await desk.dial(), left.pop(0))

    sender = Sender(dial)
    for worker in machines:
        sender.attach(worker)
    sender.start()
    await asyncio.sleep(1)
    for worker in machines:
        worker.add("A")
    await asyncio.sleep(1)
    for worker in machines:
        worker.remove("A")
    await asyncio.sleep(5)
    told = {track.id: (track.next, track.ticks) for track in desk.heard.stream.tracks.values()}
    assert told == {worker.id: (3, list(worker.time())) for worker in machines}
    assert [record.number for record in desk.heard.records] == [2, 2, 2]
    await sender.close()


@in_virtual_time
async def test_a_slow_receiver_costs_records_not_time() -> None:
    desk, worker, plain = Desk(), machine(), Plain()
    sender = Sender(desk.dial, options=room(notes=100, hurry=10))
    sender.attach(worker)
    worker.trace(plain)
    worker.log.keep(1)
    sender.start()
    await asyncio.sleep(1)
    desk.reads.clear()
    for _ in range(300):
        worker.log("x" * 10_000)
        worker.add("B")
        await asyncio.sleep(0.01)
    assert len(sender.outbox) <= 100
    assert sender.statistics().dropped > 0
    desk.reads.set()
    await asyncio.sleep(5)
    gaps = desk.heard.of(m.Gap)
    assert sum(gap.lost for gap in gaps) == sender.statistics().dropped
    assert sum(gap.lines for gap in gaps) == sender.statistics().dropped
    told = dict(enumerate(plain.seen, 1))
    assert heard(desk.heard.records) == [told[record.number] for record in desk.heard.records]
    assert desk.heard.stream.tracks[0].next == 301
    await sender.close()


@in_virtual_time
async def test_a_receiver_that_is_out_keeps_memory_flat() -> None:
    desk, worker = Desk(is_out=True), machine()
    sender = Sender(desk.dial, options=room(notes=500))
    sender.attach(worker)
    worker.bind({"AState": lambda e: None})
    worker.log.switch("args")
    worker.log.keep(3)
    sender.start()

    def storm() -> None:
        for number in range(700):
            worker.add("A", {"payload": b"x" * 10_000, "number": number})
            worker.remove("A")

    tracemalloc.start()
    storm()
    await asyncio.sleep(1)
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    for _ in range(3):
        storm()
        await asyncio.sleep(1)
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 20_000
    assert peak - before < 100_000
    assert sender.statistics().waiting == 500
    assert sender.statistics().dropped == 700 * 2 * 4 - 500
    await sender.close()


@in_virtual_time
async def test_lines_come_without_transitions() -> None:
    desk, worker = Desk(), machine()
    worker.log.keep(1)
    sender = Sender(desk.dial)
    sender.attach(worker)
    sender.start()
    await asyncio.sleep(5)
    worker.log("hello")
    await asyncio.sleep(LOOK_EVERY + GATHER + 0.1)
    assert [line.text for log in desk.heard.of(m.Log) for line in log.lines] == ["[exter] hello"]
    worker.log("bye")
    await sender.close()
    assert [line.text for log in desk.heard.of(m.Log) for line in log.lines][-1] == "[exter] bye"


@in_virtual_time
async def test_it_ends_with_its_last_machine() -> None:
    desk, worker, other = Desk(), machine(), machine("other")
    sender = Sender(desk.dial)
    task = sender.start()
    sender.attach(worker)
    sender.attach(other)
    await asyncio.sleep(1)
    worker.dispose()
    await asyncio.sleep(1)
    assert not task.done()
    other.add("A")
    other.dispose()
    await task
    assert [type(message).__name__ for message in desk.heard.messages][-3:] == ["Transitions", "Gone", "Bye"]
    assert sender.is_finished
    assert sender.attach(machine("late")) is None


@in_virtual_time
async def test_a_machine_that_nobody_disposes_of_ends_too() -> None:
    desk, worker = Desk(), machine()
    sender = Sender(desk.dial)
    sender.attach(worker)
    task = sender.start()
    await asyncio.sleep(1)
    del worker
    gc.collect()
    await task
    assert type(desk.heard.messages[-2]) is m.Gone


async def test_a_machine_goes_on_when_the_sender_s_loop_is_closed() -> None:
    desk, worker = Desk(), machine()
    sender = Sender(desk.dial)
    sender.attach(worker)

    def elsewhere() -> None:
        async def start() -> None:
            sender.start().cancel()

        asyncio.run(start())

    await asyncio.to_thread(elsewhere)
    for _ in range(3):
        assert worker.add("A").executed
        sender.outbox.take()
        assert worker.remove("A").executed
    assert worker.err is None


@in_virtual_time
async def test_a_machine_is_attached_once_and_can_be_detached() -> None:
    desk, worker, other = Desk(), machine(), machine("other")
    sender = Sender(desk.dial)
    assert sender.attach(worker) is sender.attach(worker)
    assert len(worker.tracers) == 1
    sender.attach(other)
    sender.start()
    await asyncio.sleep(1)
    sender.detach(worker)
    sender.detach(worker)
    worker.add("A")
    await asyncio.sleep(1)
    assert [track.id for track in desk.heard.stream.tracks.values()] == ["other"]
    assert desk.heard.records == []
    assert sender.statistics().machines == 1
    worker.dispose()
    assert sender.attach(worker) is None
    await sender.close()


@in_virtual_time
async def test_children_follow_but_not_the_machines_of_arpc() -> None:
    for internal in (False, True):
        desk, worker = Desk(), machine()
        sender = Sender(desk.dial, options=SenderOptions(internal=internal))
        sender.attach(worker)
        sender.start()
        child = machine("child", parent=worker)
        machine("rs", parent=worker, tags=("rpc-server",)).add("A")
        machine("grandchild", parent=child)
        await asyncio.sleep(1)
        expected = ["m", "child", "rs", "grandchild"] if internal else ["m", "child", "grandchild"]
        assert [told.id for told in desk.heard.of(m.Machine)] == expected
        await sender.close()


@in_virtual_time
@pytest.mark.parametrize("code", [4401, 4403, 4404, 4406])
async def test_a_receiver_that_refuses_is_left_alone(code: int, caplog: pytest.LogCaptureFixture) -> None:
    desk, worker = Desk(), machine()
    sender = Sender(desk.dial)
    sender.attach(worker)
    task = sender.start()
    await asyncio.sleep(1)
    with caplog.at_level(logging.WARNING, "asyncmachine.telemetry"):
        await desk.ends[-1].close(code, "go away")
        await task
    assert "go away" in caplog.text
    assert worker.tracers == ()
    assert worker.add("A").executed
    assert len(desk.dialled) == 1


@in_virtual_time
async def test_a_receiver_that_complains_is_told_of_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    desk, worker = Desk(), machine()
    sender = Sender(desk.dial)
    sender.attach(worker)
    sender.start()
    await asyncio.sleep(1)
    with caplog.at_level(logging.WARNING, "asyncmachine.telemetry"):
        await desk.ends[-1].close(4400, "BAD_FRAME: odd")
        await asyncio.sleep(5)
    assert "BAD_FRAME: odd" in caplog.text
    assert len(desk.listeners) == 2
    await sender.close()


@in_virtual_time
async def test_a_receiver_that_is_not_there_is_told_of_in_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    async def dial() -> Transport:
        raise OSError("nobody listens")

    sender = Sender(dial)
    sender.attach(machine())
    sender.start()
    await asyncio.sleep(60)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith("debugger: nobody records there (nobody listens")
    assert "`am relay rotate-dbg` starts a recorder" in warning
    await sender.close()


@in_virtual_time
async def test_a_dial_function_that_raises_anything_is_tried_again() -> None:
    desk, failures = Desk(), [OSError("no route"), RuntimeError("odd"), TimeoutError()]

    async def dial() -> Transport:
        if failures:
            raise failures.pop()
        return await desk.dial()

    sender, worker = Sender(dial), machine()
    sender.attach(worker)
    sender.start()
    await asyncio.sleep(5)
    assert len(desk.listeners) == 1
    await sender.close()


@in_virtual_time
async def test_closing_does_not_wait_for_a_receiver_that_does_not_read() -> None:
    desk, worker = Desk(), machine()
    worker.log.keep(1)
    sender = Sender(desk.dial)
    sender.attach(worker)
    sender.start()
    await asyncio.sleep(1)
    desk.reads.clear()
    for _ in range(300):
        worker.log("x" * 10_000)
        worker.add("B")
    begun = asyncio.get_running_loop().time()
    await sender.close(0.5)
    assert asyncio.get_running_loop().time() - begun <= 0.51
    assert worker.tracers == ()
    desk.reads.set()


@in_virtual_time
async def test_closing_ends_a_pause_at_once() -> None:
    desk, worker = Desk(is_out=True), machine()
    sender = Sender(desk.dial)
    sender.attach(worker)
    sender.start()
    await asyncio.sleep(50)
    begun = asyncio.get_running_loop().time()
    await sender.close()
    assert asyncio.get_running_loop().time() == begun
