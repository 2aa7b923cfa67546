"""Certificates: who is let in, and what is known of them."""

from __future__ import annotations

import asyncio
import ssl

import pytest
import trustme

from asyncmachine import rpc
from asyncmachine.rpc.transport import TransportClosed, tcp
from asyncmachine.rpc.transport.tcp import SocketListener
from tests.rpc.behaviour import Basic, paired
from tests.rpc.nets import client_context, listening, server_context, tls


async def connect(listener: SocketListener, context: ssl.SSLContext, name: str = "127.0.0.1") -> tcp.SocketTransport:
    port = int(listener.address.rpartition(":")[2])
    return await tcp.connect("127.0.0.1", port, ssl=context, server_hostname=name)


async def test_a_client_knows_its_server_and_a_server_only_clients_with_certificates() -> None:
    async with listening("tls://127.0.0.1:0", server_context(), client_context()) as net:
        near, far = await net.connect()
        assert (near.peer.kind, near.peer.id) == ("tls", "")
        assert (far.peer.kind, far.peer.id) == ("tls", "127.0.0.1")
        await asyncio.gather(near.close(), far.close())
    async with tls() as net:
        near, far = await net.connect()
        assert near.peer.id == "client-1"
        await asyncio.gather(near.close(), far.close())


async def test_a_server_that_is_not_known_or_has_another_name_is_not_talked_to() -> None:
    listener = await tcp.listen(ssl=server_context())
    with pytest.raises(TransportClosed, match="CERTIFICATE_VERIFY_FAILED"):
        await connect(listener, ssl.create_default_context())
    with pytest.raises(TransportClosed, match="CERTIFICATE_VERIFY_FAILED"):
        await connect(listener, client_context(), "other.example")
    await listener.close()


@pytest.mark.parametrize(
    "context", [client_context(), client_context("stranger", trustme.CA())], ids=["none", "of another authority"]
)
async def test_a_client_without_a_good_certificate_is_not_accepted(context: ssl.SSLContext) -> None:
    listener = await tcp.listen(ssl=server_context(mutual=True))
    far = await connect(listener, context)  # with TLS 1.3 a client is ready before the server has judged it
    with pytest.raises(TransportClosed):
        await far.recv()
    assert not listener._backlog._waiting
    await far.close()
    await listener.close()


async def test_somebody_who_does_not_shake_hands_hinders_nobody() -> None:
    listener = await tcp.listen(ssl=server_context())
    port = int(listener.address.rpartition(":")[2])
    _, silent = await asyncio.open_connection("127.0.0.1", port)
    _, talking = await asyncio.open_connection("127.0.0.1", port)
    talking.write(b"GET / HTTP/1.1\r\n\r\n")
    far = await connect(listener, client_context())
    near = await listener.accept()
    await asyncio.gather(near.close(), far.close())
    silent.close()
    talking.close()
    await listener.close()


async def test_what_a_client_may_do_can_depend_on_its_certificate() -> None:
    known = {"client-1": rpc.Grants(mutate=("A",))}

    def allow(id: str, token: str, peer: rpc.Peer) -> rpc.Grants | None:
        return known.get(peer.id)

    async with tls() as net, paired(net, Basic, allow=allow) as pair:
        assert (await pair.mirror.add("A")).executed
        with pytest.raises(rpc.CallRefused, match="FORBIDDEN"):
            await pair.mirror.add("B")
