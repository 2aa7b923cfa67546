"""What happens to the page, as states: seen or hidden, online or not, frozen, about to go.

    page = lifecycle()
    am.pipes.bind(page.machine, "Hidden", mine, "Paused")
    page.on_wake(client.retry_now)

Workers have the same states: what happens to the page is told to every worker below it. Handlers of `Leaving` run
before the page is gone or goes into the back/forward cache, so they must be plain `def`; sockets and locks are let go
there. A page that comes back from that cache loses `Leaving`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import asyncmachine as am


class PageStates(am.StatesDef):
    Visible = am.state(remove="Hidden")
    Hidden = am.state(remove=Visible)
    Online = am.state(remove="Offline")
    Offline = am.state(remove=Online)
    Frozen = am.state()
    Leaving = am.state()


class Lifecycle:
    """Turns the events of `lifecycle.mjs` into states of its machine."""

    def __init__(self, *, visible: bool, online: bool) -> None:
        self.machine = am.Machine(PageStates, id="page")
        self.hear("visible" if visible else "hidden")
        self.hear("online" if online else "offline")

    def hear(self, event: str) -> None:
        """Events of an unknown name change nothing."""
        machine = self.machine
        match event:
            case "visible":
                machine.add(PageStates.Visible)
            case "hidden":
                machine.add(PageStates.Hidden)
            case "online":
                machine.add(PageStates.Online)
            case "offline":
                machine.add(PageStates.Offline)
            case "frozen":
                machine.add(PageStates.Frozen)
            case "resumed":
                machine.remove(PageStates.Frozen)
            case "leaving":
                machine.add(PageStates.Leaving)
            case "back":
                machine.remove([PageStates.Leaving, PageStates.Frozen])

    def on_wake(self, wake: Callable[[], object]) -> str:
        """Call `wake()` when a lost connection may work again; `machine.detach` of what is returned ends that."""
        names = ("VisibleState", "OnlineState", "FrozenEnd", "LeavingEnd")
        return self.machine.bind({name: lambda _event: wake() and None for name in names})

    def on_leave(self, leave: Callable[[], object]) -> str:
        """Call `leave()`, which must not block, when the page goes; `machine.detach` of what is returned ends that."""
        return self.machine.bind({"LeavingState": lambda _event: leave() and None})


@cache
def lifecycle() -> Lifecycle:
    """The one of this page or worker."""
    import js
    from asyncmachine_js import follow, visibility
    from pyodide.ffi import create_proxy

    found = Lifecycle(visible=visibility() == "visible", online=bool(js.navigator.onLine))
    follow(create_proxy(found.hear))  # lives as long as this Python
    return found
