"""Whatever error a dial function raises, the client tries again."""

import asyncio

import asyncmachine as am
from asyncmachine.rpc import Backoff, Client, Server, StateSource, Transport, TransportClosed
from asyncmachine.rpc.transport.memory import pair


class Source(StateSource):
    Foo = am.state()


class NotNow(TransportClosed):
    """An error of the application's own, with a state that clients do not have."""

    state = "ErrElsewhere"


async def test_an_error_with_a_foreign_state_is_a_failed_attempt() -> None:
    server = Server(am.Machine(Source))
    serving: list[asyncio.Task[TransportClosed]] = []
    failures = [NotNow(4409, "taken"), OSError("no route"), ValueError("odd")]

    async def dial() -> Transport:
        if failures:
            raise failures.pop(0)
        near, far = pair()
        serving.append(asyncio.create_task(server.serve(far)))
        return near

    client = Client(dial, Source, backoff=Backoff(first=0.001, cap=0.001))
    client.start()
    await client.when_ready()
    assert not failures
    await client.stop()
    await serving[0]
    client.machine.dispose()
    server.machine.dispose()
