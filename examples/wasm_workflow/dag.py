"""The graph of the workflow, and the two digests that it must arrive at.

::

    StartWork ─┬─ browser1 ── browser3 ─┐
               └─ browser2 ── browser4 ─┴─ WorkDelivered

Each node hashes what it was given together with its own name and hands the digest on, 64 raw bytes. So one wrong digest
spoils everything behind it, and nobody notices before the two last ones are compared with what they should be.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha512

NODES = ("browser1", "browser2", "browser3", "browser4")

FEEDS = {"browser3": "browser1", "browser4": "browser2"}
"""Node to the node whose result is its payload. The nodes that are missing here start from a `SEEDS` text."""

SEEDS = {"browser1": b"wasm-workflow-1", "browser2": b"wasm-workflow-2"}

FINAL = ("browser3", "browser4")
"""The nodes whose results are the result of the workflow."""

DIGEST_SIZE = 64

CORRUPTED = b"corrupted".ljust(DIGEST_SIZE, b".")
"""What a corrupt node hands on. It has the size of a digest, so that only the final check can tell."""


def digest(payload: bytes, node: str) -> bytes:
    """The right result of a node: SHA-512 over the payload followed by the node's name."""
    return sha512(payload + node.encode()).digest()


def expected(node: str) -> bytes:
    """The right result of a node in a run without any corruption."""
    feed = FEEDS.get(node)
    return digest(SEEDS[node] if feed is None else expected(feed), node)


EXPECTED = {node: expected(node) for node in FINAL}


def wrong(results: Mapping[str, bytes]) -> tuple[str, ...]:
    """The final nodes whose result is not the expected digest, those without a result among them."""
    return tuple(node for node in FINAL if results.get(node) != EXPECTED[node])
