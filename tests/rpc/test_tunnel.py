"""Tunnels of a page against a relay that answers as told: tokens, refusals, giving up."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any

import pytest

from asyncmachine.rpc.transport import TransportClosed
from asyncmachine.rpc.transport.memory import MemoryTransport, pair
from asyncmachine.rpc.transport.port import PortTransport
from asyncmachine.rpc.transport.tunnel import PAUSE, Connected, DirectlyConnected, Refused, Tunnel, TunnelStates
from asyncmachine.rpc.transport.tunnel_tokens import Tokens
from tests.rpc.ports import wires
from tests.virtual_time import in_virtual_time


class FakeRelay:
    """Answers each token request with the next of `answers`, by default with a token that counts up."""

    def __init__(self) -> None:
        self.wishes: list[dict[str, str]] = []
        self.opened: list[tuple[str, tuple[str, ...]]] = []
        self.ends: list[MemoryTransport] = []
        self.answers: deque[tuple[int, Any]] = deque()
        self.kept: dict[str, str] = {}
        self.url, self.named = "http://localhost:8080/app/", "AM_RELAY"
        self.tokens = Tokens(self.post)

    async def post(self, path: str, body: str) -> tuple[int, str]:
        assert path == "token"
        self.wishes.append(json.loads(body))
        number = len(self.wishes)
        status, answer = self.answers.popleft() if self.answers else (200, {"token": f"t{number}", "resume": "r"})
        return status, answer if isinstance(answer, str) else json.dumps(answer)

    async def connect(self, path: str, subprotocols: tuple[str, ...]) -> MemoryTransport:
        self.opened.append((path, subprotocols))
        page, here = pair()
        self.ends.append(here)
        return page

    def secret(self, id: str) -> str:
        return self.kept.get(id, "")

    def keep(self, id: str, secret: str) -> None:
        self.kept[id] = secret

    async def refuse(self, tunnel: Tunnel, code: int, reason: str) -> TransportClosed:
        """One dial that is let in and closed at once, as the relay does it."""
        transport = await tunnel()
        await self.ends[-1].close(code, reason)
        with pytest.raises(TransportClosed) as closed:
            await transport.recv()
        return closed.value


async def test_each_dial_has_a_fresh_token_and_proves_its_id() -> None:
    relay = FakeRelay()
    tunnel = Tunnel("listen", "browser1", "orchestrator", relay)
    await tunnel()
    await tunnel()
    assert relay.wishes == [
        {"op": "listen", "id": "browser1", "target": "orchestrator", "secret": ""},
        {"op": "listen", "id": "browser1", "target": "orchestrator", "secret": "r"},
    ]
    assert relay.opened == [
        ("listen/browser1/orchestrator", ("amrpc.v1", "amtok.t1")),
        ("listen/browser1/orchestrator", ("amrpc.v1", "amtok.t2")),
    ]


async def test_tunnels_that_are_opened_together_ask_with_one_request_and_are_refused_one_by_one() -> None:
    relay = FakeRelay()
    refusal = {"status": 404, "code": "TARGET", "message": "nothing here answers listen for this id and target"}
    relay.answers.append((200, [{"token": "t1", "resume": "r1"}, refusal, {"token": "t3", "resume": "r3"}]))
    tunnels = [Tunnel("dial", "a", "b", relay), Tunnel("listen", "a", "c", relay), Tunnel("dial", "d", "b", relay)]
    first, second, third = await asyncio.gather(*(tunnel() for tunnel in tunnels), return_exceptions=True)
    assert isinstance(first, Connected)
    assert isinstance(second, Refused)
    assert (second.code, second.name) == (4404, "TARGET")
    assert isinstance(third, Connected)
    assert len(relay.wishes) == 1
    assert [names for _, names in relay.opened] == [("amrpc.v1", "amtok.t1"), ("amrpc.v1", "amtok.t3")]
    assert relay.kept == {"a": "r1", "d": "r3"}


async def test_a_target_with_slashes_is_one_part_of_the_path() -> None:
    relay = FakeRelay()
    await Tunnel("dial", "a", "host:1/x y", relay)()
    assert relay.opened[0][0] == "dial/a/host%3A1%2Fx%20y"


async def test_messages_pass_and_states_follow() -> None:
    relay = FakeRelay()
    tunnel = Tunnel("dial", "a", "b", relay)
    transport = await tunnel()
    assert tunnel.machine.active_states() == ("Open",)
    assert transport.peer.kind == "memory"
    await transport.send(b"there")
    assert await relay.ends[0].recv() == b"there"
    await relay.ends[0].send(b"back")
    assert await transport.recv() == b"back"
    await transport.close(1000, "done")
    assert transport.closed
    assert tunnel.machine.active_states() == ()


async def test_a_transport_that_hands_messages_over_does_so_in_a_tunnel_too() -> None:
    class FakeSockets(FakeRelay):
        async def connect(self, path: str, subprotocols: tuple[str, ...]) -> Any:
            page, self.here = (PortTransport(wire) for wire in wires())
            return page

    relay = FakeSockets()
    tunnel = Tunnel("listen", "a", "b", relay)
    refusal = await _refused(relay, tunnel)
    assert (tunnel.refused, tunnel.refusals) == (refusal, 1)
    transport = await tunnel()
    assert isinstance(transport, DirectlyConnected)
    got: list[bytes] = []
    arrived = asyncio.Event()

    def take(messages: list[bytes]) -> int:
        assert not tunnel.refusals, "the relay let us in, before anything is done with what it sent"
        got.extend(messages)
        arrived.set()
        return len(messages)

    transport.deliver(take)
    assert transport.send_now([b"there"])
    assert await relay.here.recv() == b"there"
    await relay.here.send(b"back")
    await arrived.wait()
    assert got == [b"back"]
    transport.deliver(None)
    await relay.here.send(b"again")
    assert await transport.recv() == b"again"
    transport.deliver(take)
    await relay.here.close(4409, "DUPLICATE: taken")
    with pytest.raises(Refused, match="taken"):
        await transport.recv()
    assert tunnel.refusals == 1


async def _refused(relay: Any, tunnel: Tunnel) -> TransportClosed:
    transport = await tunnel()
    await relay.here.close(4409, "DUPLICATE: taken")
    with pytest.raises(TransportClosed) as closed:
        await transport.recv()
    return closed.value


async def test_a_refusal_is_typed_and_readable() -> None:
    relay = FakeRelay()
    tunnel = Tunnel("listen", "a", "b", relay)
    closed = await relay.refuse(tunnel, 4409, "DUPLICATE: this id is taken; close its other tab")
    assert isinstance(closed, Refused)
    assert (closed.code, closed.name, closed.hint) == (4409, "DUPLICATE", "this id is taken; close its other tab")
    assert tunnel.machine.err is closed
    assert tunnel.machine.active_states() == ("Exception", "ErrRefused")


async def test_after_three_refusals_it_gives_up_until_it_is_told_to_retry() -> None:
    relay = FakeRelay()
    tunnel = Tunnel("listen", "a", "b", relay)
    for _ in range(3):
        assert TunnelStates.GaveUp not in tunnel.machine
        await relay.refuse(tunnel, 4403, "FORBIDDEN: you are not granted this id and target")
    assert TunnelStates.GaveUp in tunnel.machine
    depths = []
    for _ in range(3):
        with pytest.raises(Refused, match="FORBIDDEN") as refused:
            await tunnel()
        depths.append(len(refused.traceback))
    assert len({*depths}) == 1, "the same error is raised again, and must not grow"
    assert len(relay.wishes) == 3
    tunnel.retry()
    transport = await tunnel()
    await relay.ends[-1].send(b"hello")
    await transport.recv()
    assert tunnel.machine.active_states() == ("Open",)


async def test_only_refusals_in_a_row_count() -> None:
    relay = FakeRelay()
    tunnel = Tunnel("listen", "a", "b", relay)
    for _ in range(2):
        await relay.refuse(tunnel, 4403, "FORBIDDEN: not you")
        await relay.refuse(tunnel, 4403, "FORBIDDEN: not you")
        transport = await tunnel()
        await relay.ends[-1].send(b"hello")
        await transport.recv()
        await relay.ends[-1].close(1001, "SHUTDOWN: the relay stops; dial again")
        with pytest.raises(TransportClosed):
            await transport.recv()
    assert TunnelStates.GaveUp not in tunnel.machine


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (4409, "DUPLICATE: taken"),
        (1009, "TOO_LARGE: 1048577 bytes"),
        (1003, "TEXT: send binary messages"),
        (4400, "BAD_FRAME: no message"),
    ],
)
async def test_every_reason_of_the_relay_is_readable(code: int, reason: str) -> None:
    relay = FakeRelay()
    closed = await relay.refuse(Tunnel("dial", "a", "b", relay), code, reason)
    assert isinstance(closed, Refused)
    assert f"{closed.code} {closed.name}: {closed.hint}" == f"{code} {reason}"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1001, "SHUTDOWN: the relay stops"),
        (4409, "DUPLICATE: this id is taken"),
        (4429, "LIMIT: wait"),
        (4408, "DEADLINE: idle"),
        (1006, ""),
    ],
)
@in_virtual_time
async def test_what_passes_is_never_a_reason_to_give_up(code: int, reason: str) -> None:
    relay = FakeRelay()
    tunnel = Tunnel("listen", "a", "b", relay)
    for _ in range(10):
        await relay.refuse(tunnel, code, reason)
        await asyncio.sleep(PAUSE)
    assert TunnelStates.GaveUp not in tunnel.machine


@in_virtual_time
async def test_what_passes_is_asked_for_at_once_three_times_and_then_every_few_seconds() -> None:
    relay = FakeRelay()
    tunnel = Tunnel("listen", "a", "b", relay)
    for _ in range(3):
        await relay.refuse(tunnel, 4409, "DUPLICATE: this id is taken")
    begun = asyncio.get_running_loop().time()
    while len(relay.wishes) == 3:
        with pytest.raises(Refused, match="DUPLICATE"):
            await tunnel()
        await asyncio.sleep(0.5)
        if asyncio.get_running_loop().time() - begun >= PAUSE:
            await relay.refuse(tunnel, 4409, "DUPLICATE: this id is taken")
    assert asyncio.get_running_loop().time() - begun == PAUSE
    assert tunnel.refusals == 4
    tunnel.retry()  # somebody looks at the page
    assert not (await tunnel()).closed


async def test_a_refusal_is_forgotten_when_the_relay_lets_it_in() -> None:
    relay = FakeRelay()
    tunnel = Tunnel("listen", "a", "b", relay)
    await relay.refuse(tunnel, 4409, "DUPLICATE: this id is taken")
    assert tunnel.refusals == 1
    transport = await tunnel()
    await relay.ends[-1].send(b"hello")
    await transport.recv()
    assert tunnel.refused is None
    assert not tunnel.refusals
    assert tunnel.machine.active_states() == ("Open",)


async def test_a_refused_token_is_a_refusal() -> None:
    relay = FakeRelay()
    tunnel = Tunnel("dial", "a", "b", relay)
    relay.answers.append((403, {"code": "FORBIDDEN", "message": "you are not granted this id and target"}))
    with pytest.raises(Refused) as refused:
        await tunnel()
    assert (refused.value.code, refused.value.name) == (4403, "FORBIDDEN")
    assert tunnel.machine.active_states() == ("Exception", "ErrRefused")
    assert not relay.opened


@pytest.mark.parametrize(("status", "name"), [(401, "AUTH"), (403, "FORBIDDEN"), (429, "LIMIT")])
async def test_a_refusal_without_a_reason_of_ours_is_one_too(status: int, name: str) -> None:
    """A proxy before the relay wants a login, or counts."""
    relay = FakeRelay()
    tunnel = Tunnel("dial", "a", "b", relay)
    relay.answers.append((status, "<html>no"))
    with pytest.raises(Refused, match=f"the server answered {status} without a reason") as refused:
        await tunnel()
    assert refused.value.name == name


async def test_a_relay_that_stops_refuses_nothing() -> None:
    relay = FakeRelay()
    tunnel = Tunnel("dial", "a", "b", relay)
    relay.answers.append((503, {"code": "SHUTDOWN", "message": "the relay stops; dial again"}))
    with pytest.raises(TransportClosed, match="the relay stops") as closed:
        await tunnel()
    assert not isinstance(closed.value, Refused)
    assert tunnel.machine.active_states() == ()


async def test_a_refusal_may_come_before_the_socket_is_handed_over() -> None:
    class Hasty(FakeRelay):
        async def connect(self, path: str, subprotocols: tuple[str, ...]) -> MemoryTransport:
            raise TransportClosed(4409, "DUPLICATE: this id is taken")

    tunnel = Tunnel("listen", "a", "b", Hasty())
    with pytest.raises(Refused, match="DUPLICATE"):
        await tunnel()
    assert set(tunnel.machine.active_states()) == {"Exception", "ErrRefused"}


@in_virtual_time
async def test_what_answers_without_being_a_relay_is_told_once_and_asked_every_few_seconds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A server of files answers 404, 405 or 501, one of a single-page application its page."""
    relay = FakeRelay()
    tunnel = Tunnel("dial", "a", "b", relay)
    for answer in [(404, "<html>no"), (501, ""), (200, "<!doctype html>"), (200, {"resume": "r"}), (405, "[]")]:
        relay.answers.append(answer)
    for answered in (404, 501, 200):
        assert not caplog.records
        with pytest.raises(Refused, match=f"token, which answered {answered}: is AM_RELAY right") as refused:
            await tunnel()
        assert refused.value.name == "NO_RELAY"
    hint = "no relay is at http://localhost:8080/app/token, which answered 200: is AM_RELAY right?"
    assert [record.getMessage() for record in caplog.records] == [f"tunnel-dial-a: {hint}"]
    assert tunnel.machine.active_states() == ("Exception", "ErrRefused")
    with pytest.raises(Refused):
        await tunnel()
    assert len(relay.wishes) == 3  # it is left alone for a while
    for _ in range(2):
        await asyncio.sleep(PAUSE)
        with pytest.raises(Refused):
            await tunnel()
    assert len(caplog.records) == 1
    await asyncio.sleep(PAUSE)  # the relay is there
    transport = await tunnel()
    await relay.ends[-1].send(b"hello")
    await transport.recv()
    assert tunnel.machine.active_states() == ("Open",)
    assert tunnel.refused is None
    relay.answers += [(404, "")] * 3
    for _ in range(3):
        with pytest.raises(Refused):
            await tunnel()
    assert len(caplog.records) == 2


