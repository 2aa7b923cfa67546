"""What text of strangers must not become: code, a property, markup, or an address that is code.

Holes of a template, and values of bound attributes, are text. `check_template` refuses places where the browser would
take text for more than that. Addresses may be anything when the page is written, so these are looked at when they are
shown: one that is no plain address is left out.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Final

HOLE: Final = "\0"
"""Stands for a hole in the text of a template."""

ADDRESSES: Final = frozenset({
    "action", "background", "cite", "data", "formaction", "href", "poster", "src", "xlink:href",
})  # fmt: skip
"""Attributes that hold an address, which the browser may go to."""

ANIMATED: Final = frozenset({"values", "to", "from", "by"})
"""Attributes of SVG's `<animate>` and `<set>` that become the value of another one; of `values` each part does."""

Address = tuple[str | int, ...]
"""The value of such an attribute in a template: texts, and the numbers of its holes."""

_TAG: Final = re.compile(r"""<[a-z](?:[^'">]|'[^']*'|"[^"]*")*""", re.IGNORECASE)
_ANIMATION: Final = re.compile(r"<(animate|set)[\s/]", re.IGNORECASE)
_ATTRIBUTE: Final = re.compile(r"""([^\s"'<>/=]+)\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+)""")
_BOOLEAN: Final = re.compile(
    r"""(\s)((?:allowfullscreen|async|autofocus|autoplay|checked|controls|default|defer|disabled|formnovalidate|hidden|inert"""
    r"""|ismap|itemscope|loop|multiple|muted|nomodule|novalidate|open|playsinline|readonly|required|reversed|selected)"""
    r"""\s*=\s*(["']?)\0\3(?=[\s/]|$))""",
    re.IGNORECASE,
)
_STYLE: Final = re.compile(r"""(\s)(style\s*=\s*(?:"[^"\0]*\0[^"]*"|'[^'\0]*\0[^']*'|\0))""", re.IGNORECASE)
_RAW: Final = re.compile(r"<(script|style)\b.*?(?:</\1|$)", re.IGNORECASE | re.DOTALL)
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_IGNORED: Final = re.compile(r"^[\x00-\x20]+|[\t\n\r]")
_HARMLESS: Final = frozenset({"http", "https", "mailto", "tel", "sms", "blob"})
_MEDIA: Final = re.compile(r"data:(image|audio|video)/", re.IGNORECASE)

_told: set[str] = set()
logger = logging.getLogger("asyncmachine.web")


def problem(attribute: str) -> str:
    """Why text must not become the value of this attribute; empty if it may."""
    name = attribute.lower()
    if name[:1] == "@" or name.lstrip("?").startswith("on"):
        return "would be code; use page.on(…) and data- attributes"
    if name[:1] == ".":
        return "would be a property; use an attribute or a text"
    return "would be a page of its own, with its scripts; use each or fill" if name.lstrip("?") == "srcdoc" else ""


def check_template(template: str) -> tuple[str, tuple[Address, ...], frozenset[int]]:
    """What is wrong with a template, whose holes are `HOLE`, empty for nothing; the addresses in it; and the numbers of
    the holes in attributes.
    """
    wrong, addresses, inside = _wrong(template), list[Address](), set[int]()
    for tag in () if wrong else _TAG.finditer(template):
        for attribute in _ATTRIBUTE.finditer(tag[0]):
            name, value = attribute[1], attribute[2]
            first = template[: tag.start() + attribute.start(2)].count(HOLE)
            inside.update(range(first, first + value.count(HOLE)))
            if HOLE in value and name.lower() in ADDRESSES:
                addresses.append(_address(value, first))
    return wrong, tuple(addresses), frozenset(inside)


def _wrong(template: str) -> str:
    for raw in _RAW.finditer(template):
        if HOLE in raw[0]:
            return f"a hole of a template in <{raw[1].lower()}> would be code; use a text or an attribute"
    if f"<{HOLE}" in template or f"</{HOLE}" in template:
        return "a hole of a template cannot be the name of an element"
    for tag in _TAG.finditer(template):
        for name, value in _ATTRIBUTE.findall(tag[0]):
            if HOLE in value and (why := problem(name) or _animates(tag[0], name)):
                return f"a hole of a template in {name} {why}"
        if HOLE in _ATTRIBUTE.sub(lambda found: found[1], tag[0]):
            return "a hole of a template stands for a text, or for the value of an attribute"
    return ""


def _animates(tag: str, attribute: str) -> str:
    """Why text must not become the value of this attribute, if the element changes another one's address by it."""
    if not _ANIMATION.match(tag) or attribute.lower() not in ANIMATED | {"attributename"}:
        return ""
    names = [value.strip("\"' ").lower() for name, value in _ATTRIBUTE.findall(tag) if name.lower() == "attributename"]
    is_address = any(HOLE in name or name.rpartition(":")[2] in ADDRESSES for name in names)
    return "would be an address, which may be code; animate something else" if is_address else ""


def bound(template: str) -> str:
    """The same for lit-html: where an attribute is there or not, and where a policy refuses text for it."""
    return _TAG.sub(lambda tag: _STYLE.sub(r"\1.\2", _BOOLEAN.sub(r"\1?\2", tag[0])), template)


def _address(value: str, first: int) -> Address:
    parts: list[str | int] = []
    for number, text in enumerate(value.strip("\"'").split(HOLE)):
        parts += [first + number - 1, text] if number else [text]
    return tuple(parts)


def is_harmless(address: str) -> bool:
    """Whether going there runs no code. Looked at as browsers do: without blanks before it, and breaks within."""
    plain = _IGNORED.sub("", address)
    scheme = _SCHEME.match(plain)
    return scheme is None or scheme[1].lower() in _HARMLESS or _MEDIA.match(plain) is not None


def harmless(attribute: str, value: str) -> str | None:
    """The value of a bound attribute, None for an address that is none."""
    name = attribute.lower()
    found = value.split(";") if name in ANIMATED else [value] if name in ADDRESSES else []
    for address in found:
        if not is_harmless(address):
            tell(address)
            return None
    return value


def without_code(values: Sequence[object], addresses: Sequence[Address]) -> set[int]:
    """The numbers of holes that would make code of an address, and are to be left empty."""
    found: set[int] = set()
    for address in addresses:
        whole = "".join(part if isinstance(part, str) else str(values[part]) for part in address)
        if not is_harmless(whole):
            tell(whole)
            found.update(part for part in address if isinstance(part, int))
    return found


def tell(address: str) -> None:
    """Once for each scheme: the page goes on without the address, and somebody should know."""
    scheme = _IGNORED.sub("", address).partition(":")[0][:20].lower()
    if scheme not in _told and len(_told) < 100:
        _told.add(scheme)
        logger.warning("an address with %r was left out of the page: it may be code", scheme)
