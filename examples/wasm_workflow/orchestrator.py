"""How the orchestrator hands out the work, judges the result, and does what the page asks for.

Its states say where the workflow is; `Run` holds what is known. The handlers of one node are bound four times, with the
prefixes `Browser1` to `Browser4`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from secrets import token_hex

import asyncmachine as am
from asyncmachine.machine.clock import activations
from asyncmachine.rpc.states import ServerPayload
from examples.wasm_workflow import story
from examples.wasm_workflow.dag import CORRUPTED, DIGEST_SIZE, NODES
from examples.wasm_workflow.figures import Gauges
from examples.wasm_workflow.orders import RESULT, Boot, Child, Cut, NodeWork, Order, Retry, from_meta
from examples.wasm_workflow.run import MAX_RETRIES, Attempt, Run
from examples.wasm_workflow.settings import Settings
from examples.wasm_workflow.states import LEAVES, PARENTS, Orchestrator, Parent, Worker, of
from examples.wasm_workflow.story import Event
from examples.wasm_workflow.worker import Remote, hand

LONGEST_CUT = 60.0
"""Seconds."""


class WorkflowError(am.AmError):
    """The workflow gave up."""

    state = Orchestrator.ErrWorkflow


Tell = Callable[[Event], None]
Cutter = Callable[[], AbstractAsyncContextManager[object]]


class OrchestratorHandlers:
    """Handlers of `Orchestrator`. `tell` hears the story; while `cut()` is entered there are no tunnels.

    `remotes` has the workers that are connected; the leaves are reached through browser2.
    """

    def __init__(
        self, settings: Settings, tell: Tell, cut: Cutter, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings = settings
        self.tell = tell
        self.cut = cut
        self.gauges = Gauges(clock)
        self.boot = Boot(token_hex(16), token_hex(8), settings.seed, settings.success_rate, settings.hash_iterations)
        self.remotes: dict[str, Remote] = {}
        self.runs = 0
        self.run = self.new_run()

    def new_run(self) -> Run:
        """A run that has not begun."""
        self.runs += 1
        return Run(f"{self.boot.span_id}-{self.runs}")

    # The network

    def StartState(self, e: am.Event) -> None:
        e.add(Orchestrator.Ready)

    def BrowserConnState(self, e: am.Event) -> None:
        e.remove(Orchestrator.BrowserConn)
        self.remotes[e.args(Child).id].add(Worker.Start, self.boot, e=e)

    def NetworkReadyState(self, e: am.Event) -> None:
        """In the middle of a round, the nodes that lost their attempt start over."""
        if Orchestrator.RoundOpen in e.machine:
            for node in self.run.ready():
                if of(node, "Pending") not in e.machine:
                    self.tell(story.Resumed(self.run.round, node, self.run.attempt(node).number + 1))
                    e.add(of(node, "Work"))

    # A round

    def StartWorkState(self, e: am.Event) -> None:
        if self.run.round == 0:
            self.tell(story.RunBegan(self.runs, self.settings.seed))
        self.run = self.run.next_round(activations(e.machine.tick(Orchestrator.StartWork)))
        self.tell(story.RoundBegan(self.run.round))
        e.remove(Orchestrator.StartWork)
        e.add(Orchestrator.RoundOpen)
        e.add([Orchestrator.Browser1Work, Orchestrator.Browser2Work])

    def ServerPayloadEnter(self, e: am.Event) -> bool:
        answer = e.args_or_none(ServerPayload)
        return (
            answer is not None
            and answer.name == RESULT
            and answer.source in NODES
            and isinstance(answer.data, bytes)
            and len(answer.data) in {0, DIGEST_SIZE}
            and from_meta(answer.meta) is not None
        )

    def ServerPayloadState(self, e: am.Event) -> None:
        e.remove(Orchestrator.ServerPayload)
        answer = e.args(ServerPayload)
        attempt = from_meta(answer.meta)
        assert attempt is not None
        node = answer.source
        if isinstance(carried := answer.meta.get("bytes"), int):
            self.gauges.bytes[node] = carried
        if not self.run.expects(node, attempt):
            self.drop(node, attempt)
        elif answer.data:
            self.deliver(node, answer.data, e)
        else:
            self.again(node, "failed", story.Failed(attempt.round, node, attempt.number), e, retry=True)

    def deliver(self, node: str, result: bytes, e: am.Event) -> None:
        """Keeps a node's result. Whether it is right is not known before the end."""
        attempt = self.run.attempt(node)
        self.tell(story.Delivered(attempt.round, node, attempt.number))
        if Orchestrator.CorruptNext in e.machine:
            e.remove(Orchestrator.CorruptNext)
            self.tell(story.Corrupted(attempt.round, node))
            result = CORRUPTED
        self.run = self.run.deliver(node, result)
        e.add(of(node, "Delivered"))

    def drop(self, node: str, attempt: Attempt) -> None:
        """An answer that nobody waits for. Those to a process before this one need not be told."""
        if self.run.round:
            self.tell(story.Stale(self.run.round, node, attempt.round, attempt.number))

    def again(self, node: str, what: str, event: Event, e: am.Event, *, retry: bool = False) -> None:
        """Ends an attempt that came to nothing: the node gets another one, or the round ends."""
        self.tell(event)
        self.run = self.run.fail(node)
        e.remove(of(node, "Pending"))
        if self.run.exhausted(node):
            self.restart(f"{node} {what} {MAX_RETRIES + 1} times", e)
        else:
            e.add(of(node, "Work"), NodeWork(retry))

    def restart(self, reason: str, e: am.Event) -> None:
        """Ends a round that came to nothing: another one begins, or the workflow gives up."""
        run, most = self.run, self.settings.max_restarts
        if run.restarts < most:
            self.tell(story.Restarted(run.round, reason, run.restarts + 1, most))
            # Without the network there is no StartWork. Since no round is open, the network's return will bring it.
            e.remove(Orchestrator.RoundOpen)
            e.add(Orchestrator.StartWork)
        else:
            reason = f"{reason} after {most} restarts"
            self.tell(story.GaveUp(run.round, reason))
            e.machine.add_err(WorkflowError(reason), e=e)

    # The end of a round

    def WorkDeliveredEnter(self, e: am.Event) -> bool:
        return not self.run.wrong()

    def WorkDeliveredState(self, e: am.Event) -> None:
        self.tell(story.WorkDelivered(self.run.round, self.run.restarts, self.run.tries))

    def DigestsWrongEnter(self, e: am.Event) -> bool:
        return bool(self.run.wrong())

    def DigestsWrongState(self, e: am.Event) -> None:
        self.restart(f"wrong digest from {' and '.join(self.run.wrong())}", e)

    # What the page asks for

    def RunAgainState(self, e: am.Event) -> None:
        e.remove(Orchestrator.RunAgain)
        self.run = self.new_run()
        e.add(Orchestrator.StartWork)

    def CorruptNextState(self, e: am.Event) -> None:
        self.tell(story.CorruptAsked())

    def KillWorkerEnter(self, e: am.Event) -> bool:
        worker = e.args_or_none(Child)
        return worker is not None and PARENTS.get(worker.id) in self.remotes

    def KillWorkerState(self, e: am.Event) -> None:
        e.remove(Orchestrator.KillWorker)
        worker = e.args(Child)
        self.tell(story.KillAsked(worker.id))
        self.remotes[PARENTS[worker.id]].add(Parent.KillWorker, worker, e=e)

    def CutConnectionEnter(self, e: am.Event) -> bool:
        return 0 <= (e.args_or_none(Cut) or Cut()).seconds <= LONGEST_CUT

    async def CutConnectionState(self, e: am.Event) -> None:
        seconds = (e.args_or_none(Cut) or Cut()).seconds
        self.tell(story.CutAsked(seconds))
        async with self.cut():
            await asyncio.sleep(seconds)
        e.remove(Orchestrator.CutConnection)


