"""Relays of one cluster, with a real NATS server, in this process."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
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
async def tls_front(port: int, authority: trustme.CA) -> AsyncIterator[str]:
    """What ends TLS before a relay; its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(1 << 16):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, outer), copy(inner, writer))

    loop = asyncio.get_running_loop()
    told = loop.get_exception_handler()

    def tell(loop: asyncio.AbstractEventLoop, problem: dict[str, Any]) -> None:
        """asyncio complains of a client that does not like the certificate."""
        if told is not None and not isinstance(problem.get("exception"), ssl.SSLError | ConnectionResetError):
            told(loop, problem)

    loop.set_exception_handler(tell)
    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}"
    loop.set_exception_handler(told)


@asynccontextmanager
async def together(
    directory: Path,
    count: int = 2,
    *,
    lease: float = 10.0,
    authority: trustme.CA | None = None,
    ca_file: Path | None = None,
    **settings: Any,
) -> AsyncIterator[Together]:
    """So many relays that agree. With an `authority` they reach each other through TLS, which `ca_file` verifies."""
    async with NatsServer(directory / "nats") as nats, AsyncExitStack() as stack:
        bounds = [bind() for _ in range(count)]
        relays = []
        for bound in bounds:
            url = bound.origin
            if authority is not None:
                url = await stack.enter_async_context(tls_front(bound.port, authority))
            relay = Relay(
                **{
                    "origins": [each.origin for each in bounds],
                    "proxies": ["127.0.0.1"],
                    "secret": SECRET,
                    "authorize": lambda request: EVERY_TUNNEL,
                    "cluster": Cluster(nats=(nats.url,), url=url, lease=lease, ca_file=ca_file),
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
    while run.relay._waiting.find(PEERS, id) is None:
        await asyncio.sleep(0)
