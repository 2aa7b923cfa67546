"""The states of both sides: Foo is on the server, Bar in the browser.

Each side serves its own machine and mirrors the other's.
"""

from __future__ import annotations

from dataclasses import dataclass

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.states import Basic


class Shared(Basic, rpc.StateSource):
    """What both sides take: a message. It is an event; its ticks count."""

    Msg = am.state(multi=True)


class Foo(Shared):
    """The server. `Bored` when nobody has said anything for a while."""

    Bored = am.state()
    Msg = am.state(multi=True, remove=Bored)


class Bar(Shared):
    """A tab, `Ready` while its mirror of the server is live. `SubmitMsg` comes from its form."""

    SubmitMsg = am.state(multi=True, require=Shared.Ready)


@dataclass(frozen=True)
class Said(am.Args, state="Msg", prefix="chat"):
    """Comes with `Msg`. An empty author is whoever made the mutation."""

    text: str
    author: str = ""


@dataclass(frozen=True)
class Typed(am.Args, state="SubmitMsg", prefix="chat"):
    """Comes with `SubmitMsg`."""

    text: str
