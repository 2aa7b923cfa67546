"""The queue: what its states mean natively. Knows nothing of pages; who listens is told of every change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import asyncmachine as am
from examples.dashboard.states import Queue, Wanted

LONGEST_TITLE = 60
MOST_STEPS = 100
MOST_WAITING = 50
KEPT = 50
"""Jobs that are remembered."""

Row = dict[str, Any]


@dataclass
class Job:
    """`state` is one of waiting, running, done, failed."""

    id: int
    title: str
    steps: int
    done: int = 0
    state: str = "waiting"

    def row(self) -> Row:
        """As it is shown."""
        return {"id": self.id, "title": self.title, "state": self.state, "percent": 100 * self.done // self.steps}


class QueueHandlers:
    """`step` is the time of one step of a job in seconds; one step of `unlucky` fails (0: none does)."""

    def __init__(self, step: float = 0.25, unlucky: int = 60, seed: int = 1) -> None:
        self.jobs: list[Job] = []
        self.listeners: list[Callable[[Job], object]] = []
        self.step = step
        self.unlucky = unlucky
        self.random = Random(seed)
        self.count = 0

    def AddJobEnter(self, e: am.Event) -> bool:
        wanted = e.args_or_none(Wanted)
        return (
            wanted is not None
            and 0 < len(wanted.title.strip()) <= LONGEST_TITLE
            and 0 < wanted.steps <= MOST_STEPS
            and len(self.waiting) < MOST_WAITING
        )

    def AddJobState(self, e: am.Event) -> None:
        e.remove(Queue.AddJob)
        wanted = e.args(Wanted)
        self.count += 1
        self.jobs = [*self.jobs, Job(self.count, wanted.title.strip(), wanted.steps)][-KEPT:]
        self.tell(self.jobs[-1])
        e.add([Queue.Added, Queue.Waiting])

    async def BusyState(self, e: am.Event) -> None:
        """Works until nothing waits. A pause cancels this in the middle of a step, and goes on with that step later."""
        while job := next(iter(self.waiting), None):
            job.state = "running"
            self.tell(job)
            await self.work(job)
            e.add([Queue.Ended, Queue.Failed] if job.state == "failed" else Queue.Ended)
        e.remove(Queue.Waiting)

    async def work(self, job: Job) -> None:
        """The steps that are left."""
        while job.done < job.steps:
            await asyncio.sleep(self.step)
            if self.unlucky and self.random.randrange(self.unlucky) == 0:
                job.state = "failed"
                break
            job.done += 1
            self.tell(job)
        else:
            job.state = "done"
        self.tell(job)

    def ClearState(self, e: am.Event) -> None:
        """Forgets what has not begun."""
        e.remove(Queue.Clear)
        for job in self.jobs:
            if job.state == "waiting":
                job.state = "failed"
                self.tell(job)
                e.add([Queue.Ended, Queue.Failed])

    @property
    def waiting(self) -> list[Job]:
        """What is to be done, a job that was paused first."""
        return [job for job in self.jobs if job.state in {"waiting", "running"}]

    def tell(self, job: Job) -> None:
        """Calls who listens."""
        for listener in self.listeners:
            listener(job)


def queue(handlers: QueueHandlers) -> am.Machine[Queue]:
    """The machine, open."""
    machine = am.Machine(Queue, handlers, id="queue")
    machine.add(Queue.Open)
    return machine
