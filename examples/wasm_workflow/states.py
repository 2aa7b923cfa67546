"""The schemas of the five machines. Everything the workflow does is a change of these states.

======================  ============================  ==================================================
machine                 where                         schema
======================  ============================  ==================================================
``orchestrator``        native process                `Orchestrator`
``browser1``            page                          `Page`: a `Worker` that forks browser2 and is seen
``browser2``            web worker                    `Dispatcher`: a `Worker` that forks the leaves
``browser3, browser4``  web workers, the leaves       `Worker`
======================  ============================  ==================================================

*Piped* states are copies: they follow a state of another machine and nobody else changes them. States that stand for a
moment, such as `StartWork`, remove themselves in their handler.
"""

from __future__ import annotations

from typing import Any

import asyncmachine as am
from asyncmachine.rpc.states import Consumer, StateSource
from asyncmachine.states import Basic, Disposed

WORK = ("Working", "Retrying", "Completed", "Failed")
DELIVERED = ("Browser1Delivered", "Browser2Delivered", "Browser3Delivered", "Browser4Delivered")


class Worker(StateSource, Disposed, Basic):
    """A node of the graph. One of the four states of `Work` at a time, and none of them without a connection."""

    RpcReady = am.state()  # piped from the machine's RPC server: the other side is there
    Start = am.state(require=RpcReady)  # {Boot}; falls with the connection and is added anew after it
    Exception = am.state(multi=True, remove=WORK)
    Working = am.state(require=Start, remove=(*WORK, "Exception"))  # {Order} with a payload
    Retrying = am.state(require=Start, remove=(*WORK, "Exception"))  # {Retry}: the payload it already has
    Completed = am.state(require=Start, remove=WORK)  # {Answer} with the result
    Failed = am.state(require=Start, remove=WORK)  # {Answer} without a result

    Work = am.group(WORK)


class Parent(am.StatesDef):
    """A machine that forks web workers and forks them again when they end. All but the first are events, {Child}."""

    ErrWorker = am.state()  # a worker is missing: it ended, or does not start
    ForkWorker = am.state(multi=True)
    WorkerForked = am.state(multi=True)
    WorkerLost = am.state(multi=True)
    KillWorker = am.state(multi=True)


class Page(Consumer, Parent, Worker):
    """The machine of the page's thread, browser1. What the page shows is bound to it and to its orchestrator mirror."""

    Linked = am.state()  # piped from the client of the orchestrator: the mirror is live
    IdsTaken = am.state(remove="ForkWorker")  # the relay refused our ids, another tab has them: no workers meanwhile
    Hidden = am.state()  # these three are piped from the page's lifecycle
    Frozen = am.state()
    Offline = am.state()


class Dispatcher(Consumer, Parent, Worker):
    """The machine browser2: a node itself, and between the orchestrator and the leaves. See `DISPATCHER`."""

    Browser3Work = am.state(multi=True)  # {Order}, handed on to the leaf
    Browser4Work = am.state(multi=True)
    Browser3Retry = am.state(multi=True)  # {Retry}, handed on to the leaf
    Browser4Retry = am.state(multi=True)


DISPATCHER = Dispatcher.schema.merge(Worker.schema.prefixed("Browser3"), Worker.schema.prefixed("Browser4"))
"""The dispatcher's states and a piped copy of all states of each leaf: who sees the dispatcher sees the leaves."""


