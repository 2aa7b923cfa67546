"""Who forks workers: what it does when they end."""

import pytest

import asyncmachine as am
from asyncmachine.rpc import Transport
from asyncmachine.rpc.transport.memory import pair
from asyncmachine.states import Basic
from examples.wasm_workflow.orders import Child
from examples.wasm_workflow.parent import FORK_RETRIES, STARTING_PATIENCE, ForkError, ParentHandlers, fork_all
from examples.wasm_workflow.states import Parent


class Forking(Parent, Basic):
    pass


class WorkerStates(am.StatesDef):
    Starting = am.state(remove=("Ready", "Dead"))
    Ready = am.state(remove=(Starting, "Dead"))
    Dead = am.state(remove=(Starting, Ready))


class FakeWorker:
    """Starts when it is told to, and comes up or not when the test says so."""

    id = "w"

    def __init__(self) -> None:
        self.patience = 0.0
        self.machine = am.Machine(WorkerStates)
        self.starts = 0

    def restart(self) -> None:
        self.starts += 1
        self.machine.add(WorkerStates.Starting)

    def terminate(self) -> None:
        self.machine.add(WorkerStates.Dead)

    async def dial(self) -> Transport:
        return pair()[0]


@pytest.fixture
def worker() -> FakeWorker:
    return FakeWorker()


@pytest.fixture
def parent(worker: FakeWorker) -> am.Machine[Forking]:
    machine = am.Machine(Forking, ParentHandlers({"w": worker}))
    fork_all(machine, {"w": worker})
    return machine


def test_workers_are_started_at_once(parent: am.Machine[Forking], worker: FakeWorker) -> None:
    assert (worker.starts, worker.patience) == (1, STARTING_PATIENCE)
    worker.machine.add(WorkerStates.Ready)
    assert parent.active_states() == ()


def test_a_worker_that_ends_is_missed_and_started_again(parent: am.Machine[Forking], worker: FakeWorker) -> None:
    worker.machine.add(WorkerStates.Ready)
    worker.machine.add(WorkerStates.Dead)
    assert worker.starts == 2
    assert parent.active_states() == ("ErrWorker",)
    worker.machine.add(WorkerStates.Ready)
    assert parent.active_states() == ()


def test_a_worker_that_does_not_start_is_left_alone_in_the_end(parent: am.Machine[Forking], worker: FakeWorker) -> None:
    for _ in range(FORK_RETRIES + 1):
        assert not parent.is_err()
        worker.machine.add(WorkerStates.Dead)
    assert worker.starts == 1 + FORK_RETRIES
    assert isinstance(parent.err, ForkError)
    assert "w does not start" in str(parent.err)


def test_a_start_that_succeeds_is_a_new_beginning(parent: am.Machine[Forking], worker: FakeWorker) -> None:
    for _ in range(3 * FORK_RETRIES):
        worker.machine.add(WorkerStates.Dead)
        worker.machine.add(WorkerStates.Ready)
    assert not parent.is_err()


def test_killing_is_ending_the_worker(parent: am.Machine[Forking], worker: FakeWorker) -> None:
    worker.machine.add(WorkerStates.Ready)
    assert parent.add(Forking.KillWorker, Child("w")).executed
    assert worker.starts == 2


def test_unknown_workers_are_refused(parent: am.Machine[Forking]) -> None:
    for event in (Forking.KillWorker, Forking.ForkWorker):
        assert parent.add(event, Child("other")).canceled
        assert parent.add(event).canceled
