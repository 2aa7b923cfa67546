"""Who may say what when: the conversation as a table.

Both sides follow the same conversation, so they share one table and one `Session` class. A message takes it from one
phase to the next::

    NEW ──HELLO──▶ GREETED ──WELCOME──▶ WELCOMED ──READY──▶ READY
                      └─────REJECT───▶ ENDED ◀───BYE──── (any)

Before READY nothing but the handshake is legal, PING, PONG, GOAWAY and BYE excepted: a server can neither be made to
act nor to tell anything by somebody it has not let in. What still arrives after the end is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from asyncmachine.rpc import messages as m


class Role(Enum):
    """The two sides. The server has the source, the client the mirror."""

    CLIENT = "client"
    SERVER = "server"

    @property
    def other(self) -> Role:
        """The side across."""
        return Role.SERVER if self is Role.CLIENT else Role.CLIENT


class Phase(Enum):
    """How far the conversation has come."""

    NEW = "new"
    GREETED = "greeted"
    WELCOMED = "welcomed"
    READY = "ready"
    ENDED = "ended"


Moves = Mapping[type[m.Message], Phase]

_C, _S = Role.CLIENT, Role.SERVER


def _staying(phase: Phase, *kinds: type[m.Message]) -> dict[type[m.Message], Phase]:
    return dict.fromkeys(kinds, phase)


TABLE: Final[Mapping[tuple[Phase, Role], Moves]] = {
    (Phase.NEW, _C): {m.Hello: Phase.GREETED, m.GoAway: Phase.NEW, m.Bye: Phase.ENDED},
    (Phase.NEW, _S): {m.GoAway: Phase.NEW, m.Bye: Phase.ENDED},
    (Phase.GREETED, _C): {**_staying(Phase.GREETED, m.Ping, m.Pong, m.GoAway), m.Bye: Phase.ENDED},
    (Phase.GREETED, _S): {
        **_staying(Phase.GREETED, m.Ping, m.Pong, m.GoAway),
        m.Welcome: Phase.WELCOMED,
        m.Reject: Phase.ENDED,
        m.Bye: Phase.ENDED,
    },
    (Phase.WELCOMED, _C): {
        **_staying(Phase.WELCOMED, m.Ping, m.Pong, m.GoAway),
        m.Ready: Phase.READY,
        m.Bye: Phase.ENDED,
    },
    (Phase.WELCOMED, _S): {**_staying(Phase.WELCOMED, m.Ping, m.Pong, m.GoAway), m.Bye: Phase.ENDED},
    (Phase.READY, _C): {
        **_staying(Phase.READY, m.Add, m.Remove, m.Set, m.AddUnanswered, m.SyncRequest, m.WhenArgs, m.WhenCancel),
        **_staying(Phase.READY, m.ArgsRequest, m.Can),
        **_staying(Phase.READY, m.PayloadAck, m.PayloadNack, m.Ping, m.Pong, m.GoAway),
        m.Bye: Phase.ENDED,
    },
    (Phase.READY, _S): {
        **_staying(
            Phase.READY,
            m.Result,
            m.Error,
            m.Reply,
            m.ClockPush,
            m.ClockSteps,
            m.Full,
            m.Grown,
            m.Upstream,
            m.Payload,
            m.Chunk,
            m.PayloadWithdrawn,
            m.WhenFired,
            m.Ping,
            m.Pong,
            m.GoAway,
        ),
        m.Bye: Phase.ENDED,
    },
    (Phase.ENDED, _C): {},
    (Phase.ENDED, _S): {},
}
"""For each phase and sender: the kinds it may send, and the phase after each."""


def moves(phase: Phase, sender: Role) -> Moves:
    """The kinds that a side may send now, and the phase after each."""
    return TABLE[phase, sender]


def legal_kinds(phase: Phase, sender: Role) -> str:
    """The kinds that are legal now, for error messages."""
    return ", ".join(kind.__name__ for kind in TABLE[phase, sender]) or "nothing"
