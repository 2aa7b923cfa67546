"""Options that cannot be are refused where they are given; what an application does wrong later is told to the log."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.greeting import Greeting
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.states import MuxStates as M
from asyncmachine.rpc.states import ServerStates as S
from asyncmachine.rpc.transport import Transport
from asyncmachine.rpc.transport.memory import pair
from tests.rpc.behaviour import QUICK, Basic, Taking, paired
from tests.rpc.nets import NETS
from tests.rpc.test_client import told

NOWHERE = "tcp://127.0.0.1:1"


def source() -> am.Machine[Any]:
    return am.Machine(Basic, id="source")


async def waits(id: str, token: str, peer: rpc.Peer) -> rpc.Grants:
    return rpc.Grants()


class Waits:
    async def __call__(self, id: str, token: str, peer: rpc.Peer) -> rpc.Grants:
        return rpc.Grants()


OF_SERVERS = {
    "no clients": ({"clients": 0}, "clients is a whole number from 1 on, got 0"),
    "half a client": ({"clients": 1.5}, "clients is a whole number"),
    "an interval before it": ({"push_interval": -1}, "push_interval is a number of seconds, at least 0: -1"),
    "an interval that is no number": ({"push_interval": float("nan")}, "push_interval is a number of seconds"),
    "an interval as a text": ({"push_interval": "1"}, "push_interval is a number of seconds, at least 0: '1'"),
    "nothing to send": ({"max_payload": 0}, "max_payload is a whole number from 1 on"),
    "an empty chunk": ({"chunk": 0}, "a chunk has 1 to"),
    "a class for several": ({"args": Basic}, "args takes several classes of typed records"),
    "other classes": ({"args": [Basic]}, "args takes several classes of typed records"),
    "a decision to wait for": ({"allow": waits}, "allow is called and not awaited"),
    "an object to wait for": ({"allow": Waits()}, "allow is called and not awaited"),
    "a decision made before": ({"allow": True}, "allow is a function, got True"),
    "a number for times": ({"timing": 5}, r"timing is one of rpc\.Timing, or None, got 5"),
    "a word for whether": ({"compression": "zlib"}, "compression is True, False or None, got 'zlib'"),
}


@pytest.mark.parametrize(("options", "why"), OF_SERVERS.values(), ids=OF_SERVERS.keys())
async def test_what_no_server_can_be_made_with(options: dict[str, Any], why: str) -> None:
    for made in (lambda: rpc.Server(source(), **options), lambda: rpc.Mux(source(), NOWHERE, **options)):
        with pytest.raises(am.InvalidArgs, match=why):
            made()


async def test_what_a_server_or_a_mux_is_not_made_with() -> None:
    for made, why in (
        (lambda: rpc.Server(source(), sessions=3), r"sessions is one of rpc\.sessions\.Sessions, or None, got 3"),  # type: ignore[arg-type]
        (lambda: rpc.Server(source(), backoff=3), r"backoff is one of rpc\.Backoff, or None, got 3"),  # type: ignore[arg-type]
        (lambda: rpc.Server(source(), parent="x"), "parent is a machine or a mirror, or None, got 'x'"),  # type: ignore[arg-type]
        (lambda: rpc.Server(source()).listen(5), "dial is a function that connects, got 5"),  # type: ignore[arg-type]
        (lambda: rpc.Server(source()).serve_at(5), "listen is an address as a text, or a function that"),  # type: ignore[arg-type]
        (lambda: rpc.Mux(source(), 5), "listen is an address as a text, or a function that opens a listener, got 5"),  # type: ignore[arg-type]
        (lambda: rpc.Mux(source(), NOWHERE, parent="x"), "parent is a machine or a mirror"),  # type: ignore[arg-type]
        (lambda: rpc.Mux(source(), NOWHERE, backoff=3), r"backoff is one of rpc\.Backoff"),  # type: ignore[arg-type]
    ):
        with pytest.raises(am.InvalidArgs, match=why):
            made()


async def test_the_limit_of_a_mux_that_is_set_later_is_looked_at_too() -> None:
    mux = rpc.Mux(source(), NOWHERE)
    for wrong in (-5, 0, "many"):
        with pytest.raises(am.InvalidArgs, match="limit is a whole number from 1 on"):
            mux.limit = wrong  # type: ignore[assignment]
    mux.limit = 2
    assert mux.limit == 2


async def test_an_interval_that_is_set_later_is_looked_at_too() -> None:
    server = rpc.Server(source())
    for wrong in (-1, "1", float("nan")):
        with pytest.raises(am.InvalidArgs, match="push_interval is a number of seconds"):
            server.push_interval = wrong  # type: ignore[assignment]
    server.push_interval = 0
    assert server.push_interval == 0


async def test_names_are_texts_and_places_are_counted() -> None:
    for made, why in (
        (lambda: rpc.Server(source(), 5), "name is a text, got 5"),  # type: ignore[arg-type]
        (lambda: rpc.Server(source(), strangers=-1), "strangers is a whole number from 0 on"),
        (lambda: rpc.Mux(source(), NOWHERE, 5), "name is a text, got 5"),  # type: ignore[arg-type]
        (lambda: rpc.Mux(source(), NOWHERE, limit=0), "limit is a whole number from 1 on"),
        (lambda: rpc.Mux(waits, NOWHERE), "is called and not awaited"),  # type: ignore[arg-type]
        (lambda: rpc.Mux(Basic.A, NOWHERE), "is a function, got"),  # type: ignore[arg-type]
    ):
        with pytest.raises(am.InvalidArgs, match=why):
            made()


async def test_options_of_a_mux_have_names_that_there_are() -> None:
    with pytest.raises(TypeError, match="no option 'push_intervall'; did you mean 'push_interval'"):
        rpc.Mux(source(), NOWHERE, push_intervall=1)
    with pytest.raises(TypeError, match="no option 'sessions'"):
        rpc.Mux(source(), NOWHERE, sessions=None)


OF_CLIENTS = {
    "a number for a name": ({"id": 5}, am.InvalidArgs, "id is a text, got 5"),
    "no time to dial": ({"dial_timeout": 0}, am.InvalidArgs, "dial_timeout is a number of seconds, more than 0: 0"),
    "payloads of less than nothing": ({"max_payload": -1}, am.InvalidArgs, "max_payload is a whole number from 0 on"),
    "a number for times": ({"timing": 5}, am.InvalidArgs, r"timing is one of rpc\.Timing, or None, got 5"),
    "a number for pauses": ({"backoff": 3}, am.InvalidArgs, r"backoff is one of rpc\.Backoff, or None, got 3"),
    "a name for a parent": ({"parent": "x"}, am.InvalidArgs, "parent is a machine or a mirror, or None, got 'x'"),
    "a name for a consumer": ({"consumer": "x"}, am.InvalidArgs, "consumer is a machine, or None, got 'x'"),
    "a word for whether": ({"compression": "zlib"}, am.InvalidArgs, "compression is True, False or None, got 'zlib'"),
    "a state that is not there": ({"allowed": ["Aks"]}, am.StateMissing, "'Aks' .did you mean 'Ask'"),
    "to skip what is not there": ({"skipped": ["Nope"]}, am.StateMissing, "'Nope'"),
}


@pytest.mark.parametrize(("options", "error", "why"), OF_CLIENTS.values(), ids=OF_CLIENTS.keys())
async def test_what_no_client_can_be_made_with(options: dict[str, Any], error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        rpc.Client(NOWHERE, Basic, **options)
    if error is am.StateMissing:
        rpc.Client(NOWHERE, **options)  # of a source whose states are asked for nobody knows them yet


async def test_a_client_has_somewhere_to_go_and_a_schema_that_is_one() -> None:
    with pytest.raises(am.InvalidArgs, match="dial is an address as a text, or a function that connects, got 5"):
        rpc.Client(5)  # type: ignore[arg-type]
    for wrong in ("x", 5, int):
        with pytest.raises(am.InvalidArgs, match="schema is a class of states, or a mapping of states, got"):
            rpc.Client(NOWHERE, wrong)  # type: ignore[arg-type, type-var]


BACKOFFS = {
    "a pause before it": ({"first": -1}, "first is a number of seconds, more than 0: -1"),
    "no pause": ({"first": 0}, "first is a number of seconds, more than 0: 0"),
    "no longest pause": ({"cap": 0.0}, "cap is a number of seconds, more than 0"),
    "no attempts to count": ({"tries": 1.5}, "tries is a whole number from 0 on, got 1.5"),
    "less than no time": ({"total": -1}, "total is a number of seconds, at least 0"),
    "pauses below nothing": ({"jitter": 5}, "jitter is a share from 0 to 1, got 5"),
    "no number for a share": ({"jitter": float("nan")}, "jitter is a share from 0 to 1"),
    "no pause for the eager": ({"eager_cap": 0}, "eager_cap is a number of seconds, more than 0"),
    "eager before it": ({"eager_for": -1}, "eager_for is a number of seconds, at least 0"),
}


@pytest.mark.parametrize(("options", "why"), BACKOFFS.values(), ids=BACKOFFS.keys())
def test_pauses_that_no_back_off_has(options: dict[str, Any], why: str) -> None:
    with pytest.raises(am.InvalidArgs, match=why):
        rpc.Backoff(**options)
    assert rpc.Backoff(tries=0, total=0, jitter=0).delay(0, 0.0) is None


def test_a_peer_is_asked_before_it_counts_as_gone() -> None:
    """Else a connection on which all is well, and nothing has to be said, would end."""
    for silence, dead in ((0.2, 0.1), (15.0, 15.0), (60.0, 45.0)):
        with pytest.raises(am.InvalidArgs, match="dead is more than silence, after which the peer is asked: got"):
            rpc.Timing(silence=silence, dead=dead)
    assert rpc.Timing(silence=float("inf"), dead=float("inf")).dead == float("inf")


def test_times_are_numbers_and_not_negative() -> None:
    for value in (-5, float("nan"), "1"):
        with pytest.raises(am.InvalidArgs, match="keep is a number of seconds, at least 0"):
            rpc.Timing(keep=value)  # type: ignore[arg-type]
    assert rpc.Timing(keep=0, doubt=None).keep == 0


NO_LIMITS = ["3", -1, float("nan"), float("inf"), 1e30]
"""Of time."""


async def test_a_payload_with_a_limit_that_is_none_is_not_kept_and_the_server_goes_on() -> None:
    taking = Taking()
    consumer: am.Machine[Any] = am.Machine(Basic, taking, id="consumer")
    async with NETS["memory"]() as net, paired(net, consumer=consumer) as both:
        for within in NO_LIMITS:
            with pytest.raises(am.InvalidArgs, match="within is a number of seconds from 0 to 1e"):
                both.server.send_payload("x", 1, within=within)  # type: ignore[arg-type]
        net.cut()
        await both.client.machine.when_not(C.Ready)
        await both.client.when_ready()
        assert (await both.server.send_payload("x", 2, within=60)).executed
        assert [got.data for got in taking.got] == [2]


async def test_a_call_with_a_limit_that_is_none_is_refused_where_it_is_given() -> None:
    async with NETS["memory"]() as net, paired(net) as both:
        for within in NO_LIMITS:
            with pytest.raises(am.InvalidArgs, match="within is a number of seconds from 0 to 1e"):
                both.mirror.within(within)  # type: ignore[arg-type]
        assert (await both.mirror.within(1e9).add("A")).executed


async def test_a_server_is_at_one_place_until_it_stops() -> None:
    server = rpc.Server(source())
    server.serve_at("tcp://127.0.0.1:0")
    with pytest.raises(rpc.Misuse, match="rs-rpc serves already: stop it first"):
        server.serve_at("tcp://127.0.0.1:0")
    with pytest.raises(rpc.Misuse, match="rs-rpc serves already"):
        server.listen(nothing)
    await server.stop()
    server.serve_at("tcp://127.0.0.1:0")
    await server.machine.when(S.RpcReady)
    await server.stop()


async def nothing() -> Transport:
    raise OSError


@pytest.mark.parametrize("said", [True, False, "yes", waits], ids=["yes", "no", "a text", "to be awaited"])
async def test_a_decision_that_is_neither_grants_nor_none_lets_nobody_in_and_is_told(
    said: Any, caplog: pytest.LogCaptureFixture
) -> None:
    mux = rpc.Mux(source(), "tcp://127.0.0.1:0", allow=lambda *who: said(*who) if callable(said) else said)
    mux.start()
    await mux.when_ready()
    client = rpc.Client(mux.address, Basic, id="one", backoff=QUICK)
    client.start()
    await client.machine.when_ticks(C.Exception, 1)
    assert C.HandshakeDone not in client.machine
    await client.stop()
    await mux.stop()
    (record, *_) = told(caplog)
    assert record.levelname == "ERROR"
    assert "allow returns rpc.Grants, or None to refuse" in record.getMessage()


@pytest.mark.parametrize("fault", ["nothing", "another thing", "that of another", "one that is over", "an error"])
async def test_a_function_that_makes_no_server_is_told_once_and_the_mux_goes_on(
    fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    over = rpc.Server(source(), "over")
    over.machine.dispose()
    made: list[rpc.Server] = []

    def new_server(name: str, peer: rpc.Peer) -> Any:
        if not made or fault == "right":
            made.append(rpc.Server(source(), name))
            return made[-1]
        faults = {"nothing": None, "another thing": 5, "that of another": made[0], "one that is over": over}
        return faults[fault]

    mux = rpc.Mux(new_server, "tcp://127.0.0.1:0", "shop")
    mux.start()
    await mux.when_ready()
    first = rpc.Client(mux.address, Basic, backoff=QUICK)
    first.start()
    await first.when_ready()
    second = rpc.Client(mux.address, Basic, backoff=QUICK)
    second.start()
    await second.machine.when_ticks(C.Exception, 3)
    assert mux.machine.is_(M.NewServerErr, M.Ready)
    assert mux.servers == {"shop-1": made[0]}
    assert [one.getMessage() for one in told(caplog) if one.levelno == logging.ERROR] == [
        "rm-shop cannot make a server for a connection"
    ]
    fault = "right"
    await second.when_ready()
    assert M.NewServerErr not in mux.machine
    for each in (first, second):
        await each.stop()
    await mux.stop()


async def test_a_failure_of_our_own_side_is_told_to_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("nobody expects this")

    monkeypatch.setattr(Greeting, "let_in", broken)
    server = rpc.Server(source())

    async def dial() -> Transport:
        near, far = pair()
        serving.append(asyncio.create_task(server.serve(near)))
        return far

    serving: list[asyncio.Task[Any]] = []
    client = rpc.Client(dial, Basic, backoff=QUICK)
    client.start()
    await client.machine.when_ticks(C.Exception, 1)
    await client.stop()
    await server.stop()
    (record, *_) = told(caplog)
    assert record.getMessage() == "a connection (memory) ends: this side has failed"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)
