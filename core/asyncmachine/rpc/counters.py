"""What a session has counted."""

from __future__ import annotations

from msgspec import Struct


class Counters(Struct):
    """Numbers of one session since it began; read them, or keep a `copy.copy` as a snapshot.

    `calls` are mutations asked for (client) or run (server), `pushes` clock messages that were nobody's answer,
    `out_of_step` gaps and wrong checksums, `duplicates` clock messages that came twice.
    """

    frames_in: int = 0
    frames_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    calls: int = 0
    pushes: int = 0
    full_syncs: int = 0
    out_of_step: int = 0
    duplicates: int = 0
    payloads: int = 0
