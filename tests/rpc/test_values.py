"""Arguments and payload data: equal on arrival, or refused before anything is sent."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmachine import Args, ErrorArgs, InvalidArgs
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.codec import decode, encode
from asyncmachine.rpc.errors import RemoteError, Unsendable
from asyncmachine.rpc.values import MAX_DEPTH, TypedArgs, alike, pack, pack_args, pack_data, unpack_args, unpack_data


def any_state(_: str) -> bool:
    return True


def through(args: dict[str, Any]) -> dict[str, Any]:
    """What arrives of arguments."""
    message = decode(encode(m.Add(1, (), pack_args(args))))
    assert isinstance(message, m.Add)
    return unpack_args(message.args, any_state, any_state)


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Plain(Enum):
    ONE = 1


Point = namedtuple("Point", "x y")  # noqa: PYI024 (a plain one is what is asked)

EQUAL = [
    None,
    True,
    0,
    -1,
    2**64 - 1,
    -(2**63),
    1.5,
    float("inf"),
    "",
    "grüße",
    b"\x00\xff",
    bytearray(b"ab"),
    [],
    [[1], {"a": [None]}],
    {"a": 1, 2: "b", b"c": 3},
    OrderedDict(a=1),
    Colour.RED,
    Level.LOW,
    datetime(2026, 5, 4, 3, 2, 1, 999999, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2026, 5, 4, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    RemoteError("ValueError", "no"),
]


@pytest.mark.parametrize("value", EQUAL, ids=repr)
def test_a_plain_value_arrives_equal(value: Any) -> None:
    assert through({"value": value}) == {"value": value}


def test_nan_arrives_as_nan() -> None:
    assert alike(through({"value": float("nan")}), {"value": float("nan")})


REFUSED = {
    "a set": ({1}, "typed record"),
    "a frozenset": (frozenset((1,)), "typed record"),
    "a tuple": ((1, 2), "send a list"),
    "a named tuple": (Point(1, 2), "send a list"),
    "an object": (object(), "plain values"),
    "an enum": (Plain.ONE, "plain values"),
    "a date": (date(2026, 1, 1), "plain values"),
    "a decimal": (Decimal("1.5"), "plain values"),
    "a UUID": (UUID(int=1), "plain values"),
    "a time without zone": (datetime(2026, 1, 1), "zone"),  # noqa: DTZ001
    "a time too early": (datetime(1600, 1, 1, tzinfo=UTC), "1678"),
    "a number too large": (2**64, r"2\*\*64-1"),
    "a number too small": (-(2**63) - 1, r"-2\*\*63"),
    "a key that is a tuple": ({(1, 2): 3}, "keys are"),
    "a key that is None": ({None: 3}, "keys are"),
    "a function": (len, "plain values"),
    "a coroutine": (pytest.raises, "plain values"),
}


@pytest.mark.parametrize(("value", "advice"), REFUSED.values(), ids=REFUSED.keys())
def test_what_would_not_arrive_equal_is_refused_by_name(value: Any, advice: str) -> None:
    with pytest.raises(Unsendable, match=advice) as caught:
        pack_args({"deep": [{"here": value}]})
    assert "args['deep'][0]" in str(caught.value)


def test_nesting_has_a_limit() -> None:
    value: Any = 0
    for _ in range(MAX_DEPTH):
        value = [value]
    assert pack(value) == value
    with pytest.raises(Unsendable, match="deeper than 64"):
        pack([value])


def test_an_endless_value_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(Unsendable):
        pack(endless)


def test_names_of_arguments_are_texts() -> None:
    with pytest.raises(Unsendable, match="is a text"):
        pack_args({1: 2})  # type: ignore[dict-item]


@dataclass(frozen=True)
class Rich(Args, state="Rich", prefix="values"):
    when: datetime
    tags: frozenset[str] = frozenset()
    point: tuple[int, int] = (0, 0)
    colour: Colour = Colour.RED
    price: Decimal = Decimal(0)
    raw: bytes = b""
    ratio: float = 0.0
    more: dict[str, Any] = field(default_factory=dict)


RICH = Rich(
    datetime(2026, 1, 1, 1, 1, 1, 5, tzinfo=UTC),
    frozenset("ab"),
    (1, 2),
    price=Decimal("1.50"),
    raw=b"\x00",
    more={"a": [1]},
)


def test_a_record_is_rebuilt_with_the_types_of_its_fields() -> None:
    got = through({Rich.key: RICH, "plain": 1})
    assert got == {Rich.key: RICH, "plain": 1}
    assert type(got[Rich.key].tags) is frozenset


def test_the_name_of_a_record_travels_once() -> None:
    frame = encode(m.Add(1, (), pack_args({Rich.key: RICH})))
    assert frame.count(b"Rich") == 1


def test_a_record_in_a_payload() -> None:
    message = decode(encode(m.Payload(b"t", "n", data=pack_data(RICH))))
    assert isinstance(message, m.Payload)
    assert unpack_data(message.data) == RICH
    assert unpack_data([1]) == [1]


@pytest.mark.parametrize(
    "record",
    [
        Rich(RICH.when, more={"a": (1, 2)}),
        Rich(RICH.when, more={"a": {1}}),
        Rich("today"),  # type: ignore[arg-type]
        Rich(RICH.when, point=[1, 2]),  # type: ignore[arg-type]
        Rich(RICH.when, more={"a": object()}),
    ],
    ids=["a tuple where anything goes", "a set where anything goes", "a wrong type", "a list for a tuple", "an object"],
)
def test_a_record_that_would_be_rebuilt_differently_is_refused(record: Rich) -> None:
    with pytest.raises(Unsendable):
        pack_args({Rich.key: record})


def test_a_record_with_nan_is_sent() -> None:
    record = Rich(RICH.when, ratio=float("nan"))
    assert alike(through({Rich.key: record})[Rich.key], record)


def test_a_record_inside_of_a_value_is_refused() -> None:
    with pytest.raises(Unsendable, match="beside the other arguments"):
        pack_args({"nested": [RICH]})


def test_an_unknown_record_is_refused_where_it_arrives() -> None:
    with pytest.raises(InvalidArgs, match="no record class for 'no__Where'"):
        unpack_args({0: TypedArgs("no", "Where", msgspec.Raw(b"\x80"))}, any_state, any_state)


@pytest.mark.parametrize(
    "fields", [b"\x80", b"\x90", b"\xc0", b"\x81\xa4when\x05", b"\x81\xa4when", b"\xc1", b"\x91" * 50]
)
def test_fields_that_do_not_fit_are_refused_where_they_arrive(fields: bytes) -> None:
    with pytest.raises(InvalidArgs, match="values__Rich"):
        unpack_args({0: TypedArgs("values", "Rich", msgspec.Raw(fields))}, any_state, any_state)


def test_a_number_for_a_name_is_for_records_only() -> None:
    with pytest.raises(InvalidArgs, match="number 7"):
        unpack_args({7: "plain"}, any_state, any_state)


def test_an_error_travels_as_name_and_text() -> None:
    got = through({ErrorArgs.key: ErrorArgs(KeyError("where"), trace="secret paths")})
    assert got[ErrorArgs.key] == ErrorArgs(RemoteError("KeyError", "'where'"))
    again = through(got)
    assert again == got


def test_no_arguments_are_nothing() -> None:
    assert pack_args({}) is None
    assert pack_args(None) is None
    assert unpack_args(None, any_state, any_state) == {}


_sendable = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.datetimes(datetime(1700, 1, 1), datetime(2250, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=4), inner, max_size=4),
    max_leaves=25,
)


@given(st.dictionaries(st.text("abc", min_size=1), _sendable, max_size=5))
def test_whatever_is_sent_arrives_equal(args: dict[str, Any]) -> None:
    assert alike(through(args), args)


def test_what_nobody_here_would_have_sent_is_not_taken() -> None:
    value: Any = 0
    for _ in range(MAX_DEPTH):
        value = [value]
    assert unpack_args({"x": value}, any_state, any_state) == {"x": value}
    with pytest.raises(InvalidArgs, match="argument 'x' is nested deeper than 64 levels"):
        unpack_args({"x": {"y": value}}, any_state, any_state)
    for key in (1.5, None, True, datetime(2026, 1, 1, tzinfo=UTC)):
        with pytest.raises(InvalidArgs, match="argument 'x' has a key that is neither a text nor an integer nor bytes"):
            unpack_args({"x": [{"y": 1}, {key: 1}]}, any_state, any_state)
    keys = {"a": 1, 2: 3, b"c": 4}
    assert unpack_args({"x": keys}, any_state, any_state) == {"x": keys}
