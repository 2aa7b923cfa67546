"""Native programs through a relay: what they show at its door, how they are let in, and what they are told when not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from starlette.requests import Request

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.transport import Peer, TransportClosed, relayed
from asyncmachine.rpc.transport.addresses import AddressError
from asyncmachine.rpc.transport.many import Many
from asyncmachine.rpc.transport.relayed import Relayed
from asyncmachine.rpc.transport.tunnel import Refused, TunnelStates
from asyncmachine_relay import EVERY_TUNNEL, Limits, Meeting, Relay, RelayServer, Target, TunnelGrants, bind
from tests.relay.cluster_support import tls_front
from tests.relay.support import Held, http, running
from tests.relay.tcp_support import dialling, echo_bytes

ELSEWHERE = {"X-Forwarded-For": "203.0.113.7"}
"""What a proxy in front says of a program on another computer."""


class Printer(rpc.StateSource):
    Printing = am.state(multi=True)


def by_key(request: Request) -> TunnelGrants | None:
    return EVERY_TUNNEL if request.headers.get("authorization") == "Bearer k3y" else None


@dataclass
class Public:
    """A relay that others reach by TLS."""

    url: str
    trust: ssl.SSLContext
    relay: Relay

    def seen_by(self, **headers: str) -> Relayed:
        return Relayed(self.url, headers={**ELSEWHERE, **headers}, ssl=self.trust)


@asynccontextmanager
async def public() -> AsyncIterator[Public]:
    authority, bound = trustme.CA(), bind()
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(tls_front(bound.port, authority))
        relay = Relay(meetings=[Meeting("peers")], origins=[url], proxies=["127.0.0.1"], authorize=by_key)
        stack.callback(relay.dispose)
        await stack.enter_async_context(RelayServer(relay, bound))
        yield Public(url, trust, relay)


async def test_a_program_calls_another_through_a_public_relay() -> None:
    async with public() as there:
        source = am.Machine(Printer, id="printer")
        server = rpc.Server(source, "printer", push_interval=0)
        server.listen(there.seen_by(Authorization="Bearer k3y").listen("printer-1", "peers"))
        tunnel = there.seen_by(Authorization="Bearer k3y").dial("tool-7", "peers:printer-1")
        client = rpc.Client(tunnel, schema=Printer, id="tool")
        client.start()
        await client.when_ready()
        assert (await client.netmach.add(Printer.Printing)).executed
        assert source.tick(Printer.Printing) == 1
        assert tunnel.machine.active_states() == ("Open",)
        await client.stop()
        await server.stop()
        await there.relay.tunnels.emptied()


async def test_a_server_behind_a_target_hears_of_no_grants() -> None:
    """A TCP connection carries bytes and nothing else (docs/relay.md)."""
    heard: list[tuple[str, Peer]] = []

    def allow(_id: str, token: str, peer: Peer) -> rpc.Grants:
        heard.append((token, peer))
        return rpc.Grants()

    mux = rpc.Mux(am.Machine(Printer, id="printer"), "tcp://127.0.0.1:0", allow=allow)
    mux.start()
    await mux.when_ready()
    relay = Relay(targets=[Target("printer", "127.0.0.1", int(mux.address.rpartition(":")[2]))])
    async with RelayServer(relay, bind()) as there:
        client = rpc.Client(Relayed(there.origin).dial("page-1", "printer"), schema=Printer, token="w0rd")
        client.start()
        await client.when_ready()
        ((token, peer),) = heard
        assert (token, peer.kind, peer.grants, peer.id) == ("w0rd", "tcp", None, "")
        assert peer.address.startswith("127.0.0.1:")
        await client.stop()
        await mux.stop()
    relay.dispose()


async def test_who_shows_no_credentials_is_told_so_and_gives_up() -> None:
    async with public() as there:
        tunnel = there.seen_by(Authorization="Bearer guessed").dial("tool-7", "peers:printer-1")
        for _ in range(3):
            with pytest.raises(Refused, match="log in first") as refused:
                await tunnel()
            assert refused.value.name == "AUTH"
        assert TunnelStates.GaveUp in tunnel.machine


async def test_a_page_below_a_mount_finds_its_relay_there(tmp_path: Path) -> None:
    """`am build` makes it for any path: it asks beside its own index.html."""
    (tmp_path / "index.html").write_text("<p>the shop")
    async with running(static=[("/apps/shop/", tmp_path), ("/", tmp_path), ("/apps/shop", tmp_path)]) as run:
        there = Relayed(f"{run.origin}/apps/shop/")
        for tunnel in (there.dial("browser1", "orchestrator"), there.listen("browser2", "orchestrator")):
            opened = await tunnel()
            await opened.send(b"hello")
            assert await opened.recv() == b"hello"
            await opened.close()
        with pytest.raises(Refused, match="NO_RELAY"):
            await Relayed(f"{run.origin}/apps/").dial("browser1", "orchestrator")()
        assert (await http(run, "/apps/shop/")).body == b"<p>the shop"


async def test_an_origin_that_the_relay_does_not_list_is_named_as_the_reason() -> None:
    async with running() as run:
        with pytest.raises(Refused, match=f"foreign Origin; open {run.origin}"):
            await Relayed(run.origin, origin="https://elsewhere.example").dial("browser1", "orchestrator")()


async def test_an_authority_that_is_not_trusted_gets_no_credentials() -> None:
    async with public() as there:
        relay = Relayed(there.url, headers={"Authorization": "Bearer k3y"})
        with pytest.raises(TransportClosed, match="certificate verify failed"):
            await relay.dial("tool-7", "peers:printer-1")()


async def test_one_tunnel_carries_many_connections() -> None:
    async with dialling(echo_bytes, limits=Limits(leave=0.02)) as run:
        tunnel = Relayed(run.origin).dial("browser1", "backend", many=True)
        async with Many(await tunnel(), dialled=True) as many:
            connections = [many.open() for _ in range(20)]
            for number, each in enumerate(connections):
                await each.send(b"%d" % number)
            assert [await each.recv() for each in connections] == [b"%d" % number for number in range(20)]
            assert len([*run.relay.tunnels]) == 1


async def test_a_program_that_is_started_again_has_its_id_at_once_if_it_kept_the_secret() -> None:
    held = Held()
    async with running(dial=[held.match]) as run:
        kept: dict[str, str] = {}
        before = await Relayed(run.origin, secrets=kept).dial("tool", "orchestrator")()
        await held.tunnels.get()
        with pytest.raises(Refused, match="DUPLICATE"):
            await (await Relayed(run.origin).dial("tool", "orchestrator")()).recv()
        after = await Relayed(run.origin, secrets=kept).dial("tool", "orchestrator")()
        with pytest.raises(TransportClosed):
            await before.recv()
        assert not after.closed
        await after.close()
        held.let_go.set()


# Relays that are none


Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(answer: Answering) -> AsyncIterator[str]:
    """A server that reads the head of a request and then does this."""
    answered = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            await answer(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()
            answered.set()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await answered.wait()  # the client has let go of the socket


def says(text: bytes) -> Answering:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()

    return answer


async def test_credentials_are_not_taken_along_to_wherever_a_redirect_leads() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pytest.fail("the redirect was followed")

    server = await asyncio.start_server(never, "127.0.0.1", 0)
    other = server.sockets[0].getsockname()[1]
    head = f"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{other}/token\r\ncontent-length: 0\r\n\r\n"
    async with server, answering(says(head.encode())) as url:
        with pytest.raises(Refused, match="answered 302: is the URL right"):
            await Relayed(url, headers={"Authorization": "Bearer k3y"}).dial("a", "b")()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP", id="another protocol"),
        pytest.param(b"", "no HTTP|without response|closed connection", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 300_000, "too long", id="too much"),
    ],
)
async def test_what_is_no_relay_is_a_lost_connection_with_the_address(text: bytes, told: str) -> None:
    async with answering(says(text)) as url:
        tunnel = Relayed(url).dial("a", "b")
        with pytest.raises(TransportClosed, match=told) as closed:
            await tunnel()
        assert not isinstance(closed.value, Refused)
        assert tunnel.machine.active_states() == ()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        pytest.param(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno", 404, id="another site"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", 200, id="cut off"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\xff\xfe", 200, id="no text"),
    ],
)
async def test_what_answers_and_is_no_relay_is_a_refusal_with_the_address(text: bytes, status: int) -> None:
    async with answering(says(text)) as url:
        with pytest.raises(Refused, match=f"NO_RELAY: no relay is at {url}/token, which answered {status}"):
            await Relayed(url).dial("a", "b")()


async def test_a_relay_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relayed, "TIMEOUT", 0.1)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async with answering(silent) as url:
        with pytest.raises(TransportClosed, match=url):
            await Relayed(url).dial("a", "b")()


async def test_an_answer_that_drips_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relayed, "TIMEOUT", 0.1)

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with answering(drip) as url:
        with pytest.raises(TransportClosed, match=url):
            await Relayed(url).dial("a", "b")()


async def test_nobody_there_is_told_with_the_address() -> None:
    async with answering(says(b"")) as url:
        with pytest.raises(TransportClosed):
            await Relayed(url).dial("a", "b")()
    with pytest.raises(TransportClosed, match=f"{url}/token.*refused"):
        await Relayed(url).dial("a", "b")()


# Addresses


@pytest.mark.parametrize(
    ("url", "address", "origin"),
    [
        ("https://app.example", "https://app.example/", "https://app.example"),
        ("https://app.example:443/am/", "https://app.example/am/", "https://app.example"),
        ("https://app.example:8443/am", "https://app.example:8443/am/", "https://app.example:8443"),
        ("http://127.0.0.1:80", "http://127.0.0.1/", "http://127.0.0.1"),
        ("http://localhost:12733/", "http://localhost:12733/", "http://localhost:12733"),
        ("http://[::1]:12733/", "http://[::1]:12733/", "http://[::1]:12733"),
    ],
)
def test_the_origin_is_that_of_the_address(url: str, address: str, origin: str) -> None:
    relay = Relayed(url)
    assert (relay.url, relay.origin) == (address, origin)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("app.example", "expected the address"),
        ("ws://127.0.0.1/", "expected the address"),
        ("https://", "expected the address"),
        ("https://app.example:port/", "https://app.example:port/"),
        ("https://ada:k3y@app.example/", "credentials go into headers"),
        ("https://app.example/?token=k3y", "no query"),
        ("http://app.example/", "in the clear: use https://"),
        ("http://10.0.0.7:12733/", "in the clear: use https://"),
    ],
)
def test_an_address_that_will_not_do_is_refused_at_once(url: str, told: str) -> None:
    with pytest.raises(AddressError, match=told):
        Relayed(url)


def test_a_network_of_ones_own_may_be_without_tls() -> None:
    assert Relayed("http://relay.internal:12733/", insecure=True).origin == "http://relay.internal:12733"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"headers": {"ORIGIN": "https://app.example"}}, "origin is not yours to give"),
        ({"headers": {"Host": "app.example"}}, "host is not yours to give"),
        ({"ssl": ssl.create_default_context()}, "is not encrypted"),
    ],
    ids=("origin", "host", "tls"),
)
def test_settings_that_do_not_go_together_are_refused_at_once(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(AddressError, match=told):
        Relayed("http://127.0.0.1/", **settings)
