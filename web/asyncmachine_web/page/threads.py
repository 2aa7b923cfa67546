"""The browser's threads: does what `supervision` and `spares` decide."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from asyncmachine_web.page import spares, supervision
from asyncmachine_web.page.supervision import Act, Detail, End, Expect, Keep, Tell
from asyncmachine_web.page.timers import Timer, let_go

if TYPE_CHECKING:
    from pyodide.ffi import JsDoubleProxy

Hear = Callable[[str, Detail], None]

SIGINT: Final = 2

NEW: Final = spares.Spare(-1)
"""As good as a spare that has told nothing yet."""


class Thread:
    """A worker of the browser's. `hear` gets what it tells until `end`, after which nothing is left of it."""

    def __init__(self, name: str, hear: Hear) -> None:
        from asyncmachine_js import hatch
        from pyodide.ffi import create_proxy

        self.hear = hear
        self._heard: JsDoubleProxy = create_proxy(lambda kind, detail: self.hear(kind, json.loads(detail)))
        self._made = hatch(name, self._heard)

    def post(self, kind: str, port: Any = None, **detail: object) -> None:
        """The port is handed over."""
        import js

        message = js.JSON.parse(json.dumps({"type": kind, **detail}))
        if port is None:
            self._made.worker.postMessage(message)
        else:
            message.port = port
            self._made.worker.postMessage(message, js.Array.of(port))

    @property
    def interruptible(self) -> bool:
        """As pages are that are isolated."""
        return self._made.interrupt is not None

    @property
    def interrupted(self) -> bool:
        """Its Python has not taken the interrupt yet."""
        return self.interruptible and bool(self._made.interrupt.at(0))

    def interrupt(self, signal: int) -> None:
        """0 takes it back."""
        if self.interruptible:
            self._made.interrupt.fill(signal)

    def end(self) -> None:
        self._made.end()
        self.hear = _nobody
        let_go(self._heard)


class Forked:
    """A worker that was forked. `tell` is called with READY, PHASE, STARTED, and once with EXIT or ERROR, the last."""

    def __init__(self, order: Mapping[str, object], patience: float, tell: Hear) -> None:
        """Nothing is told before `begin`."""
        import js

        self._order = order
        self._tell = tell
        self._nest = nest()
        self._thread, spare = self._nest.take() or (self._hatch(), NEW)
        self._thread.hear = self._heard
        self._supervision = supervision.Supervision(
            patience, interruptible=self._thread.interruptible, said=spare.said, warm=spare.warm
        )
        channel = js.MessageChannel.new()
        self.port = channel.port1
        self._its_port = channel.port2
        self._heart = Timer()
        self._over = False

    def begin(self) -> None:
        self._do(self._supervision.begin())

    def connect(self) -> Any:
        """Another port to it, after the first was closed."""
        import js

        channel = js.MessageChannel.new()
        self._thread.post("PORT", channel.port2)
        return channel.port1

    def bear(self, patience: float) -> None:
        self._supervision.patience = patience

    def terminate(self) -> None:
        self._do([End("EXIT", {"reason": "terminated"})])

    def _hatch(self) -> Thread:
        return Thread(str(self._order["id"]), self._heard)

    def _heard(self, kind: str, detail: Detail) -> None:
        self._do(self._supervision.heard(kind, detail))

    def _beat(self) -> None:
        self._do(self._supervision.beat(looked=not self._thread.interrupted))

    def _do(self, deeds: Sequence[supervision.Deed]) -> None:
        for deed in deeds:
            if self._over:  # by who was told
                return
            match deed:
                case Act():
                    self._act(deed)
                case Expect(first):
                    self._nest.expect(first=first)
                case Keep(id, secret):
                    _keep(id, secret)
                case Tell(kind, detail):
                    self._tell(kind, detail)
                case End(kind, detail):
                    self._over = True
                    self._heart.stop()
                    self._thread.end()
                    self._tell(kind, detail)

    def _act(self, act: Act) -> None:
        match act:
            case Act.PING:
                self._thread.post("PING")
            case Act.BEAT:
                self._heart.start(supervision.BEAT, self._beat)
            case Act.RUN:
                self._run()
            case Act.ANEW:
                self._heart.stop()
                self._thread.end()
                self._thread = self._hatch()
            case Act.INTERRUPT:
                self._thread.interrupt(SIGINT)
            case Act.CALM:
                self._thread.interrupt(0)
            case Act.REFILL:
                self._nest.refill()

    def _run(self) -> None:
        from asyncmachine_js import tab, visibility

        secrets = tab.secrets.to_py()
        self._thread.post("RUN", self._its_port, **self._order, secrets=secrets, page=visibility())


class Nest:
    """Where spares are kept."""

    def __init__(self) -> None:
        self._spares = spares.Spares()
        self._threads: dict[int, Thread] = {}
        self._watch = Timer()
        self._expecting = Timer()

    def keep(self, count: int) -> None:
        self._do(self._spares.keep(count))

    def refill(self) -> None:
        self._do(self._spares.refill())

    def expect(self, *, first: bool) -> None:
        self._do(self._spares.expect(first=first))

    def take(self) -> tuple[Thread, spares.Spare] | None:
        spare = self._spares.take()
        return None if spare is None else (self._threads.pop(spare.number), spare)

    def _look(self) -> None:
        self._do(self._spares.look())

    def _let_go(self) -> None:
        self._do(self._spares.let_go())

    def _heard(self, number: int, kind: str, detail: Detail) -> None:
        self._do(self._spares.heard(number, kind, detail))

    def _do(self, deeds: Sequence[spares.Deed]) -> None:
        for deed in deeds:
            match deed:
                case spares.Hatch(number, name):
                    self._threads[number] = Thread(name, partial(self._heard, number))
                case spares.Ping(number):
                    self._threads[number].post("PING")
                case spares.Drop(number):
                    self._threads.pop(number).end()
                case spares.Watch(on=True):
                    self._watch.start(spares.LOOK, self._look)
                case spares.Watch():
                    self._watch.stop()
                case spares.Refill(after):
                    Timer().start(after, self.refill, once=True)
                case spares.LetGo(after):
                    self._expecting.start(after, self._let_go, once=True)


@cache
def nest() -> Nest:
    """The one of this page or worker."""
    return Nest()


def _keep(id: str, secret: str) -> None:
    from asyncmachine_js import tab

    tab.keep(id, secret)


def _nobody(_kind: str, _detail: Detail) -> None:
    pass
