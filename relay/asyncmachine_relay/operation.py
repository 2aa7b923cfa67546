"""The routes for those who run the relay, and for the programs that do it for them.

    /healthz            is it alive
    /readyz             does it take new tunnels
    /metrics            counts, for operators
    WebSocket /dbg.ws   the debug stream of pages and programs, for operators

What else operators do, they do with signals (`service`).
"""

from __future__ import annotations

from collections import Counter

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

import asyncmachine as am
from asyncmachine.telemetry.dbg.address import PATH
from asyncmachine_relay.admission import protocol_of
from asyncmachine_relay.agreement import Agreement
from asyncmachine_relay.answers import answer, stopping, turn_away
from asyncmachine_relay.guard import Caller
from asyncmachine_relay.ingest import Ingest
from asyncmachine_relay.metrics import Snapshot, render
from asyncmachine_relay.notes import Notes
from asyncmachine_relay.operators import Operator
from asyncmachine_relay.policy import Refused
from asyncmachine_relay.states import RelayStates
from asyncmachine_relay.tunnels import Tunnels


class Operation:
    """`operator` may be replaced at any time. While it is `stopping` it takes no debug streams and is not ready."""

    def __init__(
        self,
        operator: Operator,
        machine: am.Machine[RelayStates],
        tunnels: Tunnels,
        agreement: Agreement,
        notes: Notes,
        *,
        ingest: Ingest | None,
        metrics: bool,
    ) -> None:
        self.stopping = False
        self.operator = operator
        self._machine = machine
        self._tunnels = tunnels
        self._agreement = agreement
        self._notes = notes
        self._ingest = ingest
        self._has_metrics = metrics

    def routes(self) -> list[BaseRoute]:
        """Those that are switched on."""
        routes: list[BaseRoute] = [
            Route("/healthz", self._healthz, methods=["GET"]),
            Route("/readyz", self._readyz, methods=["GET"]),
        ]
        if self._ingest is not None:
            routes.append(WebSocketRoute(PATH, self._dbg))
        if self._has_metrics:
            routes.append(Route("/metrics", self._metrics, methods=["GET"]))
        return routes

    async def _healthz(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _readyz(self, request: Request) -> Response:
        if self.stopping:
            return JSONResponse({"status": "draining"}, status_code=503)
        if not self._agreement.agreed:
            return JSONResponse({"status": "degraded", "lacks": "nats"}, status_code=503)
        return JSONResponse({"status": "ready"})

    async def _metrics(self, request: Request) -> Response:
        try:
            self.operator.check(request.scope)
        except Refused as refused:
            self._notes.refused(refused, request.scope)
            return answer(refused)
        transports = self._tunnels.transports
        now = Snapshot(
            Counter(tunnel.op for tunnel in self._tunnels),
            sum(transport.congested for transport in transports),
            RelayStates.Draining in self._machine,
            [transport.statistics() for transport in transports],
            self._agreement.agreed,
            self._ingest.recorder.statistics() if self._ingest is not None else None,
        )
        body, media_type = render(self._notes.counts, now)
        return Response(body, headers={"content-type": media_type, "cache-control": "no-store"})

    async def _dbg(self, socket: WebSocket) -> None:
        """Accepts first, as for a tunnel."""
        await socket.accept(subprotocol=protocol_of(socket.scope["subprotocols"]))
        assert self._ingest is not None
        try:
            if self.stopping:
                raise stopping()
            self.operator.check(socket.scope)
            refused = await self._ingest.run(socket, Caller.of(socket.scope))
            if refused is not None:
                self._notes.refused(refused, socket.scope)
        except Refused as refusal:
            self._notes.refused(refusal, socket.scope)
            await turn_away(socket, refusal)
