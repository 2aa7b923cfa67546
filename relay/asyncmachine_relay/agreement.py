"""What several relays behind one address have to agree on: which tokens were used, and who holds which id.

`Alone` is a relay that need not ask. `cluster` agrees by means of NATS. Both fail closed: what cannot be checked is not
accepted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from asyncmachine_relay.policy import Op, Reason, Refused
from asyncmachine_relay.tokens import Claims

Key = tuple[Op, str]
Evict = Callable[[Key, bytes], Awaitable[None]]
"""Ends the tunnel that holds this id with this mark, and returns when it has ended. Does nothing if there is none."""


@dataclass(eq=False)
class Hold:
    """An id that is ours. `mark` tells this taking of it from every other; `revision` is that of its entry."""

    key: Key
    target: str
    owner: bytes
    mark: bytes = b""
    revision: int = 0


class Agreement(Protocol):
    """All relays that share one address."""

    @property
    def agreed(self) -> bool:
        """Whether the others can be asked now. If not, nothing new is accepted; what is open goes on."""

    def check(self) -> None:
        """Raises `Refused` unless they can."""

    async def spend(self, claims: Claims) -> None:
        """Uses a token up, over all relays. Raises `Refused` when it was used, or nobody can tell."""

    async def claim(self, claims: Claims) -> Hold:
        """Takes an id, over all relays. Raises `Refused` when it is another's, or nobody can tell."""

    def release(self, hold: Hold) -> None:
        """Gives it back; it may take a moment."""

    def start(self, evict: Evict) -> None:
        """Begins to talk to the others. `evict` is asked to end tunnels whose id is held elsewhere now."""

    async def stop(self) -> None:
        """Says goodbye to them."""


class Alone:
    """One relay, which knows all there is to know."""

    agreed = True

    def check(self) -> None:
        """Nobody has to be asked."""

    async def spend(self, claims: Claims) -> None:
        """`Tokens` has seen every nonce there is."""

    async def claim(self, claims: Claims) -> Hold:
        return Hold((claims.op, claims.id), claims.target, claims.owner)

    def release(self, hold: Hold) -> None:
        """`Tunnels` has given it back."""

    def start(self, evict: Evict) -> None:
        """Nobody is there."""

    async def stop(self) -> None:
        """Nobody is there."""


def away() -> Refused:
    """The others cannot be asked."""
    return Refused(Reason.AWAY, "the relays cannot agree just now; try again soon")
