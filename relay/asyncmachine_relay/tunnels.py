"""Which tunnels are open: one id, one tunnel.

An id belongs to a tunnel from the moment it is taken until its WebSocket has ended, whatever its matcher still does.
Only the owner of the id, who presents the same resume secret, may take it over before that; the old tunnel is then
closed. A matcher is never asked to serve the same id twice at a time: the second call waits for the first to end.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import asyncmachine as am
from asyncmachine.rpc.transport import NORMAL, TransportClosed
from asyncmachine.rpc.transport.shares import share_of
from asyncmachine_relay.agreement import Agreement, Alone, Hold, Key
from asyncmachine_relay.carrying import Carrying, Note
from asyncmachine_relay.limits import Limits
from asyncmachine_relay.matchers import Matcher, Serve, Tunnel
from asyncmachine_relay.policy import Reason, Refused
from asyncmachine_relay.states import TunnelStates
from asyncmachine_relay.tokens import Claims
from asyncmachine_relay.websocket import WebSocketTransport

logger = logging.getLogger("asyncmachine.relay")

FAREWELL = 8.0
"""Seconds before the end of its time at which a tunnel is asked to leave."""

Hook = Callable[[Tunnel], None]


@dataclass(eq=False)
class Place:
    """A tunnel and what it takes up. `before` had the id last and has to end first."""

    tunnel: Tunnel
    transport: WebSocketTransport
    share: str
    owner: bytes
    before: Place | None
    hold: Hold | None = None
    carrying: Carrying | None = None
    farewell: asyncio.TimerHandle | None = None
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the matcher has ended too."""

    @property
    def key(self) -> Key:
        return self.tunnel.op, self.tunnel.id


