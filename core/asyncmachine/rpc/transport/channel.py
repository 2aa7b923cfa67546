"""BroadcastChannel: pipes between the pages of one origin, of which one at a time *leads* and the others call it.

All pages hear all messages. Each begins with a byte that says what it is, and eight that say which pipe or which
leader it is about::

    0  leader      here I lead: pipes to whoever led before are dead, who called in vain calls again, and a page that
                   believes that it leads, since it stood still when it was ousted, knows better
    1  leader      I lead no more
    2  pipe        call: I want this pipe
    3  pipe        taken: it is open
    4  pipe bytes  to the leader
    5  pipe bytes  from the leader
    6  pipe        ended by the page that called: it goes

A pipe is a `PortTransport`: its beats find out pages that vanished without a word, its credit keeps a sender from
running ahead. A leader that vanished is found out at once, when the next one says that it leads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from secrets import token_bytes
from typing import Any, Final

from asyncmachine.rpc.transport import GOING_AWAY, Transport, TransportClosed
from asyncmachine.rpc.transport.inbox import wake
from asyncmachine.rpc.transport.port import JsPort, PortTransport, Wire

LEADS, RESIGNS, CALL, TAKEN, UP, DOWN, LEFT = range(7)
NAME_SIZE: Final = 8


class Channel:
    """One page's end. `channel` is a BroadcastChannel of JavaScript, or another `Wire` that all others hear."""

    def __init__(self, channel: Any, address: str = "") -> None:
        self._wire: Wire = JsPort(channel) if hasattr(channel, "postMessage") else channel
        self._address = address
        self._accept: Callable[[Transport], object] | None = None
        self._leader = token_bytes(NAME_SIZE)
        self._called: dict[bytes, asyncio.Future[None]] = {}
        # Pipes by whether this page is the leader in them, and by their names.
        self._pipes: dict[tuple[bool, bytes], tuple[Pipe, PortTransport]] = {}
        self._closed = False
        self._wire.listen(self._arrived)

    async def dial(self) -> Transport:
        """A new pipe to the page that leads; waits until there is one. Raises `TransportClosed` once it is closed."""
        name = token_bytes(NAME_SIZE)
        taken = self._called[name] = asyncio.get_running_loop().create_future()
        try:
            self._check()
            self._post(CALL, name)
            await taken
            self._check()
        finally:
            del self._called[name]
        return self._opened(False, name)

    def lead(self, accept: Callable[[Transport], object]) -> None:
        """Takes the calls of all pages, also those of this one over a `Channel` of its own."""
        self._accept = accept
        self._leader = token_bytes(NAME_SIZE)
        self._post(LEADS, self._leader)

    def resign(self) -> None:
        """Takes no more calls, and ends all pipes."""
        if self._accept is not None:
            self._accept = None
            self._post(RESIGNS, self._leader)
            self._lose(True, "this page leads no more")

    def ousted(self) -> None:
        """Another page leads: takes no more calls and ends the pipes to this one. The others know already."""
        self._accept = None
        self._lose(True, "another page leads")

    def leader_gone(self) -> None:
        """Tells all pages, this one too, that whoever led is gone, as the browser knows: their pipes to it are lost."""
        self._post(RESIGNS, self._leader)
        self._lose(False, "the page that led is gone")

    def close(self) -> None:
        """Ends all pipes at once; the other pages are told."""
        if self._closed:
            return
        self.resign()
        for is_leader, name in tuple(self._pipes):
            if not is_leader:
                self._post(LEFT, name)
        self._closed = True
        self._lose(False, "the page was left")
        for taken in self._called.values():
            wake(taken)
        self._wire.close()

    def _check(self) -> None:
        if self._closed:
            raise TransportClosed(GOING_AWAY, "the page was left")

    def _post(self, kind: int, name: bytes, content: bytes = b"") -> None:
        if not self._closed:
            self._wire.post(bytes((kind,)) + name + content)

    def _opened(self, is_leader: bool, name: bytes) -> PortTransport:
        pipe = Pipe(self, is_leader, name)
        transport = PortTransport(pipe, self._address)
        self._pipes[is_leader, name] = pipe, transport
        return transport

    def _lose(self, is_leader: bool, reason: str) -> None:
        for key, (_, transport) in tuple(self._pipes.items()):
            if key[0] == is_leader:
                transport.lost(reason)

    def _arrived(self, message: bytes | None) -> None:
        if message is None or len(message) <= NAME_SIZE or self._closed:
            return
        kind, name, content = message[0], message[1 : NAME_SIZE + 1], message[NAME_SIZE + 1 :]
        if kind in (UP, DOWN):
            found = self._pipes.get((kind == UP, name))
            if found is not None:
                found[0].arrived(content)
        elif kind == CALL and self._accept is not None:
            if (True, name) not in self._pipes:
                self._accept(self._opened(True, name))
            self._post(TAKEN, name)
        elif kind == TAKEN:
            wake(self._called.get(name))
        elif kind == LEFT and (True, name) in self._pipes:
            self._pipes[True, name][1].lost("the page was left")
        elif kind in (LEADS, RESIGNS):
            self._lose(False, "the page that led is gone")
            if kind == LEADS:
                self.ousted()
                self._call_again()

    def _call_again(self) -> None:
        for name, taken in self._called.items():
            if not taken.done():
                self._post(CALL, name)


class Pipe:
    """The wire of one pipe."""

    def __init__(self, channel: Channel, is_leader: bool, name: bytes) -> None:
        self._channel = channel
        self._is_leader = is_leader
        self._name = name
        self.arrived: Callable[[bytes | None], None] = lambda _: None

    def listen(self, arrived: Callable[[bytes | None], None]) -> None:
        self.arrived = arrived

    def post(self, message: bytes) -> None:
        self._channel._post(DOWN if self._is_leader else UP, self._name, message)

    def close(self) -> None:
        self._channel._pipes.pop((self._is_leader, self._name), None)
