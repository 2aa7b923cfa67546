"""What the page shows, and what its buttons do."""

from __future__ import annotations

import asyncio
import logging
from secrets import token_hex

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine_web.page import relay
from asyncmachine_web.page.lifecycle import PageStates, lifecycle
from asyncmachine_web.page.refusals import refusal
from asyncmachine_web.page.ui import Fields, Page, Source, Value
from asyncmachine_web.page.workers import Worker, WorkerFailed

from .states import Guests, Name, Primes, Shown

ALONE = "There is no server behind this page. What needs none works all the same."


def main() -> None:
    """Called once Python runs; `index.html` names it."""
    shown = am.Machine(Shown, id="shown")
    tunnel = relay.dial(f"page-{token_hex(4)}", "guests")
    guests = rpc.Client(tunnel, Guests, consumer=shown)
    guests.start()
    worker = Worker.fork("primes", "app_name.worker:main")
    trouble = Value("")
    worker.machine.bind(WorkerHandlers(worker, trouble))
    primes = rpc.Client(worker.dial, Primes, consumer=shown)
    primes.start()
    lifecycle().on_wake(guests.retry_now)

    page = Page(shown)
    why, weather, session = refusal(tunnel, guests), Source(lifecycle().machine), Source(guests.machine)

    def refused(m: Source) -> str:
        """For whoever looks at the page. That no relay is where it should be is on the console, with the address."""
        told = why(m)
        return ALONE if told and tunnel.refused and tunnel.refused.name == "NO_RELAY" else told

    def link(m: Source) -> str:
        if not m.stale:
            return "live"
        if weather.is_(PageStates.Offline):
            return "offline"
        if told := refused(m):
            return "no server" if told == ALONE else "refused"
        return "reconnecting" if session.count("Ready") else "connecting"

    page.bind("#link", guests, text=link, cls={"on": lambda m: not m.stale})
    page.bind("#refused", tunnel.machine, text=refused, visible=refused)
    page.each("#names", page.payload("names", default=[]), "<li>{name}</li>", source=guests)
    page.bind("#nobody", guests, visible=lambda m: not m.stale and not m.count(Guests.Signed))
    page.form("#sign", "Sign", until="Signed", timeout=5, args=named, source=guests)
    page.bind("#sign button", guests, attr={"aria-disabled": lambda m: m.stale})
    page.bind("#found", text=page.payload("found", default="–"))
    page.bind("#count", primes, attr={"disabled": lambda m: m.stale or m.is_(Primes.Count)})
    page.bind("#failed", primes, visible="Exception")
    page.bind("#trouble", text=trouble, visible=trouble)
    page.on("click", "#count", "Count", source=primes)
    shown.add(Shown.Ready)


def named(fields: Fields) -> Name:
    """The form, as arguments. What is wrong with it is told beside it."""
    if not fields["name"].strip():
        raise am.AmError("a name is needed")
    return Name(fields["name"])


class WorkerHandlers:
    """A worker that has ended is started again: after a second, and after longer each time until it is ready."""

    def __init__(self, worker: Worker, trouble: Value[str]) -> None:
        self.worker = worker
        self.trouble = trouble
        self.pause = 1

    def ReadyState(self, e: am.Event) -> None:
        self.trouble.set("")
        self.pause = 1

    async def DeadState(self, e: am.Event) -> None:
        error = self.worker.machine.err
        self.trouble.set(str(error or ""))
        if isinstance(error, WorkerFailed):
            logging.getLogger(__name__).error(error.trace)
        await asyncio.sleep(self.pause)
        self.pause = min(self.pause * 2, 30)
        self.worker.restart()