class Tunnels:
    """The registry. Its length and counts are of tunnels whose WebSocket is open.

    Each tunnel has a machine below `parent`. `up` and `down` are told of every tunnel, in order, when its id is taken
    and when it is given back. With an `agreement` an id is taken over all relays, not only here.
    """

    def __init__(
        self, limits: Limits, parent: am.Machine[Any], *, up: Hook, down: Hook, agreement: Agreement | None = None
    ) -> None:
        self._limits = limits
        self._agreement = agreement or Alone()
        self._parent = parent
        self._number = 0
        self._up = up
        self._down = down
        self._open: dict[Key, Place] = {}
        self._ending: dict[Key, Place] = {}
        self._by_share: Counter[str] = Counter()
        self._by_id: Counter[str] = Counter()
        self._empty: asyncio.Event | None = None
        self._closed: Refused | None = None

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Tunnel]:
        return iter([place.tunnel for place in self._open.values()])

    @property
    def transports(self) -> list[WebSocketTransport]:
        """Those of all open tunnels."""
        return [place.transport for place in self._open.values()]

    async def run(
        self,
        claims: Claims,
        matcher: Matcher,
        transport: WebSocketTransport,
        address: str,
        *,
        many: bool,
        note: Note,
        leg: bool = False,
    ) -> None:
        """The whole life of a tunnel. Raises `Refused` when it may not begin, and else what its matcher raised.

        With `many` it carries many connections; `note` is told of those that fail. The id of a `leg`, which another
        relay has opened, is of this relay only.
        """
        share = share_of(address)
        self._check(claims, share)  # before anybody is asked
        hold = None if leg else await self._agreement.claim(claims)
        try:
            place = self._take(claims, matcher, transport, share)
        except BaseException:
            if hold is not None:
                self._agreement.release(hold)
            raise
        place.hold = hold
        machine = place.tunnel.machine
        try:
            if place.before is not None:
                machine.add(TunnelStates.Resuming)
                await self._end(place.before)
                place.before = None
            machine.add(TunnelStates.Open)
            serve = matcher.serve
            if many:
                place.carrying = Carrying(place.tunnel, matcher, self._limits, note)
                serve = place.carrying.serve
                leaving = max(0.0, self._limits.lasting(claims.grants.lifetime).lifetime - FAREWELL)
                farewell = place.carrying.many.go_away
                place.farewell = asyncio.get_running_loop().call_later(leaving, farewell, FAREWELL)
            serving = asyncio.create_task(_answer(place.tunnel, serve), name=f"matcher of {place.tunnel}")
            try:
                await transport.pump()
                self._free(place)
                if not serving.done():
                    await asyncio.wait({serving}, timeout=self._limits.leave)
            finally:
                self._free(place)
                if not serving.done():
                    serving.cancel("the tunnel has ended")
                    await asyncio.wait({serving}, timeout=self._limits.leave)
            _check_ended(serving, place.tunnel)
        finally:
            self._free(place)
            if self._ending.get(place.key) is place:
                del self._ending[place.key]
            if place.farewell is not None:
                place.farewell.cancel()
            place.finished.set()
            machine.dispose()

    def go_away(self, seconds: float) -> None:
        """Asks all who can be asked (tunnels for many connections) to leave within that time."""
        for place in self._open.values():
            if place.carrying is not None:
                place.carrying.many.go_away(seconds)

    async def emptied(self) -> None:
        """Returns once no tunnel is open."""
        while self._open:
            if self._empty is None:
                self._empty = asyncio.Event()
            await self._empty.wait()
            self._empty = None

    def reopen(self) -> None:
        """Takes tunnels again, after `close_all`."""
        self._closed = None

    async def close_all(self, refused: Refused) -> None:
        """Closes every tunnel, also those that are still being asked about, and waits until their matchers have ended.

        None is taken after that until `reopen`.
        """
        self._closed = refused
        places = {*self._open.values(), *self._ending.values()}
        await asyncio.gather(
            *(place.transport.close(refused.reason.close_code, refused.close_reason) for place in places)
        )
        for place in places:
            await place.finished.wait()

    async def evict(self, key: Key, mark: bytes) -> None:
        """Ends the tunnel that has this id, if its hold has that mark: another relay has the id now."""
        for place in (self._open.get(key), self._ending.get(key)):
            if place is not None and place.hold is not None and place.hold.mark == mark:
                await self._end(place)

    def _check(self, claims: Claims, share: str) -> Place | None:
        """The tunnel that had this id. Raises `Refused` when another one may not take it over, or is one too many."""
        if self._closed is not None:
            raise self._closed
        old = self._open.get((claims.op, claims.id))
        if old is not None and not hmac.compare_digest(old.owner, claims.owner):
            raise Refused(Reason.DUPLICATE, "this id is taken; close its other tab, or use another id")
        self._check_counts(claims.id, share, old)
        return old

    def _take(self, claims: Claims, matcher: Matcher, transport: WebSocketTransport, share: str) -> Place:
        key = (claims.op, claims.id)
        old = self._check(claims, share)
        machine = self._machine(matcher, transport)
        tunnel = Tunnel(claims.op, claims.id, claims.target, transport, claims.grants, machine)
        place = Place(tunnel, transport, share, claims.owner, old or self._ending.get(key))
        if old is not None:
            self._free(old)
        self._open[key] = place
        self._by_share[share] += 1
        self._by_id[tunnel.id] += 1
        self._up(tunnel)
        return place

    def _machine(self, matcher: Matcher, transport: WebSocketTransport) -> am.Machine[TunnelStates]:
        self._number += 1
        machine: am.Machine[TunnelStates] = am.Machine(
            matcher.states,
            id=f"{self._parent.id}-wt-{self._number}",
            tags=("relay-tunnel",),
            parent=self._parent,
        )
        machine.add([TunnelStates.Start, TunnelStates.Opening])

        def congested(now: bool) -> None:
            (machine.add if now else machine.remove)(TunnelStates.Congested)

        transport.on_congested(congested)
        ending = Refused(Reason.SHUTDOWN, "the operator ended this tunnel")
        machine.when(TunnelStates.Disposing).then(partial(transport.refuse, ending))
        return machine

    def _free(self, place: Place) -> None:
        """Gives the id back, once."""
        if self._open.get(place.key) is not place:
            return
        del self._open[place.key]
        self._ending[place.key] = place
        for counter, name in ((self._by_share, place.share), (self._by_id, place.tunnel.id)):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]
        if place.hold is not None:
            self._agreement.release(place.hold)
        place.tunnel.machine.add(TunnelStates.Closed)
        if not self._open and self._empty is not None:
            self._empty.set()
        self._down(place.tunnel)

    async def _end(self, old: Place) -> None:
        """Ends a tunnel whose id was taken over, or waits for the rest of one that has ended."""
        await old.transport.close(Reason.DUPLICATE.close_code, "DUPLICATE: its owner opened this id again")
        await old.finished.wait()

    def _check_counts(self, id: str, share: str, replaced: Place | None) -> None:
        """Raises `Refused` when one more, instead of `replaced`, would be too many."""
        limits = self._limits
        less = int(replaced is not None)
        less_here = int(replaced is not None and replaced.share == share)
        if len(self._open) - less >= limits.tunnels:
            raise Refused(Reason.LIMIT, f"the relay has {limits.tunnels} tunnels; try again later")
        if self._by_share[share] - less_here >= limits.tunnels_per_peer:
            raise Refused(Reason.LIMIT, f"your address has {limits.tunnels_per_peer} tunnels; close one")
        if self._by_id[id] - less >= limits.tunnels_per_id:
            raise Refused(Reason.LIMIT, f"this id has {limits.tunnels_per_id} tunnels; close one")


async def _answer(tunnel: Tunnel, serve: Serve) -> None:
    """Lets the matcher have the tunnel, and closes it whatever comes of that."""
    try:
        await serve(tunnel)
    except TransportClosed:
        pass  # how a matcher that reads on learns of the end
    except Refused as refused:
        await tunnel.transport.close(refused.reason.close_code, refused.close_reason)
        raise
    except Exception as error:
        tunnel.machine.add_err(error)
        # What was raised is the operator's to see, not the peer's.
        failed = Refused(Reason.INTERNAL, f"the matcher of {tunnel.op}/{tunnel.target} failed")
        await tunnel.transport.close(failed.reason.close_code, failed.close_reason)
        raise
    finally:
        await tunnel.transport.close(NORMAL)


def _check_ended(matcher: asyncio.Task[None], tunnel: Tunnel) -> None:
    if not matcher.done():
        logger.error("the matcher of %s ignores its cancellation; it is left behind", tunnel)
    elif not matcher.cancelled():
        matcher.result()
