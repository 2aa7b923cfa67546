"""What a type checker must refuse: each line with an ignore is wrong, with that code. Never run: see test_typing."""

from __future__ import annotations

from dataclasses import dataclass

import asyncmachine as am
from asyncmachine import rpc


class Download(am.StatesDef):
    Start = am.state()
    Downloading = am.state(require=Start)


class Upload(am.StatesDef):
    Start = am.state()
    Uploading = am.state()


@dataclass(frozen=True)
class Working(am.Args, prefix="typing_refused", state="Working"):
    payload: bytes


def misspelt_and_foreign_names(machine: am.Machine[Download]) -> None:
    machine.add(Download.Downlaoding)  # type: ignore[attr-defined]
    machine.add(Upload.Uploading)  # type: ignore[arg-type]
    machine.add(Upload.Start)  # type: ignore[arg-type]
    machine.add("Downloading")  # type: ignore[arg-type]
    machine.add([Download.Start, Upload.Uploading])  # type: ignore[list-item]
    machine.remove("Start")  # type: ignore[arg-type]
    machine.set(["Start"])  # type: ignore[list-item]
    machine.toggle(Upload.Start)  # type: ignore[arg-type]
    machine.can_add("Start")  # type: ignore[arg-type]
    machine.can_remove(Upload.Start)  # type: ignore[arg-type]
    machine.add_err(OSError(), state="ErrNetwork")  # type: ignore[arg-type]


def questions_and_waits(machine: am.Machine[Download]) -> None:
    machine.is_("Start")  # type: ignore[arg-type]
    machine.not_(Download.Start, Upload.Start)  # type: ignore[arg-type]
    machine.any_("Start")  # type: ignore[arg-type]
    machine.tick("Start")  # type: ignore[arg-type]
    machine.index(Upload.Start)  # type: ignore[arg-type]
    machine.when("Start")  # type: ignore[arg-type]
    machine.when_not(Upload.Start)  # type: ignore[arg-type]
    machine.when_time(["Start"], [1])  # type: ignore[list-item]
    machine.when_args(Upload.Start)  # type: ignore[arg-type]
    machine.scope("Start")  # type: ignore[arg-type]


def a_mirror(client: rpc.Client[Download]) -> None:
    client.netmach.add("Start")  # type: ignore[arg-type]
    client.netmach.when(Upload.Start)  # type: ignore[arg-type]
    rpc.Client("ws://127.0.0.1:1/", Download).netmach.remove(Upload.Uploading)  # type: ignore[arg-type]


def arguments(machine: am.Machine[Download], e: am.Event) -> None:
    machine.add(Download.Start, 3)  # type: ignore[arg-type]
    machine.add(Download.Start, ["payload"])  # type: ignore[list-item]
    machine.add(Download.Start, Working())  # type: ignore[call-arg]
    e.args(str)  # type: ignore[type-var]
    len(e.args(Working).paylaod)  # type: ignore[attr-defined]
    len(e.args_or_none(Working).payload)  # type: ignore[union-attr]
    e.args(Working).payload = b""  # type: ignore[misc]


def plain_names(machine: am.Machine[str]) -> None:
    machine.add(3)  # type: ignore[arg-type]
    machine.add([3])  # type: ignore[list-item]
    am.Machine(Download).add("Start")  # type: ignore[arg-type]
    am.Machine(3)  # type: ignore[call-overload]


def definitions() -> None:
    am.state(requires="Start")  # type: ignore[call-arg]
    am.state(multi="yes")  # type: ignore[arg-type]
    am.state(require=3)  # type: ignore[arg-type]
    am.State(require=["A"])  # type: ignore[arg-type]
    am.State().auto = True  # type: ignore[misc]


def takes_uploads(machine: am.Machine[Upload]) -> None:
    machine.add(Upload.Uploading)


def machines(downloads: am.Machine[Download]) -> None:
    takes_uploads(downloads)  # type: ignore[arg-type]
    names: am.Machine[str] = downloads  # type: ignore[assignment]
    names.add("anything")
