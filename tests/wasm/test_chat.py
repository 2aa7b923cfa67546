"""The chat without a network: what is said, who hears it, and when the server is bored."""

from __future__ import annotations

import pytest

import asyncmachine as am
from examples.wasm.chat import HELLO, BarHandlers, FooHandlers, Patience, Show
from examples.wasm.states import Bar, Foo, Said, Typed


class Near:
    """A tab that no network is in front of."""

    def __init__(self, machine: am.Machine[Bar]) -> None:
        self.machine = machine

    @property
    def heard(self) -> int:
        return self.machine.tick(Bar.Msg) // 2

    def hear(self, said: Said) -> None:
        self.machine.add(Bar.Msg, said)


class Room:
    """A server, and tabs that are near."""

    def __init__(self, tabs: int = 0) -> None:
        self.time = 0.0
        self.shown: dict[str, list[tuple[str, str]]] = {"server": []}
        self.handlers = FooHandlers(self.show("server"), Patience(), now=lambda: self.time)
        self.server = am.Machine(Foo, self.handlers, id="server-foo")
        self.tabs = [self.tab(f"browser-bar-{number}") for number in range(tabs)]

    def show(self, where: str) -> Show:
        return lambda author, text: self.shown.setdefault(where, []).append((author, text))

    def tab(self, name: str) -> am.Machine[Bar]:
        handlers = BarHandlers(self.show(name), lambda e, said: self.server.add(Foo.Msg, said, e=e))
        machine = am.Machine(Bar, handlers, id=name)
        machine.add([Bar.Start, Bar.Ready])
        self.handlers.tabs[name] = Near(machine)
        return machine

    def look(self) -> None:
        """As the server does each second."""
        self.server.bind({"HeartbeatState": self.handlers.look_around}, id="look")
        self.server.add(Foo.Heartbeat)
        self.server.remove(Foo.Heartbeat)
        self.server.detach("look")


def test_what_one_tab_says_the_server_and_all_others_hear_once() -> None:
    room = Room(tabs=3)
    assert room.tabs[1].add(Bar.SubmitMsg, Typed(" hi ")).executed
    said = ("browser-bar-1", "hi")
    assert room.shown == {
        "server": [said],
        "browser-bar-0": [said],
        "browser-bar-1": [said],
        "browser-bar-2": [said],
    }
    assert not room.server.any_(Foo.Msg, Foo.Bored)


def test_nothing_is_taken_from_the_form_while_the_server_cannot_hear_it() -> None:
    room = Room(tabs=1)
    room.tabs[0].remove(Bar.Ready)
    assert room.tabs[0].add(Bar.SubmitMsg, Typed("hi")).canceled
    assert room.shown == {"server": []}


@pytest.mark.parametrize("text", ["", "  ", "x" * 501])
def test_messages_must_say_something(text: str) -> None:
    room = Room(tabs=1)
    assert room.tabs[0].add(Bar.SubmitMsg, Typed(text)).canceled
    assert room.server.add(Foo.Msg, Said(text)).canceled
    assert room.server.add(Foo.Msg).canceled
    assert room.shown["server"] == []


def test_the_server_is_bored_after_a_while_until_somebody_says_something() -> None:
    room = Room()
    room.time = 14.9
    room.look()
    assert Foo.Bored not in room.server
    room.time = 15.0
    room.look()
    assert Foo.Bored in room.server
    assert room.server.add(Foo.Msg, Said("hi")).executed
    assert Foo.Bored not in room.server
    assert room.shown["server"] == [("bar", "hi")]


def test_the_server_says_hello_every_ten_seconds_to_tabs_that_heard_little() -> None:
    room = Room(tabs=1)
    for second in range(1, 150):
        room.time = float(second)
        room.look()
    hellos = room.shown["browser-bar-0"]
    assert set(hellos) == {("server-foo", HELLO)}
    assert len(hellos) == 10
    assert room.shown["server"] == hellos
