from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest

import asyncmachine as am
from asyncmachine.helpers.arg_texts import ArgTexts, args_names, args_unmarshal
from asyncmachine.helpers.log_args import Logged


@dataclass(frozen=True)
class Dial(am.Args, state="Dialing", prefix="test_texts"):
    addr: Annotated[str, Logged()]
    tries: int = 1
    pause: float = 0.5
    loud: bool = False
    tags: tuple[str, ...] = ()
    extra: dict[str, Any] | None = None
    note: str | None = None
    secret: str = field(default="", init=False)


@dataclass(frozen=True)
class Hang(am.Args, state="Hanging", prefix="test_texts"):
    up: bool
    why: str


TEXTS = ArgTexts([Dial, Hang])


def test_names_of_all_fields() -> None:
    assert TEXTS.names == (
        "Dialing.addr",
        "Dialing.tries",
        "Dialing.pause",
        "Dialing.loud",
        "Dialing.tags",
        "Dialing.extra",
        "Dialing.note",
        "Hanging.up",
        "Hanging.why",
    )
    assert args_names([Hang]) == ("Hanging.up", "Hanging.why")


def test_records_from_texts() -> None:
    texts = {
        "Dialing.addr": "5555",
        "Dialing.tries": "3",
        "Dialing.pause": "2",
        "Dialing.loud": "true",
        "Dialing.tags": '["a", "b"]',
        "Dialing.extra": '{"a": 1}',
        "Dialing.note": "null",
        "Hanging.up": "false",
        "Hanging.why": "",
    }
    dial, hang = TEXTS.records(texts)
    assert dial == Dial("5555", 3, 2.0, True, ("a", "b"), {"a": 1}, "null")
    assert "pause=2.0" in repr(dial)
    assert hang == Hang(False, "")
    assert args_unmarshal({"Dialing.addr": "x", "Dialing.extra": "null"}, Dial) == [Dial("x")]
    assert TEXTS.records({}) == []


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({"Dialing.adr": "x"}, r"no argument is called 'Dialing.adr'; did you mean 'Dialing.addr'\?"),
        ({"x": "x"}, "no argument is called 'x'$"),
        ({"Dialing.tries": "3"}, "missing arguments: Dialing.addr"),
        ({"Dialing.addr": "x", "Dialing.tries": "three"}, "Dialing.tries: 'three' is no JSON; expected int"),
        ({"Dialing.addr": "x", "Dialing.tries": "true"}, "Dialing.tries: expected int, got true"),
        ({"Dialing.addr": "x", "Dialing.tries": "1.5"}, "expected int, got 1.5"),
        ({"Dialing.addr": "x", "Dialing.loud": "1"}, "expected bool, got 1"),
        ({"Dialing.addr": "x", "Dialing.extra": "[]"}, r"expected dict or null, got \[\]"),
        ({"Hanging.up": "true"}, "missing arguments: Hanging.why"),
    ],
)
def test_texts_that_do_not_fit(texts: dict[str, str], words: str) -> None:
    with pytest.raises(am.InvalidArgs, match=words):
        TEXTS.records(texts)


def test_fields_must_be_known() -> None:
    class Loose(am.Args, state="Loose", prefix="test_texts"):
        pass

    with pytest.raises(am.InvalidArgs, match="must be a dataclass"):
        ArgTexts([Loose])
