"""The mains of the four threads in the browser: of the page, of the dispatcher, and of a leaf."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncmachine as am
from asyncmachine.rpc.transport.tunnel import REPEATED, Tunnel, TunnelStates
from asyncmachine.telemetry import dbg
from asyncmachine_web.page import debug, relay
from asyncmachine_web.page.lifecycle import lifecycle
from asyncmachine_web.page.refusals import words
from asyncmachine_web.page.workers import Context, Worker, spare
from examples.wasm_workflow.dispatcher import dispatcher
from examples.wasm_workflow.node import Node
from examples.wasm_workflow.page_node import page_node
from examples.wasm_workflow.states import LEAVES, Page
from examples.wasm_workflow.view import View
from examples.wasm_workflow.worker import WorkerHandlers

TARGET = "orchestrator"
MODULE = "examples.wasm_workflow.browser"

SPARES = 1
"""Pythons that have started and wait, in the page and in the dispatcher, for a worker of theirs to end."""

WEATHER = (Page.Hidden, Page.Frozen, Page.Offline)
"""What happens to the page and is shown on it, by the names of `PageStates`."""


def page() -> None:
    """The page: browser1, the mirror of the orchestrator, and all that is shown."""
    view = View()
    listening, dialling = relay.listen("browser1", TARGET), relay.dial("browser1", TARGET)
    workers = {"browser2": Worker("browser2", f"{MODULE}:run_dispatcher", debug.env())}
    node, client = page_node(workers, dialling, view.take)
    am.pipes.bind_many(lifecycle().machine, node.machine, WEATHER)
    am.pipes.sync(lifecycle().machine, node.machine, WEATHER)
    keep_spares(node.machine)
    debug.watch(node.machine)
    view.bind(node.machine, client.netmach)
    for tunnel in (listening, dialling):
        watch_refusals(tunnel, node.machine, view)
    view.on_retry(listening, dialling)
    for redials in (client.retry_now, node.server.retry_now):
        lifecycle().on_wake(redials)
    node.server.listen(listening)
    client.start()


def keep_spares(machine: am.Machine[Any]) -> None:
    """Once a first result is there: until then the processors have better things to do than to start more Pythons."""
    machine.bind({"CompletedState": lambda _: spare(SPARES)})


def watch_refusals(tunnel: Tunnel, machine: am.Machine[Page], view: View) -> None:
    """Tells why the relay refuses a tunnel. Ids that another tab has become a state of the page."""

    def refused(e: am.Event) -> None:
        why = tunnel.refused
        if why is None or tunnel.refusals < REPEATED:
            return
        if why.name == "DUPLICATE":
            view.notice("This demo is open in another tab. Close that one: then this one goes on.")
            machine.add(Page.IdsTaken)
        else:
            view.notice(words(why.name, why.hint, again=TunnelStates.GaveUp not in tunnel.machine))

    def let_in(e: am.Event) -> None:
        view.notice("")
        machine.remove(Page.IdsTaken)

    tunnel.machine.bind({"ErrRefusedState": refused, "GaveUpState": refused, "ErrRefusedEnd": let_in})


async def run_dispatcher(context: Context) -> None:
    """browser2. It ends with its page."""
    leaves = {leaf: Worker(leaf, f"{MODULE}:run_leaf", debug.env()) for leaf in LEAVES}
    node, handlers = dispatcher(leaves)
    keep_spares(node.machine)
    dbg.debug_env(node.machine)
    lifecycle().on_wake(node.server.retry_now)
    node.server.listen(relay.listen(context.id, TARGET))
    await asyncio.gather(*(handlers.follow_leaf(node.machine, leaf) for leaf in leaves.values()))


async def run_leaf(context: Context) -> None:
    """browser3 or browser4. It ends with its parent."""
    node = Node.create(context.id)
    dbg.debug_env(node.machine)
    node.machine.bind(WorkerHandlers(context.id, node.send))
    node.server.listen(context.dial)
    await node.machine.when_disposed()
