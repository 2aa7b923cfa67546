"""The relay: a Starlette app that serves a page, and tunnels from that page into this process.

    relay = Relay(static=Path("web/static"), listen=[Match(r"browser[1-4]", target="orchestrator", serve=fn)])

    /healthz                         is it alive
    POST /token                      a token for one tunnel (`admission`)
    WebSocket /listen/<id>/<target>  the page waits to be called; the matcher is an aRPC client
    WebSocket /dial/<id>/<target>    the page calls; the matcher is an aRPC server
    /…                               static files (`static`)

Every request passes the `guard` first. A tunnel then goes through `admission`, `tunnels`, and its matcher, which gets
it as a `Transport`. Run it with `RelayServer`, or hand `relay.app` to an ASGI server.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

import asyncmachine as am
from asyncmachine.machine.view import View
from asyncmachine.rpc.transport import Peer
from asyncmachine_relay.admission import SUBPROTOCOL, Admission, Authorize, own_machine
from asyncmachine_relay.guard import Caller, Guard
from asyncmachine_relay.headers import ContentPolicies, SecurityHeaders
from asyncmachine_relay.limits import Limits
from asyncmachine_relay.matchers import Match, Serve, Tunnel
from asyncmachine_relay.policy import Door, Op, Reason, Refused, origin
from asyncmachine_relay.states import RelayStates, TunnelArgs
from asyncmachine_relay.static import StaticRoot, StaticSite
from asyncmachine_relay.tokens import Tokens
from asyncmachine_relay.tunnels import Tunnels
from asyncmachine_relay.websocket import WebSocketTransport

logger = logging.getLogger("asyncmachine.relay")

_ERRORS = {
    Reason.AUTH: RelayStates.ErrAuth,
    Reason.FORBIDDEN: RelayStates.ErrAuth,
    Reason.DUPLICATE: RelayStates.ErrAuth,
    Reason.TARGET: RelayStates.ErrTarget,
    Reason.LIMIT: RelayStates.ErrLimit,
    Reason.TOO_LARGE: RelayStates.ErrLimit,
    Reason.DEADLINE: RelayStates.ErrLimit,
}
"""The error state of a reason; the others are `Exception` alone."""
_UP = {
    Op.LISTEN: (RelayStates.TunnelUp, RelayStates.WsTunListenConn),
    Op.DIAL: (RelayStates.TunnelUp, RelayStates.WsDialConn),
}
_DOWN = {
    Op.LISTEN: (RelayStates.TunnelDown, RelayStates.WsTunListenDisconn),
    Op.DIAL: (RelayStates.TunnelDown, RelayStates.WsDialDisconn),
}


class Relay:
    """All settings have a safe default: own origin only, this machine only, no targets.

    `static` is a directory or a list of `StaticRoot`, of which the first that has a file wins. `origins` are the pages
    that may open tunnels; None means the relay's own address, which `RelayServer` tells it. `hosts` are further Host
    headers to answer to. `authorize` decides who gets a token. `secret` signs tokens: None is a random one, so that
    tokens do not outlive the process. `isolation` sends COOP and COEP; `csp` maps path prefixes to content policies
    (`headers`).

    `machine` has `RelayStates`; it is created with `parent`, and disposed with it or by `dispose`.
    """

    def __init__(
        self,
        static: StaticRoot | Sequence[StaticRoot] | None = None,
        *,
        origins: Iterable[str] | None = None,
        hosts: Iterable[str] = (),
        listen: Iterable[Match] = (),
        dial: Iterable[Match] = (),
        authorize: Authorize = own_machine,
        secret: bytes | None = None,
        limits: Limits | None = None,
        isolation: bool = True,
        csp: Mapping[str, str] | None = None,
        id: str = "relay",
        parent: View[Any] | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.machine: am.Machine[RelayStates] = am.Machine(RelayStates, id=id, tags=("relay",), parent=parent)
        self.tunnels = Tunnels(self.limits, up=partial(self._note_tunnel, _UP), down=partial(self._note_tunnel, _DOWN))
        self._hosts = tuple(hosts)
        self._own_only = origins is None
        self._door = Door.of(origins or (), self._hosts)
        self._stopping = False
        matches = {Op.LISTEN: tuple(listen), Op.DIAL: tuple(dial)}
        self._admission = Admission(matches, authorize, Tokens(secret, self.limits), self.limits)
        self.app = Starlette(
            routes=self._routes(static),
            middleware=[
                Middleware(SecurityHeaders, policies=ContentPolicies(csp or {}), isolation=isolation),
                Middleware(Guard, door=lambda: self._door, note=self._note),
            ],
            lifespan=self._lifespan,
        )

    # Life

    def starting(self) -> None:
        """A listener is about to open."""
        self._stopping = False
        self.machine.add([RelayStates.Start, RelayStates.HttpStarting])

    def ready(self, address: str = "") -> None:
        """A listener is open at `address`, an origin; without `origins` that is the one page that may come in."""
        if self._own_only and address:
            self._door = Door.of([origin(address)], self._hosts)
        self.machine.add(RelayStates.HttpReady)

    async def stop(self) -> None:
        """Refuses new tunnels and closes all that are open with 1001; returns when their matchers have ended."""
        self._stopping = True
        await self.tunnels.close_all(_stopping())
        self.machine.remove([RelayStates.HttpReady, RelayStates.HttpStarting])

    def dispose(self) -> None:
        """Ends the relay's machine. Call `stop` first."""
        self.machine.dispose()

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """For an ASGI server of another's; `RelayServer` does this itself, around its listener."""
        self.starting()
        self.ready()
        yield
        await self.stop()

    # Routes

    def _routes(self, static: StaticRoot | Sequence[StaticRoot] | None) -> list[BaseRoute]:
        routes: list[BaseRoute] = [
            Route("/healthz", self._healthz, methods=["GET"]),
            Route("/token", self._token, methods=["POST"]),
            *(WebSocketRoute(f"/{op}/{{id}}/{{target:path}}", partial(self._tunnel, op)) for op in Op),
        ]
        if static is not None:
            roots = static if isinstance(static, Sequence) and not isinstance(static, str | tuple) else [static]
            routes.append(Mount("/", StaticSite(roots)))
        return routes

    async def _healthz(self, request: Request) -> Response:
        if self._stopping:
            return JSONResponse({"status": "stopping"}, status_code=503)
        return JSONResponse({"status": "ok"})

    async def _token(self, request: Request) -> Response:
        headers = {"cache-control": "no-store"}
        try:
            if self._stopping:
                raise _stopping()
            reply = await self._admission.token(request)
        except Refused as error:
            refused = error
            self._note(refused, request.scope)
        except Exception as error:
            # Whatever `authorize` raised, it did not say yes.
            logger.exception("a token request failed")
            self.machine.add_err(error)
            refused = Refused(Reason.INTERNAL, "the application could not decide; try again later")
        else:
            return Response(msgspec.json.encode(reply), media_type="application/json", headers=headers)
        answer = {"code": refused.reason.name, "message": refused.hint}
        return JSONResponse(answer, status_code=refused.reason.status, headers=headers)

    async def _tunnel(self, op: Op, socket: WebSocket) -> None:
        """Accepts first: a page cannot read why an upgrade failed, but it can read a close frame."""
        offered = SUBPROTOCOL in socket.scope["subprotocols"]
        await socket.accept(subprotocol=SUBPROTOCOL if offered else None)
        try:
            if self._stopping:
                raise _stopping()
            match, claims = self._admission.admit(op, socket)
            caller = Caller.of(socket.scope)
            peer = Peer("websocket", f"{caller.address}:{caller.port}", claims.id, claims.grants)
            transport = WebSocketTransport(socket, peer, self.limits, caller=op is Op.DIAL)
            tunnel = Tunnel(op, claims.id, claims.target, transport, claims.grants)
            await self._run(tunnel, transport, claims.owner, caller, match.serve)
        except Refused as refused:
            self._note(refused, socket.scope)
            try:
                await socket.close(refused.reason.close_code, refused.close_reason)
            except (WebSocketDisconnect, RuntimeError):
                pass  # it has left

    async def _run(
        self, tunnel: Tunnel, transport: WebSocketTransport, owner: bytes, caller: Caller, serve: Serve
    ) -> None:
        try:
            await self.tunnels.run(tunnel, transport, owner, caller.address, serve)
        except Refused:
            raise
        except Exception as error:
            logger.exception("the matcher of %s failed", tunnel)
            self.machine.add_err(error, _args(tunnel))
        if transport.refused is not None:
            self._note(transport.refused, {"path": f"/{tunnel}", "client": (caller.address, caller.port)})

    # States

    def _note_tunnel(self, states: Mapping[Op, tuple[RelayStates, RelayStates]], tunnel: Tunnel) -> None:
        self.machine.add(states[tunnel.op], _args(tunnel))
        logger.info("%s %s", tunnel, states[tunnel.op][0])

    def _note(self, refused: Refused, scope: Mapping[str, Any]) -> None:
        """Paths may hold anything, so they are quoted and cut; tokens are in headers, which are never logged.

        The stack goes: it tells nothing of a stranger's mistake, and its frames would keep the token.
        """
        logger.info("refused %.200r from %s: %s", scope["path"], (scope.get("client") or ("",))[0], refused)
        if refused.reason is not Reason.SHUTDOWN:
            self.machine.add_err(refused.with_traceback(None), state=_ERRORS.get(refused.reason))


def _stopping() -> Refused:
    return Refused(Reason.SHUTDOWN, "the relay stops; dial again")


def _args(tunnel: Tunnel) -> TunnelArgs:
    return TunnelArgs(tunnel.op, tunnel.id, tunnel.target, tunnel.transport.peer.address)
