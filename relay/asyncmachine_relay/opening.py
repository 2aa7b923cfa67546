"""The routes by which tunnels are opened: tokens, tunnels, and legs of other relays.

    POST /token                      a token for each tunnel (`admission`)
    WebSocket /listen/<id>/<target>  the page waits to be called; the matcher is an aRPC client, or a TCP port
    WebSocket /dial/<id>/<target>    the page calls; the matcher is an aRPC server, or a TCP address
    WebSocket /leg/<id>/<target>     another relay calls, on behalf of a caller (`legs`)

Pages below a prefix have the first three there too, so that a page that is built for any path finds its relay.

A tunnel goes through `admission`, `tunnels`, and its matcher, which gets it as a `Transport`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from asyncmachine.rpc.transport import Peer
from asyncmachine_relay.admission import Admission, Admitted, protocol_of
from asyncmachine_relay.answers import answer, listed, stopping, turn_away
from asyncmachine_relay.guard import Caller
from asyncmachine_relay.legs import LEG, Legs
from asyncmachine_relay.limits import Limits
from asyncmachine_relay.meetings import Meeting, Waiting
from asyncmachine_relay.notes import Notes
from asyncmachine_relay.policy import Op, Reason, Refused
from asyncmachine_relay.tunnels import Tunnels
from asyncmachine_relay.websocket import WebSocketTransport


class Opening:
    """`meetings` may be replaced at any time. While it is `stopping` everybody is refused."""

    def __init__(
        self,
        admission: Admission,
        tunnels: Tunnels,
        notes: Notes,
        limits: Limits,
        *,
        legs: Legs | None,
        meetings: Sequence[Meeting],
        waiting: Waiting,
    ) -> None:
        self.stopping = False
        self.meetings = meetings
        self._admission = admission
        self._tunnels = tunnels
        self._notes = notes
        self._limits = limits
        self._legs = legs
        self._waiting = waiting

    def routes(self, prefixes: Iterable[str] = ()) -> list[BaseRoute]:
        """What is asked most comes first: they are tried in this order. `prefixes` are where pages are served."""
        routes = [route for prefix in ("", *prefixes) for route in self._at(prefix)]
        if self._legs is not None:
            routes.append(WebSocketRoute(f"/{LEG}/{{id}}/{{target:path}}", partial(self._leg, self._legs)))
        return routes

    def _at(self, prefix: str) -> list[BaseRoute]:
        tunnels = (
            WebSocketRoute(f"{prefix}/{op}/{{id}}/{{target:path}}", partial(self._tunnel, op))
            for op in (Op.DIAL, Op.LISTEN)
        )
        return [Route(f"{prefix}/token", self._token, methods=["POST"]), *tunnels]

    async def _token(self, request: Request) -> Response:
        try:
            self._check()
            reply = await self._admission.token(request)
        except Refused as refused:
            self._notes.refused(refused, request.scope)
            return answer(refused)
        except Exception as error:  # noqa: BLE001 (whatever `authorize` raised, it did not say yes)
            self._notes.undecided(error)
            return answer(Refused(Reason.INTERNAL, "the application could not decide; try again later"))
        for each in reply if isinstance(reply, list) else ():
            if isinstance(each, Refused):
                self._notes.refused(each, request.scope)
        body = msgspec.json.encode(reply, enc_hook=listed)
        return Response(body, media_type="application/json", headers={"cache-control": "no-store"})

    async def _tunnel(self, op: Op, socket: WebSocket) -> None:
        await self._open(socket, partial(self._admission.admit, op))

    async def _leg(self, legs: Legs, socket: WebSocket) -> None:
        async def admit(socket: WebSocket) -> Admitted:
            matcher, claims, many = legs.admit(socket, self.meetings, self._waiting)
            return Admitted(matcher, claims, many)

        await self._open(socket, admit, leg=True)

    async def _open(
        self, socket: WebSocket, admit: Callable[[WebSocket], Awaitable[Admitted]], *, leg: bool = False
    ) -> None:
        """Accepts first: a page cannot read why an upgrade failed, but it can read a close frame."""
        await socket.accept(subprotocol=protocol_of(socket.scope["subprotocols"]))
        try:
            self._check()
            admitted = await admit(socket)
            self._check()
            await self._run(socket, admitted, leg=leg)
        except Refused as refusal:
            # Who stops talks to the other relays no more.
            refused = stopping() if self.stopping and refusal.reason is Reason.AWAY else refusal
            self._notes.refused(refused, socket.scope)
            await turn_away(socket, refused)

    async def _run(self, socket: WebSocket, admitted: Admitted, *, leg: bool) -> None:
        """The whole life of a tunnel that was admitted. Raises `Refused`."""
        matcher, claims, many = admitted
        caller, notes = Caller.of(socket.scope), self._notes
        peer = Peer("websocket", f"{caller.address}:{caller.port}", claims.id, claims.grants)
        must_speak = claims.op is Op.DIAL and not leg
        limits = self._limits.lasting(claims.grants.lifetime)
        transport = WebSocketTransport(socket, peer, limits, caller=must_speak)
        try:
            note = notes.connection
            await self._tunnels.run(claims, matcher, transport, caller.address, many=many, note=note, leg=leg)
        except Refused:
            raise
        except Exception as error:  # noqa: BLE001 (a matcher may raise anything)
            notes.failed(claims, peer, error)
        finally:
            notes.counts.add(transport.statistics())
            if transport.torn:
                notes.torn(claims, peer)
        if transport.refused is not None:
            notes.refused(transport.refused, socket.scope)

    def _check(self) -> None:
        if self.stopping:
            raise stopping()
