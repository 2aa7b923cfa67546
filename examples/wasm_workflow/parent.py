"""What a machine does that forks web workers: it starts them, and starts them again when they end."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

import asyncmachine as am
from asyncmachine.rpc import Transport
from examples.wasm_workflow.orders import Child
from examples.wasm_workflow.states import Parent

FORK_RETRIES = 3
"""How often in a row a missing worker is started again before its parent leaves it at that."""


STARTING_PATIENCE = 5.0
"""Seconds without a sign of life after which a worker is stuck while it starts.

Five machines may share a slow computer: while they all start, one may have no processor for longer than a second, and
the error that is raised in a stuck worker would hit it in the middle of its start.
"""

PATIENCE = 1.5
"""The same for a node that is ready. One that is stuck for good has a successor after about twice that."""


class ForkError(am.AmError):
    """A worker was started in vain too often."""


class Forked(Protocol):
    """A web worker, as `asyncmachine_web.page.workers.Worker`. Its machine is `Ready` or `Dead`."""

    id: str
    patience: float

    @property
    def machine(self) -> am.Machine[Any]: ...

    def restart(self) -> None: ...
    def terminate(self) -> None: ...
    async def dial(self) -> Transport: ...


class ParentHandlers:
    """Handlers of `Parent`. `missed` has the workers that are not there, and how often each was started again."""

    def __init__(self, workers: Mapping[str, Forked]) -> None:
        self.workers = workers
        self.missed: dict[str, int] = {}

    def ForkWorkerEnter(self, e: am.Event) -> bool:
        return self.known(e)

    def ForkWorkerState(self, e: am.Event) -> None:
        e.remove(Parent.ForkWorker)
        worker = self.workers[e.args(Child).id]
        worker.patience = STARTING_PATIENCE
        worker.restart()

    def WorkerForkedState(self, e: am.Event) -> None:
        e.remove(Parent.WorkerForked)
        self.missed.pop(e.args(Child).id, None)
        if not self.missed:
            e.remove(Parent.ErrWorker)

    def WorkerLostState(self, e: am.Event) -> None:
        """The worker is missed, and started again."""
        e.remove(Parent.WorkerLost)
        worker = e.args(Child)
        retries = self.missed.get(worker.id, 0)
        e.add(Parent.ErrWorker)
        if retries < FORK_RETRIES:
            self.missed[worker.id] = retries + 1
            e.add(Parent.ForkWorker, worker)
        else:
            e.machine.add_err(ForkError(f"{worker.id} does not start: {self.workers[worker.id].machine.err}"), e=e)

    def KillWorkerEnter(self, e: am.Event) -> bool:
        return self.known(e)

    def KillWorkerState(self, e: am.Event) -> None:
        e.remove(Parent.KillWorker)
        self.workers[e.args(Child).id].terminate()

    def known(self, e: am.Event) -> bool:
        """Whether the event is about one of our workers."""
        worker = e.args_or_none(Child)
        return worker is not None and worker.id in self.workers


def fork_all(machine: am.Machine[Any], workers: Mapping[str, Forked]) -> None:
    """Starts the workers; the machine hears of their starts and ends."""
    for name, forked in workers.items():
        worker = Child(name)
        events = {
            "ReadyState": partial(_tell, machine, Parent.WorkerForked, worker),
            "DeadState": partial(_tell, machine, Parent.WorkerLost, worker),
        }
        forked.machine.bind(events)
        machine.add(Parent.ForkWorker, worker)


def _tell(machine: am.Machine[Any], event: Parent, worker: Child, e: am.Event) -> None:
    machine.add(event, worker, e=e)
