"""Arguments: plain ones, typed records, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import InvalidArgs


@dataclass(frozen=True)
class Upload(am.Args, state="Uploading", prefix="test_args"):
    path: str
    tries: int = 3


@dataclass(frozen=True)
class Owner(am.Args, prefix="test_args"):
    name: str


SCHEMA: dict[str, dict[str, Any]] = {"Uploading": {"multi": True}}


def received(*args: Any, **kw: Any) -> am.Event:
    """The event of an `UploadingState` handler for a mutation with these arguments."""
    events: list[am.Event] = []
    machine = am.Machine(SCHEMA, {"UploadingState": events.append})
    assert machine.add("Uploading", *args, **kw).executed
    return events[0]


def test_plain_arguments() -> None:
    assert received().raw_args == {}
    assert received({"a": 1}).raw_args == {"a": 1}
    assert received(a=1, b=2).raw_args == {"a": 1, "b": 2}
    assert received({"a": 1, "b": 1}, b=2).raw_args == {"a": 1, "b": 2}, "keywords go over the dict"


def test_a_record_travels_under_its_key() -> None:
    upload = Upload(path="f")
    event = received(upload)
    assert Upload.key == "test_args__Uploading"
    assert event.raw_args == {"test_args__Uploading": upload}
    assert event.args(Upload) is upload
    assert event.args_or_none(Upload) is upload


def test_several_records_and_keywords_go_together() -> None:
    event = received([Upload(path="f", tries=1), Owner(name="me")], more=True)
    assert event.args(Upload).tries == 1
    assert event.args(Owner).name == "me"
    assert Owner.key == "test_args__Any"
    assert event.raw_args["more"] is True
    assert received((Owner(name="me"),)).args(Owner).name == "me"


def test_a_record_that_is_not_there() -> None:
    event = received(Owner(name="me"))
    assert event.args_or_none(Upload) is None
    with pytest.raises(
        InvalidArgs, match=r"UploadingState needs Upload arguments \(key 'test_args__Uploading'\), none were given"
    ):
        event.args(Upload)


def test_plain_fields_in_the_place_of_a_record_are_made_into_one() -> None:
    event = received({Upload.key: {"path": "f"}})
    assert event.args(Upload) == Upload(path="f", tries=3)


@pytest.mark.parametrize("fields", [{}, {"path": "f", "unknown": 1}])
def test_fields_that_do_not_fit_are_refused(fields: dict[str, object]) -> None:
    event = received({Upload.key: fields})
    with pytest.raises(InvalidArgs, match="Upload: ") as caught:
        event.args(Upload)
    assert isinstance(caught.value.__cause__, TypeError)
    with pytest.raises(InvalidArgs):
        event.args_or_none(Upload)


def test_something_else_in_the_place_of_a_record_is_refused() -> None:
    with pytest.raises(InvalidArgs, match="test_args__Uploading: expected Upload, got int"):
        received({Upload.key: 3}).args(Upload)


def test_missing_arguments_in_a_handler_become_exception() -> None:
    machine = am.Machine(SCHEMA, {"UploadingEnter": lambda e: e.args(Upload).tries > 0})
    assert machine.add("Uploading").canceled
    assert isinstance(machine.err, InvalidArgs)


def test_the_registry_knows_every_class_by_its_key() -> None:
    assert am.Args.registry["test_args__Uploading"] is Upload
    assert am.Args.registry["_am__Exception"] is am.ErrorArgs


def test_two_classes_on_one_key_are_refused() -> None:
    with pytest.raises(TypeError, match=r"'test_args__Uploading' belongs to .*Upload; give another state="):

        class Other(am.Args, state="Uploading", prefix="test_args"):
            pass

    assert am.Args.registry["test_args__Uploading"] is Upload


def test_a_class_made_again_takes_its_own_place() -> None:
    def make() -> type[am.Args]:
        class Again(am.Args, state="Again", prefix="test_args"):
            pass

        return Again

    first, second = make(), make()
    assert am.Args.registry["test_args__Again"] is second is not first


def test_a_dataclass_with_slots_keeps_its_key() -> None:
    @dataclass(frozen=True, slots=True)
    class Slotted(am.Args, state="Slotted", prefix="test_args"):
        size: int

    assert (Slotted.key, Slotted.state, Slotted.prefix) == ("test_args__Slotted", "Slotted", "test_args")
    assert am.Args.registry["test_args__Slotted"] is Slotted
    assert received(Slotted(size=3)).args(Slotted).size == 3


def test_a_field_cannot_be_called_like_what_args_say_about_themselves() -> None:
    with pytest.raises(TypeError, match=r"Put: key, state belong to Args; give the field another name"):

        class Put(am.Args, prefix="test_args"):
            key: str  # type: ignore[misc]
            state = "value"

    assert "test_args__Put" not in am.Args.registry


def test_arguments_do_not_reach_auto_states() -> None:
    seen: list[dict[str, Any]] = []
    machine = am.Machine({"A": {}, "Auto": {"auto": True}}, {"AutoState": lambda e: seen.append(e.raw_args)})
    machine.add("A", x=1)
    assert seen == [{}]
