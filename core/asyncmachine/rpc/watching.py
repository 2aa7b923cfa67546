"""Waits for arguments, on both sides. Arguments stay at the source, so it is the source that looks at them.

A client sends what it waits for, and again in each later session; the server tells when it happens, and goes on telling
until the client has heard it. So nothing is missed that happens while the connection is down and the session is kept.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from msgspec import Raw

from asyncmachine.machine.errors import AmError
from asyncmachine.machine.wait import Once, Wait
from asyncmachine.rpc.calling import Link
from asyncmachine.rpc.codec import encode
from asyncmachine.rpc.errors import CallRefused, Code
from asyncmachine.rpc.events import Fired
from asyncmachine.rpc.messages import WhenArgs, WireArgs
from asyncmachine.rpc.transport import MAX_FRAME
from asyncmachine.rpc.values import encode_value
from asyncmachine.rpc.weighing import weight_of

if TYPE_CHECKING:
    from asyncmachine.rpc.relaying import Way

LIMIT: Final = 1024
"""Waits of one client."""

BYTES: Final = MAX_FRAME
"""Bytes that the messages of these waits may take together."""

MEMORY: Final = 16 << 20
"""Bytes that they may take in memory, as values: those of a message may be 70 times as many."""

EACH: Final = 2048
"""Those of a wait itself."""

_LARGEST: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Watch:
    """One wait of a client, which is held by whoever waits. Its arguments stay as they were packed when it began."""

    state: str
    args: Raw | None
    wait: weakref.ref[Wait]

    def end(self, error: Callable[[], AmError] | None = None) -> None:
        """Ends the wait, if it is anybody's still."""
        wait = self.wait()
        if wait is not None:
            wait._end(error)


def new_watch(state: str, args: WireArgs | None, wait: Wait) -> Watch:
    """A wait for these arguments. Raises `Unsendable`, and `TooLarge` if they can never be sent."""
    packed = None if args is None else Raw(encode_value(args))
    encode(WhenArgs(_LARGEST, _LARGEST, cast("WireArgs | None", packed)))
    return Watch(state, packed, weakref.ref(wait))


class Watching:
    """The client's side. `ready()` is the connection, `place(state)` its number in the session (-1: it has none)."""

    __slots__ = ("_in_loop", "_last", "_loop", "_place", "_ready", "_watches")

    def __init__(
        self,
        ready: Callable[[], Link | None],
        loop: Callable[[], asyncio.AbstractEventLoop | None],
        in_loop: Callable[..., None],
        place: Callable[[str], int],
    ) -> None:
        self._ready = ready
        self._loop = loop
        self._in_loop = in_loop
        self._place = place
        self._last = 0
        self._watches: dict[int, Watch] = {}

    def watch(self, watch: Watch) -> None:
        """Ends the wait when the source says so. From any thread."""
        self._in_loop(self._begin, watch)

    def open(self) -> list[WhenArgs]:
        """Everything that is waited for, for a session that has just begun."""
        told = [self._told(token, watch) for token, watch in tuple(self._watches.items())]
        return [message for message in told if message is not None]

    def fired(self, link: Link, event: Fired) -> None:
        """Something has happened, or was refused."""
        watch = self._watches.pop(event.token, None)
        link.session.unwatch(event.token)
        if watch is not None and event.code:
            watch.end(partial(CallRefused, event.code, event.message))
        elif watch is not None:
            watch.end()

    def _begin(self, watch: Watch) -> None:
        wait = watch.wait()
        if wait is None or wait.done():
            return
        self._last += 1
        token = self._last
        self._watches[token] = watch
        wait._file(_Told(self, token))
        link = self._ready()
        message = None if link is None else self._told(token, watch)
        if link is not None and message is not None:
            link.session.watch(message)
            link.flush()

    def _told(self, token: int, watch: Watch) -> WhenArgs | None:
        """What the source is told of it; nothing, and the wait ends, if it has no such state."""
        place = self._place(watch.state)
        if place < 0:
            text = f"the source has no state {watch.state!r} for this client"
            watch.end(partial(CallRefused, Code.NO_STATE, text))
            return None
        return WhenArgs(token, place, cast("WireArgs | None", watch.args))

    def over(self, token: int) -> None:
        """The wait has ended. From any thread."""
        self._in_loop(self._over, token)

    def given_up(self, token: int) -> None:
        """The wait is nobody's any more. At any moment of any thread, so the loop hears of it later."""
        loop = self._loop()
        if loop is None or loop.is_closed():
            self._watches.pop(token, None)
        else:
            loop.call_soon_threadsafe(self._over, token)

    def _over(self, token: int) -> None:
        """The wait has ended by itself: it was cancelled or given up, or its scope has ended."""
        link = self._ready()
        if self._watches.pop(token, None) is not None and link is not None:
            link.session.unwatch(token)
            link.flush()


