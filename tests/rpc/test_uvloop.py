"""Servers often run on uvloop, whose transports are not of asyncio's classes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
import uvloop

from asyncmachine.rpc.transport import TransportClosed
from asyncmachine.rpc.transport import tcp as transport
from tests.own_loop import checked
from tests.rpc.behaviour import IN_BROWSER, Behaviour
from tests.rpc.nets import ListeningNet, client_context, server_context, tcp, unix, websocket

Nets = Callable[[], AbstractAsyncContextManager[ListeningNet]]


@pytest.mark.parametrize("nets", [tcp, unix, websocket], ids=lambda nets: nets.__name__)
@pytest.mark.parametrize("behaviour", IN_BROWSER, ids=lambda behaviour: behaviour.__name__)
def test_a_mirror_behaves_on_uvloop_as_on_asyncio(behaviour: Behaviour, nets: Nets) -> None:
    async def run() -> None:
        async with nets() as net:
            await behaviour(net)

    uvloop.run(checked(run(), limit=25), debug=True)


def test_tls_on_uvloop_is_refused_with_the_cure() -> None:
    async def run() -> None:
        with pytest.raises(OSError, match="no TLS on uvloop: use asyncio's event loop, or let a proxy take the TLS"):
            await transport.listen(ssl=server_context())
        with pytest.raises(TransportClosed, match="no TLS on uvloop"):
            await transport.connect("127.0.0.1", 1, ssl=client_context())

    uvloop.run(checked(run(), limit=25), debug=True)
