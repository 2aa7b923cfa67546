"""Sessions whose connection was lost: how many a server keeps, and for whom one goes on."""

from __future__ import annotations

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc import messages as m
from asyncmachine.rpc import sessions
from asyncmachine.rpc.features import KNOWN
from asyncmachine.rpc.states import ServerStates as S
from tests.rpc.test_server import Served, served

RIGHTS = {
    "all": rpc.Grants(),
    "some": rpc.Grants(mutate=("A",), read=("A", "B"), payload=("open",)),
    "other mutations": rpc.Grants(mutate=("B",), read=("A", "B"), payload=("open",)),
    "more mutations": rpc.Grants(mutate=("A", "B"), read=("A", "B"), payload=("open",)),
    "other states": rpc.Grants(mutate=("A",), read=("A", "C"), payload=("open",)),
    "fewer states": rpc.Grants(mutate=("A",), read=("A",), payload=("open",)),
    "more states": rpc.Grants(mutate=("A",), read=("A", "B", "C"), payload=("open",)),
    "other payloads": rpc.Grants(mutate=("A",), read=("A", "B"), payload=("secret",)),
}
"""By tokens."""


def hello(id: str, after: m.Welcome | None = None, token: str = "all", sync: m.Sync | None = None) -> m.Hello:
    resume = None if after is None else m.Resume(after.session, after.epoch)
    return m.Hello("amrpc", (1, 1), id, token, sync or m.Sync(), resume, KNOWN)


async def visit(on: Served, said: m.Hello, *asked: m.Message) -> m.Welcome:
    """A client that comes, asks for something, and loses its connection: its session is kept."""
    client = on.client()
    welcome = await client.handshake(said)
    await client.say(*asked, m.SyncRequest(1))
    while not isinstance(await client.hear(), m.Full | m.Grown):
        pass
    await client.end.close()
    await on.server.machine.when_not(S.ClientConnected)
    return welcome


async def test_of_too_many_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sessions.LIMIT == 1024
    monkeypatch.setattr(sessions, "LIMIT", 3)
    async with served() as on:
        first, second, third = [await visit(on, hello(f"rc-{n}")) for n in range(3)]
        assert (await visit(on, hello("rc-0", first))).resumed, "as many as that are kept"
        # It has come back, so that it is the newest now, and the next one the oldest.
        await visit(on, hello("rc-3"))
        assert (await visit(on, hello("rc-2", third))).resumed
        assert (await visit(on, hello("rc-0", first))).resumed
        assert not (await visit(on, hello("rc-1", second))).resumed


@pytest.mark.parametrize("token", [token for token in RIGHTS if token != "some"])
async def test_a_session_does_not_go_on_with_other_rights(token: str) -> None:
    async with served(allow=lambda _id, token, _peer: RIGHTS[token]) as on:
        first = await visit(on, hello("rc-a", token="some"), m.Add(1, (0,)), m.WhenArgs(1, 1, {"n": 1}))
        assert first.names == ("A", "B")
        assert len(on.source._subscriptions().args) == 1
        again = await visit(on, hello("rc-a", first, token))
        assert (again.resumed, again.received) == (False, 0)
        assert again.session != first.session
        assert len(on.source._subscriptions().args) == 0, "what it waited for with those rights is over"
        assert not (await visit(on, hello("rc-a", first, "some"))).resumed, "and for good"


async def test_a_session_goes_on_with_the_same_rights() -> None:
    async with served(allow=lambda _id, token, _peer: RIGHTS[token]) as on:
        first = await visit(on, hello("rc-a", token="some"), m.Add(1, (0,)), m.WhenArgs(1, 1, {"n": 1}))
        again = await visit(on, hello("rc-a", first, "some"))
        assert (again.resumed, again.received, again.session) == (True, 1, first.session)
        assert len(on.source._subscriptions().args) == 1


@pytest.mark.parametrize(
    "sync",
    [m.Sync(allowed=("A", "B")), m.Sync(skipped=("A",)), m.Sync(shallow=True), m.Sync(steps=True)],
    ids=["allowed", "skipped", "shallow", "steps"],
)
async def test_a_session_does_not_go_on_for_a_client_that_wants_to_see_something_else(sync: m.Sync) -> None:
    async with served() as on:
        first = await visit(on, hello("rc-a"))
        assert not (await visit(on, hello("rc-a", first, sync=sync))).resumed
        same = await visit(on, hello("rc-b", sync=sync))
        assert (await visit(on, hello("rc-b", same, sync=sync))).resumed


async def test_a_session_goes_on_when_the_source_has_more_states() -> None:
    async with served() as on:
        first = await visit(on, hello("rc-a"))
        on.source.set_schema(on.source.schema.merge({"New": am.State()}))
        assert (await visit(on, hello("rc-a", first))).resumed
