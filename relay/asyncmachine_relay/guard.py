"""The door in front of every route: judges Host and Origin before anything else looks at a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from asyncmachine_relay.addresses import Network
from asyncmachine_relay.answers import at_the_door
from asyncmachine_relay.forwarding import client_of, is_trusted
from asyncmachine_relay.policy import Door, Refused, check_origin_present, is_direct_loopback

_SAFE_METHODS = frozenset({"GET", "HEAD"})
_CALLER = "asyncmachine.caller"


@dataclass(frozen=True)
class Caller:
    """Who asks: the direct peer, or whom a trusted proxy speaks for.

    `direct` says that it is a program on this machine that speaks for itself.
    """

    address: str
    port: int
    direct: bool

    @classmethod
    def of(cls, scope: Scope) -> Caller:
        """As the guard found it; for a request that passed none, the direct peer."""
        return scope.get("extensions", {}).get(_CALLER) or cls.found(scope, ())

    @classmethod
    def found(cls, scope: Scope, proxies: Sequence[Network]) -> Caller:
        """Raises `Refused` for a trusted proxy that does not say whom it speaks for."""
        address, port = scope.get("client") or ("", 0)
        if is_trusted(address, proxies):
            return cls(client_of(values_of(scope, b"x-forwarded-for"), proxies), 0, direct=False)
        return cls(address, port, is_direct_loopback(address, _names(scope)))


class Guard:
    """ASGI middleware. `door` is asked each time, since the relay learns its own origin when it starts to listen."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        door: Callable[[], Door],
        note: Callable[[Refused, Scope], None],
        proxies: Sequence[Network] = (),
    ) -> None:
        self._app = app
        self._door = door
        self._note = note
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        hosts, origins = values_of(scope, b"host"), values_of(scope, b"origin")
        door = self._door()
        try:
            door.check(hosts, origins)
            caller = Caller.found(scope, self._proxies)
            scope.setdefault("extensions", {})[_CALLER] = caller
            if scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS:
                check_origin_present(origins, direct=caller.direct)
        except Refused as refused:
            self._note(refused, scope)
            await _turn_away(refused, door.address, scope, receive, send)
            return
        await self._app(scope, receive, send)


def values_of(scope: Scope, name: bytes) -> list[str]:
    """What all headers of this name hold. A server gives their names in lower case."""
    return [value.decode("latin-1") for each, value in scope["headers"] if each == name]


def _names(scope: Scope) -> str:
    # None has a space in it, and decoding them one by one is what a request would cost most.
    return b" ".join([name for name, _ in scope["headers"]]).decode("latin-1")


async def _turn_away(refused: Refused, address: str, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await WebSocketClose()(scope, receive, send)  # not accepted yet, so it is a 403
    else:
        by_a_person = any("text/html" in value for value in values_of(scope, b"accept"))
        await at_the_door(refused, address, to_a_person=by_a_person)(scope, receive, send)
