"""Golden bytes of what stands around the frames, and of what is summed up in them. As the golden frames, all of them
stand in docs/protocol.md: a change here is a change of the protocol.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

SOCKET: Final[dict[str, tuple[str, str]]] = {
    "frame": ("000000029107", "A frame of two bytes, BYE, behind its length"),
    "goodbye": ("0000000fc1011139425553593a206c61746572", "The end, with code 4409 and the reason `BUSY: later`"),
    "bare": ("00000004c10103e8", "The end, with code 1000 and no reason"),
    "empty": ("00000000", "A length of 0, which ends the connection"),
    "refused": (
        "00000018c10103f161206d657373616765206f662030206279746573",
        "… with code 1009 and the reason `a message of 0 bytes`",
    ),
}
"""What goes over TCP, TLS and Unix sockets."""

PORT: Final[dict[str, tuple[str, str]]] = {
    "frame": ("9107", "A frame, BYE, as it is"),
    "beat": ("c100", "A beat"),
    "goodbye": ("c1011139425553593a206c61746572", "The end, with code 4409 and the reason `BUSY: later`"),
    "credit": ("c10200040000", "Credit: 262,144 more bytes may come"),
}
"""Messages of a MessagePort."""

CHANNEL: Final[dict[str, tuple[str, str]]] = {
    "leads": ("000102030405060708", "LEADS: a page leads, and calls this term 0102030405060708"),
    "call": ("02a1a2a3a4a5a6a7a8", "CALL: a page wants a pipe, and calls it a1a2a3a4a5a6a7a8"),
    "taken": ("03a1a2a3a4a5a6a7a8", "TAKEN: it is open"),
    "up": ("04a1a2a3a4a5a6a7a89107", "UP: the frame BYE, to the leader"),
    "down": ("05a1a2a3a4a5a6a7a8c100", "DOWN: a beat of the leader"),
    "left": ("06a1a2a3a4a5a6a7a8", "LEFT: the page that called is gone"),
    "resigns": ("010102030405060708", "RESIGNS: that page leads no more"),
}
"""Messages of a BroadcastChannel."""

MANY: Final[dict[str, tuple[str, str]]] = {
    "open": ("0100000001", "OPEN: connection 1, of whoever dialled the carrier"),
    "window": ("040000000100010000", "WINDOW: 65,536 more bytes may come in connection 1"),
    "data": ("02000000019107", "DATA: the message BYE, in connection 1"),
    "part": ("030000000193", "PART: the first byte of a message, more follows"),
    "finish": ("0500000001", "FINISH: nothing more will come in connection 1"),
    "reset": ("0600000001114d4c494d4954", "RESET: connection 1 has ended with code 4429 and the reason `LIMIT`"),
    "goaway": ("070000000000001f40", "GOAWAY: the carrier ends within 8 s"),
}
"""Messages of a carrier of many connections."""


class GoldenSchema(NamedTuple):
    """A schema as it is given, its canonical text, and the first 8 bytes of the SHA-256 of that."""

    given: dict[str, dict[str, Any]]
    canonical: str
    hash: str
    meaning: str


SCHEMAS: Final = (
    GoldenSchema(
        {
            "Exception": {"multi": True},
            "Start": {},
            "Ready": {"auto": True, "require": ["Start"]},
            "Stop": {"remove": ["Ready", "Start", "Stop"], "after": ["Ready"], "tags": ["end"]},
        },
        '[["Exception",{"multi":true}],["Start",{}],["Ready",{"auto":true,"require":["Start"]}],'
        '["Stop",{"after":["Ready"],"remove":["Ready","Start"],"tags":["end"]}]]',
        "708c3fb896ef8277",
        "Of `Stop`, that it removes itself is left out; names of a relation keep their order",
    ),
    GoldenSchema(
        {"Größe": {"tags": ['"a/b\\', "😀\x7f\n\x1f"]}},
        r'[["Gr\u00f6\u00dfe",{"tags":["\"a/b\\","\ud83d\ude00\u007f\n\u001f"]}],["Exception",{"multi":true}]]',
        "9ceef61b90122bb4",
        "What is not printable ASCII is escaped; a state `Exception` that was not given stands at the end",
    ),
)


class GoldenClock(NamedTuple):
    """A clock, the number of the message that brings it, its checksum, and its seal in that message."""

    ticks: tuple[int, ...]
    queue_tick: int
    machine_tick: int
    seq: int
    sum: int
    seal: int


KEYS: Final = (0x514E28B7, 0x30F4C307, 0x85F0B427, 0x249CB285)
"""Factors of the first four states."""

CLOCKS: Final = (
    GoldenClock((1, 0, 0, 0), 0, 0, 1, 0x514E28B7, 0x792313E6),
    GoldenClock((0, 1, 4, 0), 9, 0, 5, 0xFE01B166, 0xC52A4951),
    GoldenClock((2**64 - 1, 2**53 + 1, 3, 0), 7, 2, 300, 0xA0509C1C, 0x4DD43730),
)
