"""The relay: a Starlette app that serves a page, and tunnels from that page into this process or to TCP targets.

    relay = Relay(static=Path("web/static"), listen=[Match(r"browser[1-4]", target="orchestrator", serve=fn)])
    relay = Relay.of(read(Path("relay.toml")))

    /healthz                         is it alive
    /readyz                          does it take new tunnels
    /metrics                         counts, for operators
    WebSocket /dbg.ws                the debug stream of pages and programs, for operators
    POST /token                      a token for one tunnel (`admission`)
    WebSocket /listen/<id>/<target>  the page waits to be called; the matcher is an aRPC client, or a TCP port
    WebSocket /dial/<id>/<target>    the page calls; the matcher is an aRPC server, or a TCP address
    WebSocket /leg/<id>/<target>     another relay calls, on behalf of a caller (`legs`)
    /…                               static files (`static`)

Every request passes the `guard` first. A tunnel then goes through `admission`, `tunnels`, and its matcher, which gets
it as a `Transport`. Run it with `RelayServer`, or hand `relay.app` to an ASGI server.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import Scope
from starlette.websockets import WebSocket, WebSocketDisconnect

import asyncmachine as am
from asyncmachine.machine.view import View
from asyncmachine.rpc.transport import Peer
from asyncmachine.telemetry.dbg.address import PATH
from asyncmachine.telemetry.dbg.recorder import Recorder
from asyncmachine_relay.address_files import AddressFiles
from asyncmachine_relay.addresses import networks
from asyncmachine_relay.admission import Admission, Admitted, Authorize, own_machine, protocol_of
from asyncmachine_relay.agreement import Agreement, Alone
from asyncmachine_relay.bridging import Bridges, matchers_of
from asyncmachine_relay.cluster import NatsAgreement
from asyncmachine_relay.cluster_config import Cluster
from asyncmachine_relay.config import Config
from asyncmachine_relay.guard import Caller, Guard
from asyncmachine_relay.headers import ContentPolicies, SecurityHeaders
from asyncmachine_relay.ingest import Ingest
from asyncmachine_relay.legs import LEG, Legs
from asyncmachine_relay.limits import Limits
from asyncmachine_relay.matchers import Match, Matcher, Tunnel
from asyncmachine_relay.meetings import Meeting, Waiting, check_meetings
from asyncmachine_relay.meetings import matchers_of as matchers_of_meetings
from asyncmachine_relay.metrics import Counts, Snapshot, render
from asyncmachine_relay.operators import Operator
from asyncmachine_relay.policy import Door, Op, Reason, Refused, RelayConfigError, origin
from asyncmachine_relay.resolving import Resolve, system_resolver
from asyncmachine_relay.states import RelayStates, TunnelArgs
from asyncmachine_relay.static import StaticRoot, StaticSite
from asyncmachine_relay.targets import Target, check_names
from asyncmachine_relay.tokens import Claims, Tokens
from asyncmachine_relay.tunnels import Tunnels
from asyncmachine_relay.websocket import WebSocketTransport

logger = logging.getLogger("asyncmachine.relay")

_ERRORS = {
    Reason.AUTH: RelayStates.ErrAuth,
    Reason.FORBIDDEN: RelayStates.ErrAuth,
    Reason.DUPLICATE: RelayStates.ErrAuth,
    Reason.TARGET: RelayStates.ErrTarget,
    Reason.UNREACHABLE: RelayStates.ErrNetwork,
    Reason.BROKEN: RelayStates.ErrNetwork,
    Reason.AWAY: RelayStates.ErrNetwork,
    Reason.LIMIT: RelayStates.ErrLimit,
    Reason.TOO_LARGE: RelayStates.ErrLimit,
    Reason.DEADLINE: RelayStates.ErrLimit,
}
"""The error state of a reason; the others are `Exception` alone."""
_NO_ERRORS = frozenset({Reason.SHUTDOWN, Reason.EXPIRED})
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
    headers to answer to, `local_names` adds those that mean this machine. `listen` and `dial` are answered by this
    process, `targets` by others over TCP, `meetings` by pages that listen; they are tried in this order. `authorize`
    decides who gets a token. `secret` signs tokens: None is a random one, so that tokens do not outlive the process.
    `cluster` are the other relays behind the same address; then `origins` and `secret` must be given, the same to all.
    `proxies` are addresses and networks whose X-Forwarded-For is believed. `operator` is the word that lets an operator
    in from elsewhere. `address_dir` is for the addresses of REPLs. `isolation` sends COOP and COEP; `csp` maps path
    prefixes to content policies (`headers`). `recorder` takes the debug stream; whoever made it runs it. `resolve`
    finds the addresses of a target.

    `machine` has `RelayStates`; it is created with `parent`, and disposed with it or by `dispose`.
    """

    def __init__(
        self,
        static: StaticRoot | Sequence[StaticRoot] | None = None,
        *,
        origins: Iterable[str] | None = None,
        hosts: Iterable[str] = (),
        local_names: bool = False,
        listen: Iterable[Match] = (),
        dial: Iterable[Match] = (),
        targets: Iterable[Target] = (),
        meetings: Iterable[Meeting] = (),
        cluster: Cluster | None = None,
        authorize: Authorize = own_machine,
        secret: bytes | None = None,
        proxies: Iterable[str] = (),
        operator: bytes | None = None,
        limits: Limits | None = None,
        address_dir: Path | None = None,
        isolation: bool = True,
        csp: Mapping[str, str] | None = None,
        metrics: bool = True,
        recorder: Recorder | None = None,
        resolve: Resolve = system_resolver,
        id: str = "relay",
        parent: View[Any] | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.proxies = networks(proxies, field="proxies")
        self.machine: am.Machine[RelayStates] = am.Machine(RelayStates, id=id, tags=("relay",), parent=parent)
        self.counts = Counts()
        self._tokens = Tokens(secret, self.limits)
        self._legs = self._other_relays(cluster, known=secret is not None and origins is not None)
        self._agreement: Agreement = Alone() if self._legs is None else self._legs.agreement
        self._hosts = (*hosts, *(() if self._legs is None else [urlsplit(self._legs.cluster.url).netloc]))
        self.tunnels = Tunnels(
            self.limits,
            self.machine,
            up=partial(self._note_tunnel, _UP),
            down=partial(self._note_tunnel, _DOWN),
            agreement=self._agreement,
        )
        self._local_names = local_names
        self._own_only = origins is None
        self._door = Door.of(origins or (), self._hosts)
        self._stopping = False
        self._files = None if address_dir is None else AddressFiles(address_dir)
        self._bridges = Bridges(self.limits, self._files, resolve)
        self._own: dict[Op, tuple[Match, ...]] = {Op.LISTEN: tuple(listen), Op.DIAL: tuple(dial)}
        self._waiting = Waiting()
        self._meetings = tuple(meetings)
        matchers = self._matchers(targets, self._meetings)
        self._admission = Admission(matchers, authorize, self._tokens, self.limits, self._agreement)
        self._operator = Operator(operator)
        self._ingest = None if recorder is None else Ingest(recorder, self.machine, self.limits)
        self.app = Starlette(
            routes=self._routes(static, metrics=metrics),
            middleware=[
                Middleware(SecurityHeaders, policies=ContentPolicies(csp or {}), isolation=isolation),
                Middleware(Guard, door=lambda: self._door, note=self._note, proxies=self.proxies),
            ],
            lifespan=self._lifespan,
        )

    @classmethod
    def of(cls, config: Config, **code: Any) -> Self:
        """A relay with these settings; `code` are those that only a program can give (`listen`, `dial`, `parent`, …).

        Raises `RelayConfigError` for files and functions that are not there.
        """
        server, operation = config.server, config.operation
        settings: dict[str, Any] = {
            "static": config.pages.static,
            "origins": server.origins or None,
            "hosts": server.hosts,
            "local_names": server.local_names,
            "targets": config.targets,
            "meetings": config.meetings,
            "cluster": config.cluster,
            "authorize": server.load_authorize() or own_machine,
            "secret": server.load_secret(),
            "proxies": server.proxies,
            "operator": operation.load_token(),
            "limits": config.limits,
            "address_dir": operation.address_dir,
            "isolation": config.pages.isolation,
            "csp": config.pages.csp,
            "metrics": operation.metrics,
            "id": config.id,
        }
        return cls(**{**settings, **code})

    # Life

    def starting(self) -> None:
        """A listener is about to open."""
        self._stopping = False
        self.tunnels.reopen()
        if self._files is not None:
            for name in self._files.sweep():
                logger.info("removed %s, which a relay left behind", name)
        self.machine.add([RelayStates.Start, RelayStates.HttpStarting])
        self._agreement.start(self.tunnels.evict)

    def ready(self, address: str = "") -> None:
        """A listener is open at `address`, an origin; without `origins` that is the one page that may come in."""
        if self._own_only and address:
            self._door = Door.of([origin(address)], (*self._hosts, *self._names_at(address)))
        self.machine.add(RelayStates.HttpReady)

    def reload(self, config: Config) -> None:
        """Takes over targets, meetings, the signing secret and the operator's word; open tunnels stay as they are.

        Tokens of before are taken as long as one lives. Raises `RelayConfigError`, and then nothing has changed.
        """
        matchers = self._matchers(config.targets, config.meetings)
        secret, word = config.server.load_secret(), config.operation.load_token()
        self._admission.matches, self._meetings = matchers, config.meetings
        if secret is not None:
            self._tokens.rotate(secret)
            if self._legs is not None:
                self._legs.agreement.renew()
        self._operator = Operator(word)

    async def drain(self, seconds: float) -> None:
        """Refuses new tunnels and lets the open ones leave; returns when all have, or the time is over."""
        self._stopping = True
        self.machine.add(RelayStates.Draining)
        self.tunnels.go_away(seconds)
        try:
            async with asyncio.timeout(seconds):
                await self.tunnels.emptied()
        except TimeoutError:
            logger.info("%d tunnels did not leave within %g s", len(self.tunnels), seconds)

    async def stop(self) -> None:
        """Refuses new tunnels and closes all that are open with 1001; returns when their matchers have ended."""
        self._stopping = True
        await self.tunnels.close_all(_stopping())
        if self._ingest is not None:
            await self._ingest.close_all(_stopping())
        await self._agreement.stop()
        self.machine.remove([RelayStates.Draining, RelayStates.HttpReady, RelayStates.HttpStarting])

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

    def _names_at(self, address: str) -> list[str]:
        port = urlsplit(address).port or 80
        names = ("localhost", "127.0.0.1", "[::1]") if self._local_names else ()
        return [name if port == 80 else f"{name}:{port}" for name in names]

    def _matchers(self, targets: Iterable[Target], meetings: Iterable[Meeting]) -> dict[Op, tuple[Matcher, ...]]:
        """Own matchers first, then the targets, then meetings. Raises `RelayConfigError`."""
        targets, meetings = tuple(targets), tuple(meetings)
        check_names(targets)
        check_meetings(meetings, [target.name for target in targets])
        further = matchers_of(targets, self._bridges)
        pages = matchers_of_meetings(meetings, self._waiting, None if self._legs is None else self._legs.call)
        return {op: (*self._own[op], *further[op], *pages[op]) for op in Op}

    def _other_relays(self, cluster: Cluster | None, *, known: bool) -> Legs | None:
        """The way to them, None when there are none. Raises `RelayConfigError`."""
        if cluster is None or not cluster.on:
            return None
        if not known:
            raise RelayConfigError("relays of a cluster need origins and a secret, and all the same ones")

        def told(agreed: bool) -> None:
            (self.machine.add if agreed else self.machine.remove)(RelayStates.Agreed)

        agreement = NatsAgreement(cluster, self._tokens, self.limits, told)
        return Legs(cluster, agreement, self._tokens, self.limits, self.proxies, lambda: min(self._door.origins))

    # Routes

    def _routes(self, static: StaticRoot | Sequence[StaticRoot] | None, *, metrics: bool) -> list[BaseRoute]:
        # What is asked most comes first: they are tried in this order.
        routes: list[BaseRoute] = [
            Route("/token", self._token, methods=["POST"]),
            *(
                WebSocketRoute(f"/{op}/{{id}}/{{target:path}}", partial(self._tunnel, op))
                for op in (Op.DIAL, Op.LISTEN)
            ),
            Route("/healthz", self._healthz, methods=["GET"]),
            Route("/readyz", self._readyz, methods=["GET"]),
        ]
        if self._ingest is not None:
            routes.append(WebSocketRoute(PATH, self._dbg))
        if self._legs is not None:
            routes.append(WebSocketRoute(f"/{LEG}/{{id}}/{{target:path}}", self._leg))
        if metrics:
            routes.append(Route("/metrics", self._metrics, methods=["GET"]))
        if static is not None:
            roots = static if isinstance(static, Sequence) and not isinstance(static, str | tuple) else [static]
            routes.append(Mount("/", StaticSite(roots)))
        return routes

    async def _healthz(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _readyz(self, request: Request) -> Response:
        if self._stopping:
            return JSONResponse({"status": "draining"}, status_code=503)
        if not self._agreement.agreed:
            return JSONResponse({"status": "degraded", "lacks": "nats"}, status_code=503)
        return JSONResponse({"status": "ready"})

    async def _metrics(self, request: Request) -> Response:
        try:
            self._operator.check(request.scope)
        except Refused as refused:
            self._note(refused, request.scope)
            return _answer(refused)
        transports = self.tunnels.transports
        now = Snapshot(
            Counter(tunnel.op for tunnel in self.tunnels),
            sum(transport.congested for transport in transports),
            RelayStates.Draining in self.machine,
            [transport.statistics() for transport in transports],
            self._agreement.agreed,
            self._ingest.recorder.statistics() if self._ingest is not None else None,
        )
        body, media_type = render(self.counts, now)
        return Response(body, headers={"content-type": media_type, "cache-control": "no-store"})

    async def _dbg(self, socket: WebSocket) -> None:
        """Accepts first, as for a tunnel."""
        await socket.accept(subprotocol=protocol_of(socket.scope["subprotocols"]))
        assert self._ingest is not None
        try:
            if self._stopping:
                raise _stopping()
            self._operator.check(socket.scope)
            refused = await self._ingest.run(socket, Caller.of(socket.scope))
            if refused is not None:
                self._note(refused, socket.scope)
        except Refused as refusal:
            self._note(refusal, socket.scope)
            try:
                await socket.close(refusal.reason.close_code, refusal.close_reason)
            except (WebSocketDisconnect, RuntimeError):
                pass  # it has left

    async def _token(self, request: Request) -> Response:
        try:
            if self._stopping:
                raise _stopping()
            reply = await self._admission.token(request)
        except Refused as refused:
            self._note(refused, request.scope)
            return _answer(refused)
        except Exception as error:
            # Whatever `authorize` raised, it did not say yes.
            logger.exception("a token request failed")
            self.machine.add_err(error)
            return _answer(Refused(Reason.INTERNAL, "the application could not decide; try again later"))
        for each in reply if isinstance(reply, list) else ():
            if isinstance(each, Refused):
                self._note(each, request.scope)
        return Response(
            msgspec.json.encode(reply, enc_hook=_listed),
            media_type="application/json",
            headers={"cache-control": "no-store"},
        )

    async def _tunnel(self, op: Op, socket: WebSocket) -> None:
        """Accepts first: a page cannot read why an upgrade failed, but it can read a close frame."""
        await self._open(socket, partial(self._admit, op))

    async def _leg(self, socket: WebSocket) -> None:
        assert self._legs is not None
        legs = self._legs

        async def admit(socket: WebSocket) -> Admitted:
            matcher, claims, many = legs.admit(socket, self._meetings, self._waiting)
            return Admitted(matcher, claims, many)

        await self._open(socket, admit, leg=True)

    async def _admit(self, op: Op, socket: WebSocket) -> Admitted:
        return await self._admission.admit(op, socket)

    async def _open(
        self, socket: WebSocket, admit: Callable[[WebSocket], Awaitable[Admitted]], *, leg: bool = False
    ) -> None:
        await socket.accept(subprotocol=protocol_of(socket.scope["subprotocols"]))
        try:
            if self._stopping:
                raise _stopping()
            matcher, claims, many = await admit(socket)
            if self._stopping:
                raise _stopping()
            caller = Caller.of(socket.scope)
            peer = Peer("websocket", f"{caller.address}:{caller.port}", claims.id, claims.grants)
            must_speak = claims.op is Op.DIAL and not leg
            transport = WebSocketTransport(socket, peer, self.limits, caller=must_speak)
            try:
                note = self._note_connection
                await self.tunnels.run(claims, matcher, transport, caller.address, many=many, note=note, leg=leg)
            except Refused:
                raise
            except Exception as error:
                logger.exception("the matcher of %s/%s/%s failed", claims.op, claims.id, claims.target)
                self.machine.add_err(error, TunnelArgs(claims.op, claims.id, claims.target, peer.address))
            finally:
                self.counts.add(transport.statistics())
                if transport.torn:
                    self._note_torn(claims, peer)
            if transport.refused is not None:
                self._note(transport.refused, socket.scope)
        except Refused as refusal:
            # Who stops talks to the other relays no more.
            refused = _stopping() if self._stopping and refusal.reason is Reason.AWAY else refusal
            self._note(refused, socket.scope)
            try:
                await socket.close(refused.reason.close_code, refused.close_reason)
            except (WebSocketDisconnect, RuntimeError):
                pass  # it has left

    # States

    def _note_tunnel(self, states: Mapping[Op, tuple[RelayStates, RelayStates]], tunnel: Tunnel) -> None:
        if states is _UP:
            self.counts.opened[tunnel.op] += 1
        peer = tunnel.transport.peer
        self.machine.add(states[tunnel.op], TunnelArgs(tunnel.op, tunnel.id, tunnel.target, peer.address))
        event = str(states[tunnel.op][0])
        logger.info("%s %s", tunnel, event, extra=_fields(event, tunnel.op, tunnel.id, tunnel.target, peer))

    def _note_torn(self, claims: Claims, peer: Peer) -> None:
        self.counts.torn[claims.op] += 1
        name = f"{claims.op}/{claims.id}/{claims.target}"
        logger.info("%s was torn", name, extra=_fields("Torn", claims.op, claims.id, claims.target, peer))

    def _note_connection(self, tunnel: Tunnel, error: Exception) -> None:
        if isinstance(error, Refused):
            self._note(error, {"path": f"/{tunnel}", "client": (tunnel.transport.peer.address, 0)})
        else:
            logger.error("the matcher of %s failed", tunnel, exc_info=error)
            self.machine.add_err(error)

    def _note(self, refused: Refused, scope: Scope) -> None:
        """Paths may hold anything, so they are quoted and cut; tokens are in headers, which are never logged.

        The stack goes: it tells nothing of a stranger's mistake, and its frames would keep the token.
        """
        self.counts.refused[refused.reason] += 1
        peer = Caller.of({"headers": (), **scope}).address
        logger.info(
            "refused %.200r from %s: %s",
            scope["path"],
            peer,
            refused,
            extra={"event": "Refused", "reason": refused.reason.name, "peer": peer},
        )
        if refused.reason not in _NO_ERRORS:
            self.machine.add_err(refused.with_traceback(None), state=_ERRORS.get(refused.reason))


def _fields(event: str, op: Op, id: str, target: str, peer: Peer) -> dict[str, str]:
    """What a log line says of a tunnel (`logs.FIELDS`)."""
    return {"event": event, "op": op, "tunnel": id, "target": target, "peer": peer.address}


def _stopping() -> Refused:
    return Refused(Reason.SHUTDOWN, "the relay stops; dial again")


def _listed(refused: Refused) -> dict[str, Any]:
    """A refusal in a list, which has no response of its own."""
    return {"status": refused.reason.status, "code": refused.reason.name, "message": refused.hint}


def _answer(refused: Refused) -> Response:
    body = {"code": refused.reason.name, "message": refused.hint}
    return JSONResponse(body, status_code=refused.reason.status, headers={"cache-control": "no-store"})