class NodeHandlers:
    """Handlers of one node's states, bound with the node's prefix: `WorkState` handles `Browser1Work`, and so on."""

    def __init__(self, node: str, flow: OrchestratorHandlers) -> None:
        self.node = node
        self.flow = flow

    def WorkState(self, e: am.Event) -> None:
        """Counts an attempt and begins it."""
        self.flow.run = self.flow.run.next_attempt(self.node)
        e.remove(of(self.node, "Work"))
        e.add(of(self.node, "Pending"), NodeWork(retry=(e.args_or_none(NodeWork) or NodeWork()).retry))

    async def PendingState(self, e: am.Event) -> None:
        """The attempt itself. Whatever ends it ends this coroutine too: an answer, a lost worker, another round."""
        attempt = self.flow.run.attempt(self.node)
        self.give(e)
        seconds = self.flow.settings.node_timeout
        await asyncio.sleep(seconds)
        late = story.TimedOut(attempt.round, self.node, attempt.number, seconds)
        self.flow.again(self.node, "gave no answer", late, e)

    def WorkingState(self, e: am.Event) -> None:
        self.flow.gauges.at_work(self.node)

    def RetryingState(self, e: am.Event) -> None:
        self.flow.gauges.at_work(self.node)

    def ReadyEnd(self, e: am.Event) -> None:
        """Tells of all the workers that went in one transition, once."""
        lost = [node for node in NODES if of(node, "Ready") in e.tx.exits]
        if self.node == lost[0] and Orchestrator.RoundOpen in e.machine:
            self.flow.tell(story.Lost(self.flow.run.round, tuple(lost)))

    def errored(self, e: am.Event) -> None:
        """The node's machine is in error, so it does not work any more."""
        attempt = self.flow.run.attempt(self.node)
        if of(self.node, "Pending") in e.machine:
            broke = story.Broke(attempt.round, self.node, attempt.number)
            self.flow.again(self.node, "reported an error", broke, e)

    def give(self, e: am.Event) -> None:
        """Sends the order. A leaf gets it through its dispatcher."""
        run, remotes = self.flow.run, self.flow.remotes
        payload = run.payload(self.node)
        assert payload is not None
        retry = e.args(NodeWork).retry
        attempt = run.attempt(self.node)
        order = Retry(attempt) if retry else Order(payload, attempt)
        self.flow.gauges.asked(self.node)
        if self.node in LEAVES:
            remotes[PARENTS[self.node]].add(of(self.node, "Retry" if retry else "Work"), order, e=e)
        else:
            hand(remotes[self.node], order, e)


def orchestrator(handlers: OrchestratorHandlers) -> am.Machine[Orchestrator]:
    """The machine with all its handlers. It begins with `Start`."""
    machine = am.Machine(Orchestrator, handlers, id="orchestrator")
    for node in NODES:
        own = NodeHandlers(node, handlers)
        machine.bind(own, id=f"node-{node}", prefix=of(node))
        machine.bind({f"Err{of(node)}State": own.errored}, id=f"errors-{node}")
    return machine
