"""Relays of one cluster, with a real NATS server, in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection

from asyncmachine_relay import EVERY_TUNNEL, Cluster, Limits, Meeting, Relay, RelayServer, RelayStates, bind
from tests.nats_server import NatsServer
from tests.relay.support import ECHO, Answer, Running, ask_token, opened

SECRET = b"the secret of all these relays"
PEERS = Meeting("peers")
QUIET = Limits(leave=0.05, hello=60, opens_burst=1000, opens_per_second=1000)
CALLER = "203.0.113.7"
"""Whom the proxy in front speaks for, which these tests are."""
FORWARDED = [("x-forwarded-for", CALLER)]


@dataclass
class Together:
    """The relays and their NATS."""

    nats: NatsServer
    relays: list[Running]


@asynccontextmanager
async def together(directory: Path, count: int = 2, *, lease: float = 10.0, **settings: Any) -> AsyncIterator[Together]:
    """So many relays that agree."""
    async with NatsServer(directory / "nats") as nats, AsyncExitStack() as stack:
        bounds = [bind() for _ in range(count)]
        relays = []
        for bound in bounds:
            relay = Relay(
                **{
                    "origins": [each.origin for each in bounds],
                    "proxies": ["127.0.0.1"],
                    "secret": SECRET,
                    "authorize": lambda request: EVERY_TUNNEL,
                    "cluster": Cluster(nats=(nats.url,), url=bound.origin, lease=lease),
                    "listen": [ECHO],
                    "dial": [ECHO],
                    "meetings": [PEERS],
                    "limits": QUIET,
                    **settings,
                }
            )
            server = await stack.enter_async_context(RelayServer(relay, bound))
            stack.callback(relay.dispose)
            relays.append(Running(relay, server))
        for run in relays:
            await run.relay.machine.when(RelayStates.Agreed)
        yield Together(nats, relays)


async def ask(run: Running, id: str, op: str = "dial", target: str = "orchestrator", **more: object) -> Answer:
    """A token of this relay, or what it says instead."""
    return await ask_token(run, id, op, target, headers=FORWARDED, **more)


@asynccontextmanager
async def through(
    run: Running,
    id: str,
    op: str = "dial",
    target: str = "orchestrator",
    *,
    using: str | None = None,
    many: bool = False,
    **options: Any,
) -> AsyncIterator[ClientConnection]:
    """A tunnel at this relay."""
    if using is None:
        answer = await ask(run, id, op, target)
        assert answer.status == 200, answer
        using = answer.json["token"]
    offered = ["ammany.v1" if many else "amrpc.v1", f"amtok.{using}"]
    settings = {"additional_headers": dict(FORWARDED), "subprotocols": offered, **options}
    async with opened(run, id, op, target, using=using, **settings) as page:
        yield page


async def waits(run: Running, id: str) -> None:
    """Until this id can be called at this relay, and the others know."""
    import asyncio

    while run.relay._waiting.find(PEERS, id) is None:
        await asyncio.sleep(0)
