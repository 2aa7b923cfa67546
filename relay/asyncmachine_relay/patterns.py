"""Regular expressions for ids, as targets and meetings have them. A page's id must fit one as a whole."""

from __future__ import annotations

import re

from asyncmachine_relay.policy import RelayConfigError

_GLOB = re.compile(r"[A-Za-z0-9_.*-]*(?<!\.)\*[A-Za-z0-9_.*-]*", re.ASCII)


def pattern_of(text: str, what: str, field: str) -> re.Pattern[str]:
    """`what` begins the sentence. Raises `RelayConfigError`."""
    try:
        return re.compile(text, re.ASCII)
    except re.error as error:
        cure = f"; for any characters write {_cured(text)}" if _GLOB.fullmatch(text) else ""
        raise RelayConfigError(f"{what} is no regular expression: {error}{cure}", field=field) from None


def doubt(text: str) -> str:
    """What is to be said of a pattern that looks like one of file names; nothing of others."""
    example = re.sub(r"\.?\*", "1", text)
    if not _GLOB.fullmatch(text) or re.fullmatch(text, example):
        return ""
    return f"{text!r} is a regular expression, and does not fit {example!r}: write {_cured(text)!r} if it should"


def _cured(text: str) -> str:
    return re.sub(r"(?<!\.)\*", ".*", text)
