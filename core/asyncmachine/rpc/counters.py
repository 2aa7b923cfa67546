"""What a session has counted."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from msgspec import Struct, field
from msgspec.structs import asdict

LATENCIES: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds of the classes that answers to calls are counted in; the last class has none."""


class Counters(Struct):
    """Numbers of one session since it began, over all its connections.

    ``frames_in`` … ``bytes_out``  as the transport carries them, without its own headers
    ``calls``          mutations asked for (client) or run (server); ``notifies`` are those without an answer
    ``piggybacks``     clock changes that came with an answer; ``pushes`` those that were nobody's answer
    ``full_syncs``     whole clocks; ``conflated`` pushes that were held back and went out as part of a later one
    ``out_of_step``    gaps in the sequence of clock messages, and wrong sums (``wrong_sums``)
    ``duplicates``     clock messages that came twice
    ``retries``        calls that were sent again (client); ``repeats`` those that came again and were not run (server)
    ``early``          calls that came before an earlier one, and were not run (server)
    ``payloads``       payloads sent or received; ``chunks`` parts of large ones; ``drops`` connections that were lost
    ``backlog``        the most frames that waited to be sent at once
    ``latencies``      answers by the time they took, in the classes of `LATENCIES`
    """

    frames_in: int = 0
    frames_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    calls: int = 0
    notifies: int = 0
    piggybacks: int = 0
    pushes: int = 0
    full_syncs: int = 0
    conflated: int = 0
    out_of_step: int = 0
    wrong_sums: int = 0
    duplicates: int = 0
    retries: int = 0
    repeats: int = 0
    early: int = 0
    payloads: int = 0
    chunks: int = 0
    drops: int = 0
    backlog: int = 0
    latencies: list[int] = field(default_factory=list)

    def answered_after(self, seconds: float) -> None:
        """Counts an answer."""
        if not self.latencies:
            self.latencies = [0] * (len(LATENCIES) + 1)
        self.latencies[bisect_left(LATENCIES, seconds)] += 1


class Statistics(Counters):
    """The counters at one moment, and what can be said of it.

    ``open_calls``     calls without an answer
    ``silence``        seconds since the last frame was heard
    ``round_trip``     seconds that the last PING took, None before the first
    """

    open_calls: int = 0
    silence: float = 0.0
    round_trip: float | None = None

    @classmethod
    def of(cls, counters: Counters, open_calls: int, silence: float, round_trip: float | None) -> Statistics:
        """A snapshot."""
        found = {**asdict(counters), "latencies": list(counters.latencies)}
        return cls(**found, open_calls=open_calls, silence=silence, round_trip=round_trip)