@pytest.mark.parametrize("answer", [(502, "<html>bad gateway"), (503, {"resume": "r"}), (504, "[]"), (500, "null")])
async def test_a_proxy_whose_relay_is_away_is_a_lost_connection(answer: tuple[int, Any]) -> None:
    relay = FakeRelay()
    tunnel = Tunnel("dial", "a", "b", relay)
    relay.answers.append(answer)
    with pytest.raises(TransportClosed, match=f"answered {answer[0]} without a token") as closed:
        await tunnel()
    assert not isinstance(closed.value, Refused)
    assert tunnel.machine.active_states() == ()


async def test_leaving_closes_at_once() -> None:
    relay = FakeRelay()
    tunnel = Tunnel("dial", "a", "b", relay)
    transport = await tunnel()
    tunnel.leave()
    assert transport.closed
    assert tunnel.machine.active_states() == ()
    with pytest.raises(TransportClosed, match="the page was left"):
        await relay.ends[0].recv()


async def test_a_page_that_is_left_does_not_dial_again_until_it_is_back() -> None:
    relay = FakeRelay()
    tunnel = Tunnel("dial", "a", "b", relay)
    tunnel.leave()
    with pytest.raises(TransportClosed, match="the page was left") as closed:
        await tunnel()
    assert not isinstance(closed.value, Refused)
    assert not relay.wishes
    tunnel.retry()
    assert not (await tunnel()).closed


async def test_a_page_that_is_left_while_it_dials_opens_nothing() -> None:
    class Slow(FakeRelay):
        async def post(self, path: str, body: str) -> tuple[int, str]:
            tunnel.leave()
            return await super().post(path, body)

    relay = Slow()
    tunnel = Tunnel("dial", "a", "b", relay)
    with pytest.raises(TransportClosed, match="the page was left"):
        await tunnel()
    assert not relay.opened
    assert tunnel.machine.active_states() == ()


async def test_the_end_of_an_old_connection_does_not_touch_the_new_one() -> None:
    relay = FakeRelay()
    tunnel = Tunnel("dial", "a", "b", relay)
    old = await tunnel()
    new = await tunnel()
    assert isinstance(new, Connected)
    await relay.ends[0].close(4409, "DUPLICATE: its owner opened this id again")
    with pytest.raises(Refused):
        await old.recv()
    assert tunnel.machine.active_states() == ("Open",)
