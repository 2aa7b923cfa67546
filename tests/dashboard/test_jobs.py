"""The dashboard's queue, without a page."""

from __future__ import annotations

import asyncio

import pytest

import asyncmachine as am
from examples.dashboard.jobs import MOST_WAITING, QueueHandlers, queue
from examples.dashboard.page import points, summary
from examples.dashboard.states import Queue, Wanted


def made(**options: float) -> tuple[QueueHandlers, am.Machine[Queue]]:
    handlers = QueueHandlers(step=options.get("step", 0.0), unlucky=int(options.get("unlucky", 0)))
    return handlers, queue(handlers)


async def test_jobs_are_done_in_order_and_counted() -> None:
    handlers, machine = made()
    told: list[tuple[int, str]] = []
    handlers.listeners.append(lambda job: told.append((job.id, job.state)))
    machine.add(Queue.AddJob, Wanted("one", 2))
    machine.add(Queue.AddJob, Wanted("two", 1))
    await machine.when_not(Queue.Waiting)
    assert [job.row() for job in handlers.jobs] == [
        {"id": 1, "title": "one", "state": "done", "percent": 100},
        {"id": 2, "title": "two", "state": "done", "percent": 100},
    ]
    assert list(dict.fromkeys(told)) == [
        (1, "waiting"),
        (2, "waiting"),
        (1, "running"),
        (1, "done"),
        (2, "running"),
        (2, "done"),
    ]
    assert [(machine.tick(name) + 1) // 2 for name in (Queue.Added, Queue.Ended, Queue.Failed)] == [2, 2, 0]
    assert Queue.Busy not in machine
    machine.dispose()


async def test_a_failed_job_does_not_hold_up_the_others() -> None:
    handlers, machine = made(unlucky=1)
    machine.add(Queue.AddJob, Wanted("one"))
    machine.add(Queue.AddJob, Wanted("two"))
    await machine.when_not(Queue.Waiting)
    assert [job.state for job in handlers.jobs] == ["failed", "failed"]
    assert [(machine.tick(name) + 1) // 2 for name in (Queue.Ended, Queue.Failed)] == [2, 2]
    machine.dispose()


async def test_a_pause_ends_the_work_and_goes_on_with_the_same_job() -> None:
    handlers, machine = made(step=0.001)
    machine.add(Queue.AddJob, Wanted("one", 100))
    while not handlers.jobs[0].done:
        await asyncio.sleep(0)
    machine.add(Queue.Paused)
    assert Queue.Busy not in machine
    done = handlers.jobs[0].done
    for _ in range(10):
        await asyncio.sleep(0)
    assert handlers.jobs[0].done == done
    machine.remove(Queue.Paused)
    assert Queue.Busy in machine
    await machine.when_not(Queue.Waiting)
    assert handlers.jobs[0].done == 100
    machine.dispose()


async def test_what_waits_can_be_forgotten() -> None:
    handlers, machine = made()
    machine.add(Queue.Paused)
    machine.add(Queue.AddJob, Wanted("one"))
    machine.add(Queue.Clear)
    assert [job.state for job in handlers.jobs] == ["failed"]
    machine.remove(Queue.Paused)
    await machine.when_not(Queue.Waiting)
    machine.dispose()


@pytest.mark.parametrize("wanted", [None, Wanted(" "), Wanted("x" * 61), Wanted("x", 0), Wanted("x", 101)])
def test_jobs_that_cannot_be_are_refused(wanted: Wanted | None) -> None:
    handlers, machine = made()
    assert machine.add(Queue.AddJob, wanted).canceled
    assert not handlers.jobs


async def test_a_full_queue_takes_no_more() -> None:
    _, machine = made()
    machine.add(Queue.Paused)
    for _ in range(MOST_WAITING):
        assert machine.add(Queue.AddJob, Wanted("x")).executed
    assert machine.add(Queue.AddJob, Wanted("x")).canceled
    machine.dispose()


def test_figures_are_points_and_a_sentence() -> None:
    rows = [{"id": 1, "waiting": 3, "ended": 0}, {"id": 2, "waiting": 1, "ended": 2}]
    assert points(rows) == "[[1, 2], [3, 1], [0, 2]]"
    assert summary(rows) == "1 waiting now, 2 ended within 2 s."
    assert summary([]) == "No figures yet."