class Orchestrator(Consumer, StateSource, Basic):
    """The native machine: it sees all nodes, hands out the work, and judges the result."""

    # The network. All of these are piped, but the last three.
    Ready = am.state()
    ErrRpc = am.state()
    ErrBrowser1 = am.state()
    ErrBrowser2 = am.state()
    ErrBrowser3 = am.state()
    ErrBrowser4 = am.state()
    Browser1Conn = am.state()
    Browser2Conn = am.state()
    Browser1Ready = am.state(require=Browser1Conn)
    Browser1Working = am.state(require=Browser1Conn)
    Browser1Retrying = am.state(require=Browser1Conn)
    Browser1Completed = am.state(require=Browser1Conn)
    Browser1Failed = am.state(require=Browser1Conn)
    Browser2Ready = am.state(require=Browser2Conn)
    Browser2Working = am.state(require=Browser2Conn)
    Browser2Retrying = am.state(require=Browser2Conn)
    Browser2Completed = am.state(require=Browser2Conn)
    Browser2Failed = am.state(require=Browser2Conn)
    Browser3Ready = am.state(require=Browser2Conn)
    Browser3Working = am.state(require=Browser2Conn)
    Browser3Retrying = am.state(require=Browser2Conn)
    Browser3Completed = am.state(require=Browser2Conn)
    Browser3Failed = am.state(require=Browser2Conn)
    Browser4Ready = am.state(require=Browser2Conn)
    Browser4Working = am.state(require=Browser2Conn)
    Browser4Retrying = am.state(require=Browser2Conn)
    Browser4Completed = am.state(require=Browser2Conn)
    Browser4Failed = am.state(require=Browser2Conn)
    BrowserConn = am.state(multi=True, require="Start")  # {Child}: a worker came, it gets its Start
    WorkersReady = am.state(auto=True, require=(Browser1Ready, Browser2Ready, Browser3Ready, Browser4Ready))
    NetworkReady = am.state(auto=True, require=(Ready, WorkersReady), add="StartWork")

    # A round. StartWork begins one; its ticks number them. While a round is open, or after the workflow gave up, a
    # network that comes back does not begin another one.
    StartWork = am.state(require=NetworkReady, remove=(*DELIVERED, "RoundOpen", "ErrWorkflow"))
    RoundOpen = am.state(remove=StartWork)
    ErrWorkflow = am.state(require="Exception", remove=(StartWork, RoundOpen))  # too many restarts

    # A node's way through a round: Work counts an attempt, Pending is the attempt, Delivered stands for its result.
    Browser1Work = am.state(require=NetworkReady, remove="Browser1Pending")
    Browser2Work = am.state(require=NetworkReady, remove="Browser2Pending")
    Browser3Work = am.state(require=("Browser1Delivered", NetworkReady), remove="Browser3Pending")
    Browser4Work = am.state(require=("Browser2Delivered", NetworkReady), remove="Browser4Pending")
    Browser1Pending = am.state(require=(RoundOpen, Browser1Ready))
    Browser2Pending = am.state(require=(RoundOpen, Browser2Ready))
    Browser3Pending = am.state(require=(RoundOpen, Browser3Ready))
    Browser4Pending = am.state(require=(RoundOpen, Browser4Ready))
    Browser1Delivered = am.state(add=Browser3Work, remove=Browser1Pending)
    Browser2Delivered = am.state(add=Browser4Work, remove=Browser2Pending)
    Browser3Delivered = am.state(remove=Browser3Pending)
    Browser4Delivered = am.state(remove=Browser4Pending)

    # The end of a round: one or the other, by the digests.
    WorkDelivered = am.state(auto=True, require=(Browser3Delivered, Browser4Delivered))
    DigestsWrong = am.state(auto=True, require=(Browser3Delivered, Browser4Delivered))

    # What the page may ask for.
    RunAgain = am.state(multi=True, require=NetworkReady, remove=(*DELIVERED, RoundOpen, ErrWorkflow, "Exception"))
    CorruptNext = am.state()  # until the next result
    KillWorker = am.state(multi=True)  # {Child}
    CutConnection = am.state()  # {Cut}: every tunnel is closed and none is opened while it is active


PARENTS = {"browser2": "browser1", "browser3": "browser2", "browser4": "browser2"}
"""Who forks a worker, and so is the one who can kill it."""

LEAVES = ("browser3", "browser4")
"""The workers that are seen through the dispatcher, browser2."""

CONTROLS = (Orchestrator.RunAgain, Orchestrator.CorruptNext, Orchestrator.KillWorker, Orchestrator.CutConnection)
"""The mutations that the page's mirror is allowed."""

PIPED = ("Ready", "Working", "Retrying", "Completed", "Failed")
"""The states of a worker that the orchestrator follows."""


def of(node: str, state: str = "") -> Any:
    """A node's state in the schema of a machine that sees it: `of("browser3", "Ready")` is `Browser3Ready`.

    For a type checker it is a state of whatever schema is wanted.
    """
    return f"{node.capitalize()}{state}"
