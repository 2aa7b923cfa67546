"""What a type checker must take, with the types it must find. Only checked, never run: see test_typing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_type

import asyncmachine as am
from asyncmachine import rpc


class Base(am.StatesDef):
    Start = am.state()
    Ready = am.state(require=Start)


class Download(Base):
    Downloading = am.state(require=Base.Start, remove="Downloaded", tags=["busy"])
    Downloaded = am.state(remove=Downloading, multi=True, auto=False)
    Flow = am.group(Downloading, Downloaded)
    Paused = am.state(remove=Flow, after=[Downloading, "Start"])


class Upload(am.StatesDef):
    Uploading = am.state()


@dataclass(frozen=True)
class Working(am.Args, prefix="typing_accepted", state="Working"):
    payload: bytes
    round: int = 0


class Handlers:
    def DownloadingEnter(self, e: am.Event) -> bool:
        return e.args_or_none(Working) is not None

    def DownloadingState(self, e: am.Event) -> None:
        assert_type(e.args(Working), Working)
        assert_type(e.args(Working).payload, bytes)
        assert_type(e.args_or_none(Working), Working | None)
        assert_type(e.add(Download.Downloaded), am.Result)
        assert_type(e.scope, am.Scope)

    async def DownloadedState(self, e: am.Event) -> None:
        assert_type(e.tx.called, tuple[str, ...])


class Decorated:
    @am.on.enter(Download.Downloading)
    def accepts(self, e: am.Event) -> bool:
        return not e.is_check

    @am.on.state(Download.Downloaded, Download.Paused)
    async def works(self, e: am.Event) -> None: ...


def members() -> None:
    assert_type(Download.Downloading, Download)
    # An inherited member belongs to the class that it is asked of.
    assert_type(Download.Start, Download)
    assert_type(Base.Start, Base)
    assert_type(Download.Flow, tuple[Download, ...])
    text: str = Download.Downloading
    assert_type(text.upper(), str)
    assert_type(Download.names, tuple[str, ...])
    assert_type(Download.schema, am.Schema)


async def typed_machine() -> None:
    machine = am.Machine(Download, Handlers(), id="d1", queue_limit=10)
    assert_type(machine, am.Machine[Download])
    assert_type(machine.add(Download.Downloading), am.Result)
    machine.add([Download.Start, Download.Downloading], Working(payload=b""), note="fast")
    machine.set({Download.Start, Download.Ready}, {"plain": 1}, e=am.MutationSource("m", "tx"))
    machine.remove(Download.Flow)
    machine.toggle(Download.Paused)
    machine.can_add(Download.Downloading, [Working(payload=b"")])
    machine.add_err(OSError(), state=Download.Paused)
    assert_type(machine.is_(Download.Start, Download.Ready), bool)
    assert_type(machine.tick(Download.Start), int)
    assert_type(machine.clock([Download.Start]), dict[str, int])
    assert_type(machine.switch(Download.Flow), str | None)
    assert_type(machine.when(Download.Start, Download.Ready, scope=machine.scope(Download.Start)), am.Wait)
    machine.when_args(Download.Downloading, Working(payload=b""))
    machine.when_time([Download.Start], [1])
    assert_type(await machine.add(Download.Downloading), am.FinalResult)
    await am.wait_all(machine.when(Download.Ready), machine.when_err(), timeout=5)
    assert_type(await am.wait_any(machine.when(Download.Ready), machine.when_err()), am.Wait)
    assert_type(await machine.eval_async(lambda: 3), int)
    async with machine.scope(Download.Start) as scope:
        assert_type(scope, am.Scope)
    with machine.catch(Download.Paused):
        raise OSError
    assert_type(machine.is_err(), bool)


def plain_machine() -> None:
    machine = am.Machine({"Foo": {"require": ["Bar"]}, "Bar": {"multi": True}, "Baz": {}})
    assert_type(machine, am.Machine[str])
    machine.add("Foo")
    machine.add(["Foo", "Bar"])
    machine.add(Download.Start)
    assert_type(am.Machine(Download.schema), am.Machine[str])
    assert_type(am.Machine({"Foo": am.State(require=("Bar",)), "Bar": {}}), am.Machine[str])


def starts(machine: am.Machine[Download]) -> None:
    machine.add(Download.Start)


def a_machine_that_takes_any_name_takes_these() -> None:
    starts(am.Machine({"Start": {}}))
    starts(am.Machine(Download))


async def mirrors(dial: rpc.Dial) -> None:
    typed = rpc.Client("ws://127.0.0.1:1/", Download)
    assert_type(typed.netmach, rpc.NetworkMachine[Download])
    assert (await typed.netmach.add([Download.Start, Download.Downloading])).executed
    untyped: rpc.Client = rpc.Client(dial)
    await untyped.netmach.when("Start")
    await rpc.Client(dial, Download.schema).netmach.when("Start")
