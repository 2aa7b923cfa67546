"""The states of the queue, and of the page that shows it."""

from __future__ import annotations

from dataclasses import dataclass

import asyncmachine as am
from asyncmachine import rpc


class Queue(rpc.StateSource):
    """A queue that works at one job at a time. Multi states are events; their ticks count."""

    Open = am.state()
    Paused = am.state(remove="Busy")
    Waiting = am.state()
    Busy = am.state(auto=True, require=(Open, Waiting))
    AddJob = am.state(multi=True, require=Open)
    Added = am.state(multi=True)
    Ended = am.state(multi=True)
    Failed = am.state(multi=True)
    Clear = am.state(multi=True)


class Shown(rpc.Consumer):
    """In the page: takes what the server sends beside the states."""

    Ready = am.state()


@dataclass(frozen=True)
class Wanted(am.Args, state="AddJob", prefix="dashboard"):
    """Comes with `AddJob`."""

    title: str
    steps: int = 10
