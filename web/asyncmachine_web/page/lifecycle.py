"""What happens to the page, as states: seen or hidden, online or not, frozen, about to go.

    page = lifecycle()
    am.pipes.bind(page.machine, PageStates.Hidden, mine, "Paused")
    page.on_wake(client.retry_now)                      # also asks whether the connection still works

Workers have the same states: what happens to the page is told to every worker below it. Handlers of `Leaving` run
before the page is gone, so they must be plain `def`; sockets and locks are let go there, or the browser would not take
the page into its back/forward cache. Then it is `Cached`, and may come back from there, or `Closing` for good. A page
that comes back loses all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

import asyncmachine as am
from asyncmachine_web.page.given import need


class PageStates(am.StatesDef):
    Visible = am.state(remove="Hidden")
    Hidden = am.state(remove=Visible)
    Online = am.state(remove="Offline")
    Offline = am.state(remove=Online)
    Frozen = am.state()
    Leaving = am.state()
    Cached = am.state(require=Leaving, remove="Closing")
    Closing = am.state(require=Leaving, remove=Cached)
    Discarded = am.state()
    Woke = am.state(multi=True)
    Seen = am.group(Visible, Hidden)
    Gone = am.group(Leaving, Cached, Closing, Frozen)


EVENTS: Final[Mapping[str, PageStates]] = {
    "visible": PageStates.Visible,
    "hidden": PageStates.Hidden,
    "online": PageStates.Online,
    "offline": PageStates.Offline,
    "frozen": PageStates.Frozen,
    "leaving": PageStates.Leaving,
    "cached": PageStates.Cached,
    "closing": PageStates.Closing,
    "discarded": PageStates.Discarded,
    "woke": PageStates.Woke,
}
"""What an event of `lifecycle.mjs` adds."""

ENDS: Final[Mapping[str, tuple[PageStates, ...]]] = {
    "resumed": (PageStates.Frozen,),
    "back": (PageStates.Leaving, PageStates.Cached, PageStates.Closing, PageStates.Frozen),
    "woke": (PageStates.Woke,),
}
"""What it removes: `Woke` is over as soon as it was told."""


class Lifecycle:
    """Turns the events of `lifecycle.mjs` into states of its machine."""

    def __init__(self, *, visible: bool, online: bool) -> None:
        self.machine = am.Machine(PageStates, id="page")
        self.hear("visible" if visible else "hidden")
        self.hear("online" if online else "offline")

    def hear(self, event: str) -> None:
        """Events of an unknown name change nothing."""
        if event in EVENTS:
            self.machine.add(EVENTS[event])
        if event in ENDS:
            self.machine.remove(ENDS[event])

    def on_wake(self, wake: Callable[[], object]) -> str:
        """Call `wake()` when a connection may work again, or no more; `machine.detach` of the returned id ends that."""
        names = ("VisibleState", "OnlineState", "OfflineState", "FrozenEnd", "LeavingEnd", "WokeState")
        return self.machine.bind({name: lambda _event: wake() and None for name in names})

    def on_leave(self, leave: Callable[[], object]) -> str:
        """Call `leave()`, which must not block, when the page goes; `machine.detach` of what is returned ends that."""
        return self.machine.bind({"LeavingState": lambda _event: leave() and None})


@cache
def lifecycle() -> Lifecycle:
    """The one of this page or worker."""
    need("lifecycle()", "discarded", "follow", "visibility")
    import js
    from asyncmachine_js import discarded, follow, visibility
    from pyodide.ffi import create_proxy

    found = Lifecycle(visible=visibility() == "visible", online=bool(js.navigator.onLine))
    if discarded:
        found.hear("discarded")
    follow(create_proxy(found.hear))  # lives as long as this Python
    return found
