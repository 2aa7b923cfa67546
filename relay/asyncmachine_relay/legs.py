"""Calls between relays: the one that a caller has reached opens a tunnel, a *leg*, at the one that holds whom it calls.

    caller ── WebSocket ──▶ relay B ── leg: WS /leg/<id>/<meeting>:<listening id> ──▶ relay A ◀── WebSocket ── page

A leg is a tunnel like any other: it has a machine, limits, and the caller's address, and is counted and drained. It
does not pass NATS, so that bytes take one hop less, frames have their whole size, a slow reader stops the writer over
all three WebSockets, and what is open goes on when NATS is away.

Who may open one: only who has the relays' secret, which seals the token of each leg to one relay, one target and ten
seconds; and only from an address that `proxies` lists, since a relay speaks for its caller as a proxy does. Nor is any
other address ever called, whatever the registry says. Off loopback legs are TLS, unless `insecure` is set. A leg ends
at the relay that it reaches; none is ever passed on.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.websockets import WebSocket

from asyncmachine.rpc.transport import Transport, TransportClosed
from asyncmachine.rpc.transport.many import Many, ManyLimits
from asyncmachine.rpc.transport.websocket import connect
from asyncmachine_relay.addresses import Network
from asyncmachine_relay.admission import MANY, SUBPROTOCOL, TOKEN_PREFIX, protocol_of
from asyncmachine_relay.bridge import Finishing
from asyncmachine_relay.cluster import NatsAgreement
from asyncmachine_relay.cluster_config import Cluster
from asyncmachine_relay.forwarding import is_trusted
from asyncmachine_relay.leg_connection import made_with
from asyncmachine_relay.limits import Limits
from asyncmachine_relay.matchers import Tunnel
from asyncmachine_relay.meetings import Calls, Meeting, Waiting
from asyncmachine_relay.policy import Op, Reason, Refused
from asyncmachine_relay.tokens import Claims, Tokens

LEG = "leg"
"""The first part of a leg's path."""
MARK = "~"
"""Stands in a leg's id, and in no id of a page."""
OPENS_WITHIN = 10.0
"""Seconds that the token of a leg is good for."""
MESSAGES = 2
"""Messages that a leg holds until its caller takes them, beside the kernel's buffers."""


@dataclass(frozen=True)
class Legs:
    """Both ends of legs, for one relay. `origin` is the Origin that the relays' pages have."""

    cluster: Cluster
    agreement: NatsAgreement
    tokens: Tokens
    limits: Limits
    proxies: Sequence[Network]
    origin: Callable[[], str]

    # The relay that is called by a relay

    def admit(self, socket: WebSocket, meetings: Sequence[Meeting], waiting: Waiting) -> tuple[Calls, Claims, bool]:
        """Whom a leg calls, on whose behalf, and whether for many connections. Raises `Refused`."""
        peer = (socket.scope.get("client") or ("", 0))[0]
        if not is_trusted(peer, self.proxies):
            raise Refused(Reason.FORBIDDEN, "legs are of relays, and this is none that proxies lists")
        offered = socket.scope["subprotocols"]
        given = [name.removeprefix(TOKEN_PREFIX) for name in offered if name.startswith(TOKEN_PREFIX)]
        if len(given) != 1:
            raise Refused(Reason.AUTH, "a leg needs its token")
        claims = self.tokens.redeem_leg(given[0], self.agreement.relay)
        name, _, wanted = claims.target.partition(":")
        for meeting in meetings:
            if meeting.name == name and meeting.listens(wanted):
                return Calls(meeting, waiting), claims, protocol_of(offered) == MANY
        raise Refused(Reason.TARGET, "no meeting of this name here; give all relays the same ones")

    # The relay that calls

    async def call(self, tunnel: Tunnel, meeting: Meeting, wanted: str) -> Transport | None:
        """A leg to whoever holds that id; None if nobody does. Raises `Refused`.

        It can be half-closed if the tunnel can.
        """
        entry = await self.agreement.find(meeting.name, wanted)
        if entry is None:
            return None
        half = isinstance(tunnel.transport, Finishing)
        leg_id = f"{tunnel.id}{MARK}{secrets.token_hex(6)}"
        claims = Claims(
            Op.DIAL,
            leg_id,
            f"{meeting.name}:{wanted}",
            self.tokens.now + OPENS_WITHIN,
            secrets.token_bytes(12),
            secrets.token_bytes(16),
            tunnel.grants,
        )
        token = self.tokens.issue_leg(claims, entry.relay)
        parts = urlsplit(entry.url)
        secure = parts.scheme == "https"
        try:
            leg = await connect(
                f"{'wss' if secure else 'ws'}://{parts.netloc}/{LEG}/{leg_id}/{claims.target}",
                subprotocols=[MANY if half else SUBPROTOCOL, TOKEN_PREFIX + token],
                headers={"X-Forwarded-For": _caller(tunnel)},
                timeout=self.limits.connect,
                origin=self.origin(),
                host=await self._address(parts.hostname or ""),
                port=parts.port or (443 if secure else 80),
                ssl=self.cluster.tls() if secure else None,
                max_size=self.limits.frame,
                max_queue=MESSAGES,
                create_connection=made_with(self.limits),
                ping_interval=self.limits.ping,
                ping_timeout=self.limits.pong,
            )
        except TransportClosed as error:
            raise Refused(Reason.UNREACHABLE, "the relay that has this id does not answer; try again soon") from error
        return await _OneOfMany.made(leg, self.limits) if half else leg

    async def _address(self, host: str) -> str:
        """An address of a relay. Raises `Refused` unless `proxies` lists it."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError:
            found = []
        for *_, address in found:
            if is_trusted(str(address[0]), self.proxies):
                return str(address[0])
        raise Refused(Reason.UNREACHABLE, "the relay that has this id is none that proxies lists")


class _OneOfMany:
    """One connection, and the leg for many that is there for it alone: that is how a leg can be half-closed."""

    def __init__(self, many: Many) -> None:
        self._many = many
        self._one = many.open()
        self.peer = self._one.peer

    @classmethod
    async def made(cls, leg: Transport, limits: Limits) -> _OneOfMany:
        many = Many(leg, dialled=True, limits=ManyLimits(1, limits.window, limits.frame, 4 * limits.frame))
        await many.__aenter__()
        return cls(many)

    @property
    def closed(self) -> bool:
        return self._one.closed

    async def send(self, data: bytes) -> None:
        await self._one.send(data)

    async def recv(self) -> bytes:
        return await self._one.recv()

    def finish(self) -> None:
        self._one.finish()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Ends the connection, and the leg with it."""
        await self._one.close(code, reason)
        await self._many.close(code, reason)


def _caller(tunnel: Tunnel) -> str:
    """The address of who dialled, without the port, and without the number of a connection."""
    return tunnel.transport.peer.address.partition("#")[0].rpartition(":")[0]
