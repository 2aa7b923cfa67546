"""Certificates: who is let in, and what is known of them."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import sys
from collections.abc import Callable

import pytest
import trustme

from asyncmachine import rpc
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.transport import TransportClosed, socket_listener, tcp
from asyncmachine.rpc.transport.certificates import Judge
from asyncmachine.rpc.transport.handshakes import SHARE
from asyncmachine.rpc.transport.socket_listener import SocketListener
from asyncmachine.rpc.transport.socket_transport import SocketTransport
from tests.rpc.behaviour import QUICK, Basic, paired
from tests.rpc.nets import authority, client_context, listening, server_context, tls


async def connect(listener: SocketListener, context: ssl.SSLContext, name: str = "127.0.0.1") -> SocketTransport:
    port = int(listener.address.rpartition(":")[2])
    # Longer than a busy computer needs for many of them.
    return await tcp.connect("127.0.0.1", port, ssl=context, server_hostname=name, timeout=60.0)


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


async def talk(listener: SocketListener, context: ssl.SSLContext) -> bytes:
    far = await connect(listener, context)
    await far.send(b"hello")
    return await far.recv()


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])


@VERSIONS
@pytest.mark.parametrize(
    ("context", "why"),
    [
        (lambda: client_context(), "requires? a certificate|certificate is required"),
        (lambda: client_context("stranger", trustme.CA()), "of an authority that is not known there"),
    ],
    ids=["none", "of another authority"],
)
async def test_a_client_without_a_good_certificate_is_told_so(
    context: Callable[[], ssl.SSLContext], why: str, version: ssl.TLSVersion
) -> None:
    given = context()
    given.maximum_version = version
    listener = await tcp.listen(ssl=server_context(mutual=True))
    # With TLS 1.2 a client learns of it when it connects, with 1.3 it may talk before the server has judged it.
    with pytest.raises(rpc.CertificateRefused, match=why):
        await talk(listener, given)
    assert not listener._backlog._waiting
    # Nobody else is hindered.
    welcome = await connect(listener, client_context("client-1"))
    near = await listener.accept()
    await asyncio.gather(near.close(), welcome.close())
    await listener.close()


@VERSIONS
async def test_a_client_whose_certificate_is_refused_does_not_come_back(version: ssl.TLSVersion) -> None:
    stranger = client_context("stranger", trustme.CA())
    stranger.maximum_version = version
    listener = await tcp.listen(ssl=server_context(mutual=True))
    client: rpc.Client = rpc.Client(rpc.dial(listener.address, ssl=stranger), Basic, id="stranger", backoff=QUICK)
    waiting = client.when_ready()
    await client.run()
    assert isinstance(client.machine.err, rpc.CertificateRefused)
    assert client.machine.is_(C.ConnRetryFailed)
    assert client.machine.tick(C.Connecting) == 2, "it has tried once"
    with pytest.raises(rpc.NotConnected, match="of an authority that is not known there"):
        await waiting
    client.machine.dispose()
    await listener.close()


@pytest.mark.parametrize("scheme", ["tls", "wss"])
async def test_all_names_of_a_certificate_are_known(scheme: str) -> None:
    context = ssl.create_default_context()
    authority().configure_trust(context)
    issued = authority().issue_cert("client-1", "spare@example.org", common_name="The client")
    issued.configure_cert(context)
    async with listening(f"{scheme}://127.0.0.1:0/", server_context(mutual=True), context) as net:
        near, far = await net.connect()
        assert near.peer.id == "client-1"
        assert set(near.peer.names) == {"client-1", "spare@example.org", "The client"}
        assert far.peer.names == ("127.0.0.1",)
        await asyncio.gather(near.close(), far.close())


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


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere this computer has no other address on loopback")
async def test_a_flood_of_silent_connections_keeps_nobody_of_another_address_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket_listener, "TIMEOUT", 60.0)  # so that nobody gets in because they were given up
    listener = await tcp.listen(ssl=server_context())
    port = int(listener.address.rpartition(":")[2])
    silent = [await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0)) for _ in range(200)]
    far = await connect(listener, client_context())
    near = await listener.accept()
    assert near.peer.address.startswith("127.0.0.1:")
    await asyncio.gather(near.close(), far.close())
    for _, writer in silent:
        writer.close()
    await listener.close()


async def test_connections_for_which_no_descriptor_is_left_give_their_places_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged: list[socket.socket] = []

    def judge(context: ssl.SSLContext, connected: socket.socket) -> Judge:
        judged.append(connected)
        if len(judged) <= SHARE:
            raise OSError(errno.EMFILE, "too many open files")
        return Judge(context, connected)

    monkeypatch.setattr(socket_listener, "Judge", judge)
    listener = await tcp.listen(ssl=server_context())
    for _ in range(SHARE):
        with pytest.raises(TransportClosed):
            await connect(listener, client_context())
    far = await connect(listener, client_context())
    near = await listener.accept()
    await asyncio.gather(near.close(), far.close())
    await listener.close()


async def test_very_many_of_one_address_come_to_their_handshakes_one_after_another() -> None:
    listener = await tcp.listen(ssl=server_context())
    context = client_context()
    ends = await asyncio.gather(*(connect(listener, context) for _ in range(60)))
    accepted = [await listener.accept() for _ in ends]
    await asyncio.gather(*(end.close() for end in (*ends, *accepted)))
    await listener.close()


async def test_what_a_client_may_do_can_depend_on_its_certificate() -> None:
    def allow(id: str, token: str, peer: rpc.Peer) -> rpc.Grants | None:
        return rpc.Grants(mutate=("A",)) if "client-1" in peer.names else None

    async with tls() as net, paired(net, Basic, allow=allow) as pair:
        assert (await pair.mirror.add("A")).executed
        with pytest.raises(rpc.CallRefused, match="FORBIDDEN"):
            await pair.mirror.add("B")
