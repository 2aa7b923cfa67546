"""What the relay lets be seen of what happens: counts, states of its machine, and a line of log each.

Tokens and payloads are in none of them. Paths may hold anything, so they are quoted and cut.
"""

from __future__ import annotations

import logging
import re

from starlette.types import Scope

import asyncmachine as am
from asyncmachine.rpc.transport import Peer
from asyncmachine_relay.guard import Caller
from asyncmachine_relay.matchers import Tunnel
from asyncmachine_relay.metrics import Counts
from asyncmachine_relay.policy import Op, Reason, Refused
from asyncmachine_relay.states import RelayStates, TunnelArgs
from asyncmachine_relay.tokens import Claims

logger = logging.getLogger("asyncmachine.relay")

_SECRET = re.compile(r"(amtok\.)[^/]*|([\w-]{8})[\w-]{24,}", re.IGNORECASE | re.ASCII)
"""What may be a token or a resume secret that somebody has put into a URL, where it does not belong."""
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


class Notes:
    """Of one relay."""

    def __init__(self, machine: am.Machine[RelayStates]) -> None:
        self.counts = Counts()
        self._machine = machine

    def up(self, tunnel: Tunnel) -> None:
        """Its id is taken."""
        self.counts.opened[tunnel.op] += 1
        self._tunnel(_UP[tunnel.op], tunnel)

    def down(self, tunnel: Tunnel) -> None:
        """Its id is given back."""
        self._tunnel(_DOWN[tunnel.op], tunnel)

    def torn(self, claims: Claims, peer: Peer) -> None:
        """It ended without a close frame."""
        self.counts.torn[claims.op] += 1
        name = f"{claims.op}/{claims.id}/{claims.target}"
        logger.info("%s was torn", name, extra=_fields("Torn", claims.op, claims.id, claims.target, peer))

    def failed(self, claims: Claims, peer: Peer, error: Exception) -> None:
        """Its matcher raised."""
        name = f"{claims.op}/{claims.id}/{claims.target}"
        logger.error("the matcher of %s failed", name, exc_info=error)
        self._machine.add_err(error, TunnelArgs(claims.op, claims.id, claims.target, peer.address))

    def undecided(self, error: Exception) -> None:
        """The application raised instead of deciding."""
        logger.error("a token request failed", exc_info=error)
        self._machine.add_err(error)

    def connection(self, tunnel: Tunnel, error: Exception) -> None:
        """One of many connections in a tunnel was refused, or its matcher raised."""
        if isinstance(error, Refused):
            self.refused(error, {"path": f"/{tunnel}", "client": (tunnel.transport.peer.address, 0)})
        else:
            logger.error("the matcher of %s failed", tunnel, exc_info=error)
            self._machine.add_err(error)

    def refused(self, refused: Refused, scope: Scope) -> None:
        """A request was refused, or a tunnel ended for what its peer did.

        The stack goes: it tells nothing of a stranger's mistake, and its frames would keep the token.
        """
        self.counts.refused[refused.reason] += 1
        peer = Caller.of({"headers": (), **scope}).address
        logger.info(
            "refused %.200r from %s: %s",
            _SECRET.sub(r"\1\2…", scope["path"]),
            peer,
            refused,
            extra={"event": "Refused", "reason": refused.reason.name, "peer": peer},
        )
        if refused.reason not in _NO_ERRORS:
            self._machine.add_err(refused.with_traceback(None), state=_ERRORS.get(refused.reason))

    def _tunnel(self, states: tuple[RelayStates, RelayStates], tunnel: Tunnel) -> None:
        peer = tunnel.transport.peer
        self._machine.add(states, TunnelArgs(tunnel.op, tunnel.id, tunnel.target, peer.address))
        event = str(states[0])
        logger.info("%s %s", tunnel, event, extra=_fields(event, tunnel.op, tunnel.id, tunnel.target, peer))


def _fields(event: str, op: Op, id: str, target: str, peer: Peer) -> dict[str, str]:
    """What a log line says of a tunnel (`logs.FIELDS`)."""
    return {"event": event, "op": op, "tunnel": id, "target": target, "peer": peer.address}
