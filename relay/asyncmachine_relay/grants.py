"""What the application lets a peer have: which tunnels, and what to do at the end of them.

`authorize(request)` returns one of these, or None for nothing. The grants are sealed into the token, so they reach the
matcher, and aRPC as `peer.grants`, unchanged and without a second look-up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from asyncmachine.machine.errors import InvalidArgs
from asyncmachine.machine.names import several
from asyncmachine.rpc.grants import Grants, fits


@dataclass(frozen=True, slots=True)
class TunnelGrants(Grants):
    """`ids` and `targets` are exact names or patterns (`*` and `?`, case counts); none at all opens nothing.

    `mutate`, `read` and `payload` say what the peer may do with the source, which is everything unless they are given.
    `rights` are words of the application's own and `subject` names who was let in; both are only handed on.
    `lifetime` is how many seconds a tunnel lives once it is open, as those that are left of a login; None, or more than
    `Limits.lifetime`, means that. Raises `InvalidArgs` for one that is not above 0: grant nothing then.
    """

    ids: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    rights: tuple[str, ...] = ()
    subject: str = ""
    lifetime: float | None = None

    def __post_init__(self) -> None:
        Grants.__post_init__(self)  # `super()` looks for the class that was there before its slots
        for name in ("ids", "targets", "rights"):
            object.__setattr__(self, name, several(getattr(self, name), name))
        if self.lifetime is not None and not self.lifetime > 0:
            raise InvalidArgs(f"lifetime={self.lifetime!r} must be above 0; for nothing at all return None")

    def permits(self, id: str, target: str) -> bool:
        """Whether a tunnel of this id to this target may be opened."""
        return _listed(id, self.ids) and _listed(target, self.targets)


EVERY_TUNNEL = TunnelGrants(ids=("*",), targets=("*",))
"""Every id and target that the relay's matchers know."""


def _listed(name: str, patterns: Iterable[str]) -> bool:
    return any(fits(pattern, name) for pattern in patterns)
