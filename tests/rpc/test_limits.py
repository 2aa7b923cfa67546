"""What a receiver refuses is never sent: each limit of each field is known to the sender as well.

A field beyond its limit ends the connection, and what has put it there does so in the next one again. So texts that
explain something are clipped, what the application has named is refused where it is named, and the rest is ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import make_dataclass
from typing import Any, get_args

import pytest
from msgspec import inspect

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.machine.mutation import MutationSource
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.codec import _trimmed, decode, encode
from asyncmachine.rpc.compression import unpacked
from asyncmachine.rpc.errors import CallRefused, PeerFault, Unsendable
from asyncmachine.rpc.limits import clipped, listed
from asyncmachine.rpc.messages import LARGEST_CHUNK, NAME, TEXT
from asyncmachine.rpc.requests import Requests
from asyncmachine.rpc.session import Session
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.transport import Transport
from asyncmachine.rpc.values import encode_value
from tests.rpc.behaviour import Basic, Pair, paired
from tests.rpc.duo import Duo, ready
from tests.rpc.nets import memory

Path = tuple[str, ...]
Sized = inspect.StrType | inspect.BytesType | inspect.VarTupleType


# Every limit, found in the types of the messages


def limits_of(kind: inspect.Type, path: Path = ()) -> Iterator[tuple[Path, Sized]]:
    """Where a kind of value holds something of a limited length, and what that is."""
    if isinstance(kind, Sized) and (kind.max_length, kind.min_length) != (None, None):
        yield path, kind
    match kind:
        case inspect.StructType():
            for field in kind.fields:
                yield from limits_of(field.type, (*path, field.name))
        case inspect.UnionType():
            for each in kind.types:
                yield from limits_of(each, path)
        case inspect.VarTupleType() | inspect.ListType():
            yield from limits_of(kind.item_type, (*path, "[]"))
        case inspect.DictType():
            yield from limits_of(kind.key_type, (*path, "key"))
            yield from limits_of(kind.value_type, (*path, "value"))


def made(kind: inspect.Type, path: Path | None = None, value: Any = None) -> Any:
    """A value of this kind, as small as there is one, with another `value` where the path leads."""
    if path == ():
        return value
    inner = path[1:] if path else None
    match kind:
        case inspect.StructType():
            return kind.cls(
                **{
                    field.name: made(field.type, inner if path and path[0] == field.name else None, value)
                    for field in kind.fields
                    if field.required or (path and path[0] == field.name)
                }
            )
        case inspect.UnionType():
            return made(next(each for each in kind.types if not isinstance(each, inspect.NoneType)), path, value)
        case inspect.VarTupleType():
            return (made(kind.item_type, inner, value),) if path else ()
        case inspect.ListType():
            return [made(kind.item_type, inner, value)] if path else []
        case inspect.TupleType():
            return tuple(made(each) for each in kind.item_types)
        case inspect.DictType() if path:
            at_key, at_value = (inner if path[0] == where else None for where in ("key", "value"))
            return {made(kind.key_type, at_key, value): made(kind.value_type, at_value, value)}
        case inspect.DictType():
            return {}
        case inspect.StrType():
            return "x" * (kind.min_length or 0)
        case inspect.BytesType():
            return b"x" * (kind.min_length or 0)
        case inspect.LiteralType():
            return kind.values[0]
        case inspect.IntType():
            return 0
        case _:
            return None


def sized(kind: Sized, length: int) -> Any:
    if isinstance(kind, inspect.VarTupleType):
        return (made(kind.item_type),) * length
    return "x" * length if isinstance(kind, inspect.StrType) else b"x" * length


KINDS = {kind.__name__: inspect.type_info(kind) for kind in get_args(m.AnyMessage)}
LIMITS = [(name, path, limit) for name, kind in KINDS.items() for path, limit in limits_of(kind)]


@pytest.mark.parametrize(("name", "path", "limit"), LIMITS, ids=[".".join((name, *path)) for name, path, _ in LIMITS])
def test_both_sides_know_each_limit(name: str, path: Path, limit: Sized) -> None:
    assert limit.max_length is not None
    for length in {limit.min_length or 0, limit.max_length}:
        message = made(KINDS[name], path, sized(limit, length))
        assert encode(decode(encode(message))) == encode(message)
    for length in {(limit.min_length or 1) - 1, limit.max_length + 1} - {0 if not limit.min_length else -1}:
        message = made(KINDS[name], path, sized(limit, length))
        with pytest.raises(PeerFault, match="not a message: Expected"):
            decode(encode_value(_trimmed(message)))
        with pytest.raises(Unsendable, match=rf"the {path[0]} of {name} would be refused where it arrives"):
            encode(message)


@pytest.mark.parametrize(("name", "field"), [("Payload", "meta"), ("Error", "details")])
def test_both_sides_know_where_keys_are_texts(name: str, field: str) -> None:
    message = made(KINDS[name], (field,), {1: "x"})
    with pytest.raises(PeerFault):
        decode(encode_value(_trimmed(message)))
    with pytest.raises(Unsendable, match=f"the {field} of {name}"):
        encode(message)


# Texts that explain something


def told(say: Callable[[Duo], object], *, by: str = "server") -> m.AnyMessage:
    """The message that a session sends."""
    duo = ready()
    say(duo)
    return read(duo.server if by == "server" else duo.client)


def read(session: Session) -> m.AnyMessage:
    """The last message that it has put out."""
    message = decode(session.outgoing()[-1])
    return decode(unpacked(message.data)) if isinstance(message, m.Compressed) else message


def rejected(code: str, message: str) -> m.AnyMessage:
    duo = Duo()
    duo.client.hello(m.Hello("amrpc", (1, 1), "rc-x"))
    duo.to_server()
    duo.server.reject(code, message)
    return read(duo.server)


CLIPPED: dict[str, Callable[[str], m.AnyMessage]] = {
    "Reject.code": lambda text: rejected(text, ""),
    "Reject.message": lambda text: rejected("BUSY", text),
    "Bye.reason": lambda text: told(lambda duo: duo.server.bye(text)),
    "GoAway.reason": lambda text: told(lambda duo: duo.server.go_away(1, text)),
    "Result.reason": lambda text: told(lambda duo: duo.server.reply(1, False, duo.first, text)),
    "Error.code": lambda text: told(lambda duo: duo.server.refuse(1, CallRefused(text, ""))),
    "Error.message": lambda text: told(lambda duo: duo.server.refuse(1, CallRefused("RATE", text))),
    "Reply.code": lambda text: told(lambda duo: duo.server.answer(1, error=CallRefused(text, ""))),
    "Reply.message": lambda text: told(lambda duo: duo.server.answer(1, error=CallRefused("RATE", text))),
    "WhenFired.code": lambda text: told(lambda duo: duo.server.fired(1, 0, text)),
    "WhenFired.message": lambda text: told(lambda duo: duo.server.fired(1, 0, "RATE", text)),
    "PayloadNack.code": lambda text: told(lambda duo: duo.client.nack(b"t", text), by="client"),
    "PayloadNack.message": lambda text: told(lambda duo: duo.client.nack(b"t", "RATE", text), by="client"),
}


@pytest.mark.parametrize("field", CLIPPED)
def test_a_text_that_explains_is_clipped(field: str) -> None:
    name, _, of = field.partition(".")
    most = NAME if of == "code" else TEXT
    assert getattr(CLIPPED[field]("ß" * most), of) == "ß" * most
    message = CLIPPED[field]("ß" * (most + 1))
    assert (type(message).__name__, getattr(message, of)) == (name, "ß" * (most - 1) + "…")
    assert getattr(CLIPPED[field]("a file \udcff"), of) == r"a file \udcff"


def test_escapes_are_clipped_as_well() -> None:
    assert len(clipped("\udcff" * TEXT)) == TEXT


def test_details_that_cannot_be_sent_are_left_out() -> None:
    for details in ({"x": object()}, {1: "x"}, {"x": "x" * (2 << 20)}):
        refused = CallRefused("RATE", "slower", details=details)  # type: ignore[arg-type]
        assert told(lambda duo, refused=refused: duo.server.refuse(1, refused)) == m.Error(  # type: ignore[misc]
            1, "RATE", "slower", "ErrRpc"
        )


def test_what_is_remembered_of_a_refused_call_is_short() -> None:
    duo = ready()
    duo.client.call("add", (0,), None, None, 0.0)
    duo.to_server()
    duo.server.requests.answered(1, CallRefused("BAD_ARGS", "x" * 1_000_000))
    answer = duo.server.requests.answer(1)
    assert isinstance(answer, CallRefused)
    assert (answer.code, answer.message) == ("BAD_ARGS", "x" * (NAME - 1) + "…")
    duo.server.requests.answered(1, "x" * 1_000_000)
    assert duo.server.requests.answer(1) == "x" * (NAME - 1) + "…"


def test_an_error_that_is_remembered_holds_nothing_of_its_call() -> None:
    requests = Requests()
    requests.take(1)
    try:
        raise CallRefused("RATE", "too many", retryable=True)
    except CallRefused as error:
        requests.answered(1, error)
    kept = requests.answer(1)
    assert isinstance(kept, CallRefused)
    assert kept.__traceback__ is None, "whose frames hold its arguments"
    assert (kept.code, kept.message, kept.retryable) == ("RATE", "too many", True)


def test_a_text_lists_a_few_names() -> None:
    assert listed(["A", "B", "A"]) == "A, B"
    assert listed(f"S{i}" for i in range(500)) == "S0, S1, S2, S3, S4 and 495 more"


# What the application has named


async def nowhere() -> Transport:
    raise OSError


def client(**options: Any) -> None:
    rpc.Client(nowhere, **options).machine.dispose()


def late_token(token: str) -> None:
    found = rpc.Client(nowhere, id="x", token="before")
    try:
        found.token = token
    except Unsendable:
        assert found.token == "before"
        raise
    finally:
        found.machine.dispose()


def call(machine: str = "m", tx: str = "t", time: int = 0) -> None:
    found = rpc.Client(nowhere, Basic, id="x")
    try:
        found.netmach.add(Basic.A, e=MutationSource(machine, tx, time))
    except rpc.NotConnected:
        pass  # it can be sent, but for that
    finally:
        found.machine.dispose()


def payload(name: str = "n", **options: Any) -> None:
    server = rpc.Server(am.Machine({"A": {}}), clients=2)
    try:
        server.send_payload(name, None, **{"destination": "rc-x", **options})
    except rpc.RpcError:
        assert not len(server._sending._outbox)
        raise
    finally:
        server.machine.dispose()


def exposed(states: dict[str, Any], id: str = "source") -> None:
    rpc.Server(am.Machine(states, id=id)).machine.dispose()


NAMED: dict[str, Callable[[str], None]] = {
    "Hello.id": lambda text: client(id=text.removeprefix("xxx")),
    "Hello.token": late_token,
    "Sync.allowed.[]": lambda text: client(allowed=[text]),
    "Sync.skipped.[]": lambda text: client(skipped=[text]),
    "Source.machine": lambda text: call(machine=text),
    "Source.tx": lambda text: call(tx=text),
    "GrantList.mutate.[]": lambda text: void(rpc.Grants(mutate=(text,))),
    "GrantList.read.[]": lambda text: void(rpc.Grants(read=(text,))),
    "GrantList.payload.[]": lambda text: void(rpc.Grants(payload=(text,))),
    "Welcome.source": lambda text: exposed({"A": {}}, text),
    "Welcome.names.[]": lambda text: exposed({text: {}}),
    "Payload.name": lambda text: payload(text),
    "Payload.source": lambda text: payload(e=MutationSource(text, "t")),
    "Payload.source_tx": lambda text: payload(e=MutationSource("m", text)),
    "Payload.destination": lambda text: payload(destination=text),
}


def void(_: object) -> None:
    """Nothing is to be done with it."""


@pytest.mark.parametrize("field", NAMED)
def test_a_name_that_cannot_be_sent_is_refused_where_it_is_given(field: str) -> None:
    most = TEXT if field == "Hello.token" else NAME
    NAMED[field]("x" * most)
    with pytest.raises((Unsendable, am.SchemaError), match=f"Expected `str` of length <= {most}"):
        NAMED[field]("x" * (most + 1))
    with pytest.raises((Unsendable, am.SchemaError, am.InvalidArgs)):
        NAMED[field]("x\udcff")


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda: client(token="x" * (TEXT + 1)), "the token of Hello"),
        (lambda: client(allowed=[f"{i:0250}" for i in range(5000)]), "Hello takes"),
        (lambda: call(time=-1), "the source of the call, 'm'"),
        (lambda: payload(meta={1: "x"}), "meta has the key 1: its keys are texts"),
        (lambda: payload(meta={"x": "x" * (2 << 20)}), "Payload takes"),
    ],
)
def test_what_else_cannot_be_sent(act: Callable[[], None], text: str) -> None:
    with pytest.raises(Unsendable, match=text):
        act()


# Whole connections, which such a text or name would end again and again


@asynccontextmanager
async def refusing(**options: Any) -> AsyncIterator[Pair]:
    async with memory() as net, paired(net, errors=True, **options) as pair:
        yield pair
        await pair.client.sync()
        assert pair.client.machine.tick(C.Connected) == 1


async def test_a_refused_call_of_many_states_is_answered() -> None:
    names = tuple(f"State{i:04}" for i in range(500))
    states: dict[str, dict[str, Any]] = {name: {} for name in (*names, "Exception")}
    async with refusing(states=states, schema=states, allow=lambda *_: rpc.Grants(mutate=())) as pair:
        with pytest.raises(CallRefused, match=r"may not add State0000, .* and 495 more"):
            await pair.mirror.add(names)


async def test_a_payload_whose_name_is_too_long_disturbs_nobody() -> None:
    consumer = am.Machine(rpc.Consumer, {"ServerPayloadState": lambda e: e.remove("ServerPayload")}, id="consumer")
    async with refusing(consumer=consumer) as pair:
        with pytest.raises(Unsendable, match="the name of Payload"):
            pair.server.send_payload("n" * 300, b"")
        assert (await pair.server.send_payload("n", b"")).executed


async def test_arguments_whose_names_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    long = make_dataclass("Long", [("x" * TEXT, int)], namespace={"state": "Ask", "prefix": "long"})
    monkeypatch.setitem(am.Args.registry, "long__Ask", long)
    async with refusing() as pair:
        with pytest.raises(CallRefused, match="TOO_LARGE: the names of Reply") as caught:
            await pair.client.arg_names()
        assert caught.value.code == rpc.Code.TOO_LARGE


async def test_a_source_that_grows_beyond_what_can_be_told() -> None:
    async with memory() as net, paired(net, errors=True) as pair:
        pair.source.set_schema({**pair.source.schema, "x" * (NAME + 1): {}})
        await pair.client.machine.when_not(C.Connected)
        with pytest.raises(rpc.NotConnected, match="INTERNAL"):
            await pair.client.when_ready()
        assert isinstance(pair.client.machine.err, rpc.Rejected)


OURS = {
    "Hello.features": "six of them are known", "Hello.features.[]": "known names",
    "Welcome.features": "some of those that HELLO has offered", "Welcome.features.[]": "known names",
    "Welcome.hash": "8 bytes of a digest", "Sync.hash": "8 bytes of a digest", "Chunk.sha256": "a digest",
    "Welcome.schema.key": "states of the source, as its names", "Grown.schema.key": "as its names",
    "Grown.names.[]": "states of the source: see test_a_source_that_grows_beyond_what_can_be_told",
    "Reply.names.[]": "see test_arguments_whose_names_cannot_be_told",
    "Error.state": "the error states of our own errors", "Chunk.data": f"a server checks that it is {LARGEST_CHUNK}",
    **{f"{kind}.trace": "25 bytes, or none" for kind in ("Add", "Remove", "Set", "AddUnanswered", "Payload")},
    **{f"{kind}.session": "8 random bytes" for kind in ("Welcome", "Ready", "Resume")},
    **{
        f"{kind}.token": "8 random bytes"
        for kind in ("Payload", "Chunk", "PayloadAck", "PayloadNack", "PayloadWithdrawn")
    },
}  # fmt: skip


def test_no_limit_is_forgotten() -> None:
    records = {type_.cls: type_ for name in KINDS for type_ in structs(KINDS[name])}
    found = {
        ".".join((record.__name__, *path))
        for record, kind in records.items()
        for path, _ in limits_of(kind)
        if not any(isinstance(step, inspect.StructType) for step in inner(kind, path[0]))
    }
    assert found == CLIPPED.keys() | NAMED.keys() | OURS.keys()


def structs(kind: inspect.Type) -> Iterator[inspect.StructType]:
    if isinstance(kind, inspect.StructType):
        yield kind
        for field in kind.fields:
            yield from structs(field.type)
    elif isinstance(kind, inspect.UnionType):
        for each in kind.types:
            yield from structs(each)
    elif isinstance(kind, inspect.VarTupleType | inspect.ListType):
        yield from structs(kind.item_type)


def inner(kind: inspect.StructType, field: str) -> list[inspect.StructType]:
    return list(structs(next(each.type for each in kind.fields if each.name == field)))
