"""What is valid in a configuration, and most likely not what was meant."""

from __future__ import annotations

import re
from collections.abc import Iterator

from asyncmachine_relay.addresses import networks
from asyncmachine_relay.config import Config
from asyncmachine_relay.patterns import doubt
from asyncmachine_relay.reading import Where

_WIDE = {4: 8, 6: 16}
"""Bits of a network's prefix, by version of IP: one with fewer is of more than one operator."""
_PLAIN = re.compile(r"[A-Za-z0-9_.-]*")


def doubts(config: Config) -> list[tuple[Where, str]]:
    """One warning each, with the setting that it is of."""
    found = [*_name(config), *_proxies(config), *_pages(config), *_forward(config), *_patterns(config)]
    return [(where, f"warning: {text}") for where, text in found]


def _name(config: Config) -> Iterator[tuple[Where, str]]:
    if not _PLAIN.fullmatch(config.name):
        yield ("name",), f"{config.name!r} cannot be part of a file's name: use letters, digits, and _ . -"


def _proxies(config: Config) -> Iterator[tuple[Where, str]]:
    for network in networks(config.server.proxies):
        if network.prefixlen < _WIDE[network.version]:
            yield (
                ("server", "proxies"),
                f"whoever has an address in {network} may say who it is: list those of the proxies alone",
            )


def _pages(config: Config) -> Iterator[tuple[Where, str]]:
    for name, paths in (("roots", config.pages.roots), ("mounts", tuple(config.pages.mounts.values()))):
        for path in paths:
            whole = path.resolve()
            if whole == whole.parent:
                yield ("pages", name), f"{path} is the whole disk, which pages of this relay could read: name a folder"


def _forward(config: Config) -> Iterator[tuple[Where, str]]:
    if config.dbg.forward and not config.dbg.ingest:
        yield ("dbg", "forward"), "nothing is sent on while ingest = false (am relay rotate-dbg turns it on)"


def _patterns(config: Config) -> Iterator[tuple[Where, str]]:
    patterns: list[tuple[Where, str]] = [(("targets", n, "ids"), each.ids) for n, each in enumerate(config.targets)]
    for n, each in enumerate(config.meetings):
        patterns += [(("meetings", n, "ids"), each.ids), (("meetings", n, "callers"), each.callers)]
    yield from ((where, doubt(text)) for where, text in patterns if doubt(text))