class _Told:
    """Where a wait is filed that the source knows of."""

    __slots__ = ("_token", "_watching")

    def __init__(self, watching: Watching, token: int) -> None:
        self._watching = watching
        self._token = token

    def pop(self, key: object, default: None, /) -> None:
        """It has ended, or is nobody's any more."""
        (self._watching.over if isinstance(key, Once) else self._watching.given_up)(self._token)


class Tell(Protocol):
    """Sends WHEN_FIRED, if there is a connection."""

    def __call__(self, token: int, tick: int, code: str = "", message: str = "") -> None: ...


class Watched:
    """The server's side, over all connections of one client. `tell` is that of the current one.

    A source that is a mirror passes the waits on, all of its clients' by one `way`.
    """

    __slots__ = ("_fired", "_loop", "_source", "_waits", "_way", "size", "tell", "weight")

    def __init__(self, source: Any, tell: Tell, way: Way | None = None) -> None:
        self.tell = tell
        self._way = way
        self.size = 0
        """Bytes that the messages of the waits have taken."""
        self.weight = 0
        """Those that they take in memory."""
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._waits: dict[int, tuple[Wait, int, int]] = {}
        self._fired: dict[int, tuple[int, str, str]] = {}

    def arm(self, token: int, state: str, args: dict[str, Any], size: int) -> None:
        """Waits for this, of which the message has so many bytes. What has happened already is told again."""
        if token in self._fired:
            self.tell(token, *self._fired[token])
        elif token in self._waits:
            pass
        elif len(self._waits) + len(self._fired) >= LIMIT:
            self.tell(token, 0, Code.RATE, f"no more than {LIMIT} waits at once")
        elif self.size + size > BYTES:
            self.tell(token, 0, Code.RATE, f"this wait takes {size} bytes, all of a client no more than {BYTES}")
        elif (way := self._way) is not None and self._has_no_room(way, size):
            self.tell(token, 0, Code.RATE, "no more waits can be passed on to the source: end some of them first")
        elif self.weight + (weight := weight_of(args, MEMORY) + EACH) > MEMORY:
            self.tell(token, 0, Code.RATE, f"the waits of a client take no more than {MEMORY} bytes in memory")
        else:
            wait = self._source.when_args(state, args)
            self._waits[token] = wait, size, weight
            self.size += size
            self.weight += weight
            if way is not None:
                way.waits += 1
                way.waits_bytes += size
            wait.then(partial(self._loop.call_soon_threadsafe, self._happened, token, state, wait))

    def end(self, token: int) -> None:
        """The client knows, or does not want to any more."""
        self._fired.pop(token, None)
        wait = self._taken(token)
        if wait is not None:
            wait.cancel()

    def close(self) -> None:
        """The client will not come back."""
        for token in (*self._waits, *self._fired):
            self.end(token)

    def _happened(self, token: int, state: str, wait: Wait) -> None:
        if self._taken(token) is None:
            return
        try:
            wait._raise()
        except CallRefused as refused:  # by the source of a mirror
            self._fired[token] = 0, refused.code, str(refused)
        except AmError as error:
            self._fired[token] = 0, Code.CANCELED, str(error)
        else:
            self._fired[token] = self._source.tick(state), "", ""
        self.tell(token, *self._fired[token])

    def _has_no_room(self, way: Way, size: int) -> bool:
        """The rest of the way takes as much as one client may: what is left of that is for one as well."""
        return way.is_full or len(self._waits) >= LIMIT - way.waits or self.size + size > BYTES - way.waits_bytes

    def _taken(self, token: int) -> Wait | None:
        wait, size, weight = self._waits.pop(token, (None, 0, 0))
        self.size -= size
        self.weight -= weight
        if wait is not None and self._way is not None:
            self._way.waits -= 1
            self._way.waits_bytes -= size
        return wait
