"""Typed records from strangers: handlers believe in the types of their fields, and nobody hears of other states'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.values import EXT_ARGS, TypedArgs, encode_value
from tests.rpc.behaviour import below, paired
from tests.rpc.nets import MemoryNet
from tests.rpc.test_server import Raw, Served, served


class Shop(rpc.StateSource):
    Order = am.state(multi=True, add="Paid")
    Paid = am.state(multi=True)
    Admin = am.state(multi=True)
    Rated = am.state(multi=True)


@dataclass(frozen=True)
class Item(am.Args, state="Order", prefix="records"):
    count: int


@dataclass(frozen=True)
class Payment(am.Args, state="Paid", prefix="records"):
    cents: int


@dataclass(frozen=True)
class Vault(am.Args, state="Admin", prefix="records"):
    master_word: str


@dataclass(frozen=True)
class Stars(am.Args, state="Rated", prefix="records"):
    count: int


@dataclass(frozen=True)
class Disguised(am.Args, state="Admin__Order", prefix="records"):
    """Whose key may be said in two ways, of which one ends with the called state."""

    launch_code: int


@dataclass(frozen=True)
class Elsewhere(am.Args, state="Rocket", prefix="records"):
    """Of a state that the shop does not have: a record for several states, or that of another machine."""

    launch_code: int


@dataclass(frozen=True)
class Remark(am.Args, prefix="records"):
    """Of no state."""

    text: str = ""


def ext(prefix: str, state: str, **fields: Any) -> msgspec.msgpack.Ext:
    """A record as a stranger may send it."""
    return msgspec.msgpack.Ext(
        EXT_ARGS, encode_value(TypedArgs(prefix, state, msgspec.Raw(msgspec.msgpack.encode(fields))))
    )


async def answer(on: Served, client: Raw, *states: str, args: Any) -> m.AnyMessage:
    """What comes of a call with these arguments."""
    (known,) = on.server._clients
    last = known.connection.session.requests.last
    await client.say(m.Add(last + 1, tuple(known.exposure.names.index(state) for state in states), args))
    return await client.hear()


SMUGGLED = {
    "fields of a wrong type under the name of the record": {Item.key: {"count": "DROP TABLE"}},
    "fields of the right type": {Item.key: {"count": 1}},
    "something else under that name": {Item.key: "boom"},
    "a name that a record may get later": {"records__Later": {"count": 1}},
    "a record under a name": {"item": ext("records", "Order", count=1)},
    "a record under its own name": {Item.key: ext("records", "Order", count=1)},
    "a record in a list": {"items": [1, [ext("records", "Order", count=1)]]},
    "a record in a map": {"items": [1, {"first": {"a": ext("records", "Order", count=1)}}]},
}


@pytest.mark.parametrize("args", SMUGGLED.values(), ids=SMUGGLED.keys())
async def test_what_stands_in_the_place_of_a_record_comes_to_no_handler(args: Any) -> None:
    async with served(states=Shop) as on:
        client = on.client()
        await client.handshake()
        refused = await answer(on, client, "Order", args=args)
        assert isinstance(refused, m.Error)
        assert refused.code == "BAD_ARGS"
        assert on.source.tick("Order") == on.source.tick("Exception") == 0
        done = await answer(on, client, "Order", args={0: ext("records", "Order", count=1), "more": [{"a": [b"x"]}]})
        assert isinstance(done, m.Result)
        assert on.source.tick("Order") == 1


async def test_fields_in_the_place_of_a_record_are_sent_as_that_record() -> None:
    got: list[Item] = []
    async with paired(MemoryNet(), Shop, {"OrderState": lambda e: got.append(e.args(Item))}, schema=Shop) as pair:
        await pair.mirror.add("Order", {Item.key: {"count": 2}})
        assert got == [Item(2)]
        for wrong, told in (
            ({Item.key: {"count": "2"}}, "Item would not be accepted"),
            ({Item.key: {"size": 2}}, "unexpected keyword argument 'size'"),
            ({Item.key: 2}, "those of typed records, send one"),
            ({"no__Record": {}}, "those of typed records, send one"),
        ):
            with pytest.raises(rpc.Unsendable, match=told):
                await pair.mirror.add("Order", wrong)


def allow(id: str, token: str, peer: rpc.Peer) -> rpc.Grants:
    return rpc.Grants(mutate=("Order", "Paid"), read=("Order", "Paid", "Rated", "Exception"))


@pytest.mark.parametrize(
    "record",
    [
        ext("records", "Admin"),
        ext("records", "Admin", master_word=1),
        ext("records", "Admin", master_word="x"),
        ext("records", "Rated", count=5),
        ext("records", "Rocket"),
        ext("_am", "Exception", err=1),
        ext("records__Admin", "Order"),
    ],
    ids=["lacking", "wrong", "complete", "only seen", "lacking elsewhere", "an error", "disguised"],
)
async def test_records_of_states_that_it_may_not_call_are_as_if_they_did_not_exist(record: Any) -> None:
    async with served(states=Shop, allow=allow) as on:
        client = on.client()
        await client.handshake()
        refused = await answer(on, client, "Order", args={0: record})
        unknown = await answer(on, client, "Order", args={0: ext("no", "Such")})
        assert isinstance(refused, m.Error)
        assert isinstance(unknown, m.Error)
        assert refused.code == unknown.code == "BAD_ARGS"
        assert refused.message.partition("' is ")[2] == unknown.message.partition("' is ")[2] != ""
        assert on.source.tick("Order") == 0


async def test_fields_of_records_of_other_machines_are_not_told_even_to_one_that_may_do_everything() -> None:
    async with served(states=Shop) as on:
        client = on.client()
        await client.handshake()
        refused = await answer(on, client, "Order", args={0: ext("records", "Rocket")})
        assert isinstance(refused, m.Error)
        assert "no record class for 'records__Rocket' is taken here" in refused.message
        assert "launch_code" not in refused.message


async def test_records_of_what_a_call_implies_and_of_no_state_of_the_source_are_taken() -> None:
    got: list[Any] = []
    handlers = {"PaidState": lambda e: got.extend((e.args(Payment), e.args(Remark), e.args(Elsewhere)))}
    async with paired(MemoryNet(), Shop, handlers, schema=None, client={"no_schema": True}, allow=allow) as pair:
        await pair.mirror.add("Order", [Item(1), Payment(99), Remark("now"), Elsewhere(5)])
        assert got == [Payment(99), Remark("now"), Elsewhere(5)]
        waited = pair.mirror.when_args("Order", [Item(3), Remark("later")])
        await pair.mirror.add("Order", [Item(3), Remark("later")])
        await waited


async def test_what_does_not_fit_in_a_record_of_no_state_is_told() -> None:
    async with served(states=Shop) as on:
        client = on.client()
        await client.handshake()
        refused = await answer(on, client, "Order", args={0: ext("records", "Any", text=5)})
        assert isinstance(refused, m.Error)
        assert refused.code == "BAD_ARGS"
        assert "records__Any: Expected `str`, got `int`" in refused.message


async def test_the_error_of_a_source_is_set_by_who_adds_an_error_and_by_nobody_else() -> None:
    planted = rpc.RemoteError("RuntimeError", "planted")
    async with (
        paired(MemoryNet(), Shop, schema=Shop) as pair,
        below(MemoryNet(), pair.mirror, Shop) as leaf,
    ):
        for mirror in (pair.mirror, leaf):
            await mirror.add("Order", {am.ErrorArgs.key: am.ErrorArgs(planted)})
            assert pair.source.err is None
        await leaf.add_err(planted)
        assert pair.source.err == planted
