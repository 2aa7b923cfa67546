"""One durable machine for all tabs of an application: one leads and has it, all see it and change it.

    async def shop() -> durable.DurableMachine[Shop]:
        basket = Basket()
        return await durable.open(Shop, basket, id="shop", save=basket.save, load=basket.load)

    tab = shared.join("shop", Shop, shop)
    await tab.client.when_ready()
    await tab.mirror.add(Shop.Paid)       # on disk, whoever leads

Each tab, the leading one too, has a mirror: its calls go to the leader and are answered when they are written. When the
leader is closed, crashes or goes into the back/forward cache, the tab that has waited longest opens the
machine from what is stored, and mirrors follow it: what was answered is there. A call without an answer yet fails with
`UnknownOutcome`: it may have been written, and is never run again by itself. A leader that stands still, in a loop or a
debugger, is ousted by a visible tab after 8 to 10 s: when it goes on it follows, and what it would write then is
refused. One that cannot open the machine lets another tab try, and waits for its turn again after a pause; so does one
from which a page has taken it that opens it by itself. A tab that leads no more when its `open` gets to `durable.open`
opens nothing: that raises `TermOver`.

`tab.machine` tells whether this tab is `Leading` or `Following`, `Away` while it is frozen or was left, and by
`ErrOpen` that it could not lead. Tabs do not tell each other why: if none can open the machine, each has an `ErrOpen`
of its own after its turn. A tab that is `Following` while `tab.client.machine` is not `Ready` waits for one that leads,
as while `open` runs there; of one that leads and refuses it, as a tab of another release does,
`refusals.refusal(tab.client)` tells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from secrets import token_hex
from typing import Any, Generic, TypeVar

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.transport import Transport
from asyncmachine.rpc.transport.channel import Channel
from asyncmachine_web.page import place
from asyncmachine_web.page.durable import DurableMachine
from asyncmachine_web.page.given import need
from asyncmachine_web.page.journal import KeepingStates
from asyncmachine_web.page.leading import Leading
from asyncmachine_web.page.lifecycle import lifecycle
from asyncmachine_web.page.term import Term, TermOver

S = TypeVar("S", bound=str)

TABS = 256
"""How many tabs may follow."""
PUSH_INTERVAL = 0.02
"""Seconds; the others see a change within them."""
PAUSE, LONGEST_PAUSE = 1.0, 15.0
"""Seconds until a tab that could not open the machine wants to lead again, doubled with each failure."""

Open = Callable[[], Awaitable[DurableMachine[Any]]]


class TabStates(am.StatesDef):
    ErrOpen = am.state(multi=True, add="Exception", require="Exception")
    Following = am.state(remove=("Leading", "Away"))
    Leading = am.state(remove=(Following, "Away"))
    Away = am.state(remove=(Following, Leading))


class Tab(Generic[S]):
    """Made by `join`. `mirror` is the machine as this tab sees it; `own` is the machine itself while this tab leads."""

    def __init__(self, name: str, states: type[S], open: Open) -> None:
        self.machine = am.Machine(TabStates, id=f"tab-{name}", tags=("tab",))
        self.client: rpc.Client[S] = rpc.Client(self._dial, states, id=f"{name}-{token_hex(4)}")
        self.own: DurableMachine[Any] | None = None
        self._name = name
        self._place = place.own(f"asyncmachine.shared.{name}")
        self._open = open
        self._calls: Channel | None = None
        self._takes: Channel | None = None
        self._server: rpc.Server | None = None
        self._term = Term()
        """Over when this tab leads no more; then another one stands here."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._release: Callable[[], None] = lambda: None
        self._has_left = False
        self._failures = 0
        self._pause: asyncio.TimerHandle | None = None
        page = lifecycle()
        back = {name: lambda _: self._return() for name in ("LeavingEnd", "FrozenEnd")}
        away = {name: lambda _: self._go_away() for name in ("LeavingState", "FrozenState")}
        page.machine.bind({**back, **away})
        page.on_wake(self.client.retry_now)

    @property
    def mirror(self) -> rpc.NetworkMachine[S]:
        return self.client.netmach

    def enter(self) -> None:
        """Takes part: follows whoever leads, and waits to lead. Of no effect in a tab that does."""
        self._has_left = False
        if self._calls is not None:
            return
        self._calls = self._channel()
        self._queue()
        self.client.retry_now()

    def leave(self) -> None:
        """Takes no part any more, until `enter`: another tab may lead. Never waits."""
        self._has_left = True
        self._go_away()

    def _go_away(self) -> None:
        if TabStates.Away in self.machine:
            return
        self.machine.add(TabStates.Away)
        self._step_down()
        if self._calls is not None:
            self._calls.close()
            self._calls = None
        if self._pause is not None:
            self._pause.cancel()
        self._release()

    def _queue(self) -> None:
        self.machine.add(TabStates.Following)
        self._release = Leading(self._place, self._granted, self._ousted).leave

    def _step_down(self) -> None:
        self._term.over, self._term = True, Term()
        own, self.own = self.own, None
        if self._server is not None:
            self._server.stop()
            self._server = None
        if self._takes is not None:
            self._takes.close()
            self._takes = None
        if own is not None:
            own.dispose()

    def _ousted(self) -> None:
        """Another tab leads, since this one stood still. What is not written yet is not written any more."""
        if self._takes is not None:
            self._takes.ousted()
        self._step_down()
        self._queue()

    def _return(self) -> None:
        weather = lifecycle().machine
        if TabStates.Away in self.machine and not self._has_left and not weather.any_("Leaving", "Frozen"):  # type: ignore[arg-type]
            self.enter()

    def _channel(self) -> Channel:
        import js

        return Channel(js.BroadcastChannel.new(self._place), self._place)

    async def _dial(self) -> Transport:
        if self._calls is None:
            raise rpc.NotConnected("the page was left")
        return await self._calls.dial()

    def _granted(self) -> None:
        if self._calls is not None:
            self._calls.leader_gone()
        self._run(self._lead())

    async def _lead(self) -> None:
        term = self._term
        try:
            with term:
                opened = await self._open()
            server = rpc.Server(opened, self._name, PUSH_INTERVAL, clients=TABS)
        except Exception as error:  # noqa: BLE001 (the application's)
            if not isinstance(error, TermOver):
                self.machine.add_err(error, state=TabStates.ErrOpen)
            if not term.over:
                self._let_others()
            return
        if term.over:
            opened.dispose()
            return
        self._failures = 0
        if TabStates.ErrOpen in self.machine:
            self.machine.remove((TabStates.ErrOpen, TabStates.Exception))
        self.own = opened
        self._server = server
        self._takes = self._channel()
        self.machine.add(TabStates.Leading)
        self._takes.lead(lambda transport: self._run(server.serve(transport)))
        soon = partial(asyncio.get_running_loop().call_soon, self._taken_over, term)
        opened.keeping.when(KeepingStates.ErrTakenOver).then(soon)

    def _taken_over(self, term: Term) -> None:
        """A page has opened the machine that does not lead. What happens here is kept no more: to be opened again."""
        if not term.over:
            self._step_down()
            self.machine.add(TabStates.Following)
            self._let_others()

    def _let_others(self) -> None:
        """Another tab may be able to open it; this one waits for its turn again."""
        self._release()
        pause = min(PAUSE * 2**self._failures, LONGEST_PAUSE)
        self._failures += 1
        self._pause = asyncio.get_running_loop().call_later(pause, self._queue)

    def _run(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def join(name: str, states: type[S], open: Open) -> Tab[S]:
    """Takes part in the machine of this name. `open` opens it, in the tab that leads."""
    need("shared.join()", "base")
    tab: Tab[S] = Tab(name, states, open)
    tab.enter()
    tab.client.start()
    return tab
