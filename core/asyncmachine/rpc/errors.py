"""What can go wrong between two machines, by whose mistake it is and by what is known of the outcome.

`Misuse` is our caller's mistake, `PeerFault` the peer's: only the second ends a connection, with the close code it
carries. A call fails with an error that says whether the source may have run it: `NotConnected` and `Unsendable` (it
was never sent), `CallRefused` (the source answered with an error), `UnknownOutcome` and `CallTimedOut` (it may have
run, and is never repeated silently). Each class names the error state that it becomes on a machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from asyncmachine.machine.errors import AmError


class Code(StrEnum):
    """Error codes of the wire. A peer may send one that is not here: codes are compared as texts."""

    BAD_FRAME = "BAD_FRAME"
    VERSION = "VERSION"
    AUTH = "AUTH"
    FORBIDDEN = "FORBIDDEN"
    BUSY = "BUSY"
    NO_STATE = "NO_STATE"
    BAD_ARGS = "BAD_ARGS"
    STALE_SESSION = "STALE_SESSION"
    OUTGROWN = "OUTGROWN"
    NOT_EXECUTED = "NOT_EXECUTED"
    UNKNOWN_OUTCOME = "UNKNOWN_OUTCOME"
    DEADLINE = "DEADLINE"
    CANCELED = "CANCELED"
    TOO_LARGE = "TOO_LARGE"
    RATE = "RATE"
    INTERNAL = "INTERNAL"
    SHUTDOWN = "SHUTDOWN"
    NO_CONSUMER = "NO_CONSUMER"
    REFUSED = "REFUSED"
    DAMAGED = "DAMAGED"


CLOSE_CODES: Mapping[str, int] = {
    Code.BAD_FRAME: 4400,
    Code.AUTH: 4401,
    Code.FORBIDDEN: 4403,
    Code.VERSION: 4406,
    Code.DEADLINE: 4408,
    Code.BUSY: 4409,
    Code.STALE_SESSION: 4410,
    Code.OUTGROWN: 4411,
    Code.RATE: 4429,
    Code.TOO_LARGE: 1009,
    Code.SHUTDOWN: 1001,
    Code.INTERNAL: 1011,
}
"""How a transport is closed for a code."""


def close_code(code: str) -> int:
    """The close code for an error code; for one that is not ours, that of a bad frame."""
    return CLOSE_CODES.get(code, CLOSE_CODES[Code.BAD_FRAME])


class RpcError(AmError):
    """Base of the errors of this package."""

    state = "ErrRpc"


class Misuse(RpcError):
    """The session cannot send this now, or the server is doing so already. Nothing was sent and nothing has changed."""


class PeerFault(RpcError):
    """The peer sent what the protocol does not allow. Nothing has changed; close the connection with `close`."""

    def __init__(self, message: str, code: str = Code.BAD_FRAME) -> None:
        super().__init__(message)
        self.code = code

    @property
    def close(self) -> int:
        """The close code of the transport."""
        return close_code(self.code)


class Unsendable(RpcError):
    """A value that would not arrive as it is. Raised before anything is sent."""


class TickRange(Unsendable):
    """A tick beyond 2**64-1, the largest number of the wire."""


class Outgrown(RpcError):
    """The source has more states, or is another one now, and this connection cannot tell: the peer has to come back."""


class TooLarge(Unsendable):
    """A message beyond the frame limit."""


class ListenerFailed(RpcError):
    """A server cannot take connections at its address, or not any more. It tries again; the clients there are stay."""


class NotConnected(RpcError):
    """There is no session with the source now. The call was not sent."""

    state = "ErrNetwork"
    code = Code.NOT_EXECUTED
    retryable = True


class Overloaded(NotConnected):
    """Too many calls wait for their answers. The call was not sent."""

    code = Code.RATE


class UnknownOutcome(RpcError):
    """The connection ended between call and answer: the source may have run it or not. It is not sent again."""

    state = "ErrNetwork"


class CallTimedOut(UnknownOutcome):
    """No answer within the time for a call. The source may still run it."""

    state = "ErrNetworkTimeout"


class CallRefused(RpcError):
    """The source answered with an error instead of an outcome: the mutation did not run."""

    def __init__(
        self, code: str, message: str, *, retryable: bool = False, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retryable = retryable
        self.details = dict(details or {})


class Rejected(RpcError):
    """The server refused the session. `retry_after` is in seconds; None means that trying again is of no use."""

    def __init__(self, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retry_after = retry_after


class HandshakeFailed(RpcError):
    """The session was not ready in time, or the welcome does not fit what this side knows."""


class SourceRestarted(RpcError):
    """The source has begun anew, so the tick that was waited for, of a state or the queue, means nothing any more."""

    state = "ErrNetwork"


class ForeignSource(HandshakeFailed):
    """The source lacks states of the class that the client was given: another machine, or an older release of it."""

    def __init__(self, source: str, lacking: Sequence[str]) -> None:
        more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
        super().__init__(
            f"the source {source!r} has no {', '.join(lacking[:5])}{more}: give the client the states of this source, "
            "skip those it may lack, or ask for its schema by giving none"
        )
        self.lacking = tuple(lacking)


class PeerSilent(RpcError):
    """Nothing was heard from the peer for so long that it counts as gone."""

    state = "ErrNetworkTimeout"


class DeliveryFailed(RpcError):
    """A payload will not be consumed: refused, or there is no consumer, or the time is over, or the server stops."""

    state = "ErrDelivery"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class RemoteError(AmError):
    """An error that happened elsewhere. `type` is the name of its class there."""

    def __init__(self, type: str, message: str) -> None:
        super().__init__(f"{type}: {message}" if message else type)
        self.type = type
        self.message = message

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RemoteError):
            return NotImplemented
        return (self.type, self.message) == (other.type, other.message)

    __hash__ = AmError.__hash__
