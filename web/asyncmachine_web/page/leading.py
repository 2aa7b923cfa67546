"""The browser's Web Lock, and what pages say about who has it: does what `candidacy` decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from asyncmachine_web.page.candidacy import ASK, Act, Candidacy
from asyncmachine_web.page.lifecycle import PageStates, lifecycle
from asyncmachine_web.page.timers import Timer, let_go


class Leading:
    """Calls `granted()` when this page leads, and `ousted()` if another one has taken that away. `leave` ends both."""

    def __init__(self, name: str, granted: Callable[[], None], ousted: Callable[[], None]) -> None:
        import js
        from pyodide.ffi import create_proxy

        self._name = name
        self._granted = granted
        self._ousted = ousted
        self._candidacy = Candidacy()
        self._locks: Any = getattr(js.navigator, "locks", None)
        self._requests = 0
        self._waiting: Any = js.AbortController.new()
        self._held: Any = js.Promise.withResolvers()
        """Settled when the lock is let go."""
        self._asking = Timer()
        self._talk: Any = js.BroadcastChannel.new(f"{name}.leader")
        self._heard = create_proxy(lambda message: self._do(self._candidacy.heard(message.data)))
        self._talk.onmessage = self._heard
        if self._locks:
            self._request(signal=self._waiting.signal)
            self._asking.start(ASK, self._tick)
        else:
            self._do(self._candidacy.granted(0))

    def leave(self) -> None:
        """Lets another page lead, or waits no longer."""
        self._do(self._candidacy.leave())

    def _request(self, **options: object) -> None:
        import js
        from pyodide.ffi import create_proxy, to_js

        number = self._requests = self._requests + 1

        def granted(_lock: object) -> Any:
            """The browser waits for what is returned: until then the lock is this page's."""
            acts = self._candidacy.granted(number)
            self._do(acts)
            return self._held.promise if acts else None

        def lost(_error: object) -> None:
            self._do(self._candidacy.lost(number))

        proxy = create_proxy(granted)
        asked = self._locks.request(self._name, to_js(options, dict_converter=js.Object.fromEntries), proxy)
        asked.catch(lost).finally_(proxy.destroy)

    def _tick(self) -> None:
        self._do(self._candidacy.tick(visible=PageStates.Hidden not in lifecycle().machine))

    def _do(self, acts: Sequence[Act]) -> None:
        for act in acts:
            match act:
                case Act.HERE | Act.THERE:
                    self._talk.postMessage(act.value)
                case Act.STEAL:
                    self._waiting.abort()
                    self._request(steal=True)
                case Act.LEAD:
                    self._granted()
                case Act.END:
                    self._end()
                case Act.OUSTED:
                    self._ousted()

    def _end(self) -> None:
        self._asking.stop()
        self._talk.onmessage = None
        self._talk.close()
        let_go(self._heard)
        self._waiting.abort()
        self._held.resolve()
