"""`python -m scripts.protocol_page`: writes those parts of docs/protocol.md that the code can tell itself.

Each stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; a test sees that they are as they would be written.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args

import msgspec.inspect as mi
from msgspec import NODEFAULT

from asyncmachine.rpc import calls, chunks, requests, sessions, values, watcher, watching
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.errors import CLOSE_CODES, Code
from asyncmachine.rpc.legality import TABLE, Phase, Role
from asyncmachine.rpc.timing import NATIVE
from asyncmachine.rpc.transport import MAX_FRAME
from asyncmachine_relay.policy import Reason
from tests.rpc.golden import GOLDEN
from tests.rpc.golden_bytes import CHANNEL, CLOCKS, KEYS, MANY, PORT, SCHEMAS, SOCKET

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "protocol.md"
KINDS: Final[list[type[m.Message]]] = sorted(
    get_args(m.AnyMessage), key=lambda kind: int(str(kind.__struct_config__.tag))
)
RECORDS: Final = (m.Sync, m.Resume, m.Limits, m.Source, m.Step, m.GrantList)

Part = Callable[[], Iterator[str]]


def session() -> Iterator[str]:
    """The session as a diagram."""
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield "    [*] --> NEW"
    moves: dict[tuple[Phase, Phase], list[str]] = {}
    for (phase, role), legal in TABLE.items():
        for kind, then in legal.items():
            if then is not phase:
                arrow = "C→S" if role is Role.CLIENT else "S→C"
                moves.setdefault((phase, then), []).append(f"{kind.__name__} {arrow}")
    for (phase, then), kinds in moves.items():
        both = [kind for kind in kinds if kind.startswith("Bye")]
        told = [kind for kind in kinds if kind not in both] + (["Bye"] if both else [])
        yield f"    {phase.name} --> {then.name}: {', '.join(told)}"
    yield "    ENDED --> [*]"
    yield "```"


def legality() -> Iterator[str]:
    """What each side may send in which phase."""
    yield "| phase | the client may send | the server may send |"
    yield "| --- | --- | --- |"
    for phase in Phase:
        sides = [", ".join(kind.__name__ for kind in TABLE[phase, role]) or "–" for role in (Role.CLIENT, Role.SERVER)]
        yield f"| {phase.name} | {sides[0]} | {sides[1]} |"


def limits() -> Iterator[str]:
    """How much of what there may be."""
    kept = f"{sessions.LIMIT}, {size(sessions.BYTES)}"
    yield "| of what | at most | beyond it |"
    yield "| --- | --- | --- |"
    most_calls = f"{calls.MAX_CALLS}, {size(calls.MAX_BYTES)}"
    for what, most, then in (
        ("a frame, packed or not", size(MAX_FRAME), "the connection ends (1009)"),
        ("calls without an answer, and their frames", most_calls, "not made; `RATE`"),
        ("answers that a server remembers", calls.MAX_CALLS, "`UNKNOWN_OUTCOME`"),
        ("errors of AddUnanswered that are told again", requests.MAX_UNASKED, "the oldest is not"),
        ("the time that a session waits for its client", f"{NATIVE.keep:g} s", "it is forgotten"),
        ("sessions that wait so, and their weight in memory", kept, "the oldest, or the heaviest, is forgotten"),
        ("waits for arguments of a client", watching.LIMIT, "`RATE`"),
        ("their messages, before compression", size(watching.BYTES), "`RATE`"),
        ("their arguments in memory", size(watching.MEMORY), "`RATE`"),
        ("steps that wait for a client", watcher.LIMIT, "one Full tells them"),
        ("lists and maps in one another", values.MAX_DEPTH, "`BAD_ARGS`"),
        ("a payload, unless set", size(chunks.MAX_PAYLOAD), "`TOO_LARGE`"),
        ("a chunk", size(m.LARGEST_CHUNK), "a fault (4400)"),
        ("of a payload beyond what was told as received", size(chunks.WINDOW), "the server waits"),
    ):
        yield f"| {what} | {most} | {then} |"


def size(count: int) -> str:
    """Bytes in words, without a small rest."""
    whole = count >> 20
    return f"{whole} MiB" if whole else f"{count >> 10} KiB"


def messages() -> Iterator[str]:
    """Every message and its fields."""
    for kind in KINDS:
        yield f"### {kind.__struct_config__.tag} {kind.__name__}"
        yield ""
        yield from described(kind)


def records() -> Iterator[str]:
    """The records that stand in messages."""
    for record in RECORDS:
        yield f"### {record.__name__}"
        yield ""
        yield from described(record)


def described(kind: type[Any]) -> Iterator[str]:
    """The docstring and the fields of a record."""
    text = inspect.getdoc(kind) or ""
    yield from text.splitlines()
    fields = fields_of(kind)
    if fields:
        yield ""
        yield "| field | type | default |"
        yield "| --- | --- | --- |"
    for field in fields:
        yield f"| `{field.name}` | {type_text(field.type)} | {default_text(field)} |"
    yield ""


def default_text(field: mi.Field) -> str:
    """The value of a field that is left out; empty for one that always travels."""
    if field.default is not NODEFAULT:
        found = field.default
    elif field.default_factory is not NODEFAULT:
        found = field.default_factory()
    else:
        return ""
    match found:
        case None:
            return "nil"
        case bool():
            return str(found).lower()
        case "" | b"":
            return "empty"
        case tuple():
            return "[]"
        case m.Sync():
            return "all its defaults"
        case _:
            return str(found)


def type_text(found: mi.Type) -> str:
    """A type in words of MessagePack."""
    match found:
        case mi.IntType():
            return "uint"
        case mi.FloatType():
            return "float"
        case mi.BoolType():
            return "bool"
        case mi.NoneType():
            return "nil"
        case mi.StrType():
            return "str" + sizes(found)
        case mi.BytesType():
            return "bin" + sizes(found)
        case mi.LiteralType():
            return " or ".join(f'"{value}"' for value in found.values)
        case mi.ListType() | mi.VarTupleType():
            return f"[{type_text(found.item_type)}, …]"
        case mi.TupleType():
            return f"[{', '.join(map(type_text, found.item_types))}]"
        case mi.DictType():
            return f"map of {type_text(found.key_type)} to {type_text(found.value_type)}"
        case mi.StructType():
            return f"[{found.cls.__name__}](#{found.cls.__name__.lower()})"
        case mi.UnionType():
            kinds = sorted(found.types, key=lambda kind: isinstance(kind, mi.NoneType))
            return " or ".join(map(type_text, kinds))
        case _:
            return "any"


def sizes(found: mi.StrType | mi.BytesType) -> str:
    """How long it may be."""
    least, most = found.min_length, found.max_length
    if most is None:
        return ""
    return f" ({least}–{most})" if least else f" (≤ {most})"


def codes() -> Iterator[str]:
    """Error codes with the close codes that go with them."""
    yield "| code | close code |"
    yield "| --- | --- |"
    for code in Code:
        yield f"| {code.value} | {CLOSE_CODES.get(code, '–')} |"


def refusals() -> Iterator[str]:
    """Why a relay ends a tunnel or refuses a token."""
    yield "| reason | close code | HTTP status |"
    yield "| --- | --- | --- |"
    for reason in Reason:
        yield f"| {reason.name} | {reason.close_code} | {reason.status} |"


def socket() -> Iterator[str]:
    """What goes over sockets."""
    yield from framing(SOCKET)


def port() -> Iterator[str]:
    """What goes through a MessagePort."""
    yield from framing(PORT)


def channel() -> Iterator[str]:
    """What goes over a BroadcastChannel."""
    yield from framing(CHANNEL)


def many() -> Iterator[str]:
    """What goes over a carrier of many connections."""
    yield from framing(MANY)


def framing(found: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    """Bytes of a transport's own in hexadecimal."""
    yield "| bytes | meaning |"
    yield "| --- | --- |"
    for sent, meaning in found.values():
        yield f"| `{sent}` | {meaning} |"


def schemas() -> Iterator[str]:
    """Canonical texts of schemas, and their hashes."""
    for found in SCHEMAS:
        yield f"{found.meaning}:"
        yield ""
        yield "```text"
        yield f"given   {json.dumps(found.given, ensure_ascii=False)}".replace("\x7f", r"\u007f")
        yield f"hashed  {found.canonical}"
        yield f"hash    {found.hash}"
        yield "```"
        yield ""


def seals() -> Iterator[str]:
    """Clocks with their checksums and seals."""
    yield f"The first keys are {', '.join(f'`{key:08x}`' for key in KEYS)}."
    yield ""
    yield "| ticks | queue tick | machine tick | sum | `seq` | seal |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for found in CLOCKS:
        ticks = ", ".join(map(str, found.ticks))
        sums = f"`{found.sum:08x}` | {found.seq} | `{found.seal:08x}`"
        yield f"| {ticks} | {found.queue_tick} | {found.machine_tick} | {sums} |"


def golden() -> Iterator[str]:
    """Frames in hexadecimal."""
    yield "| frame | message | meaning |"
    yield "| --- | --- | --- |"
    for message, frame, meaning in GOLDEN:
        yield f"| `{frame}` | `{short(message)}` | {meaning} |"


def short(message: m.Message) -> str:
    """A message without the fields that have their defaults."""
    given = [
        f"{field.name}={shown(getattr(message, field.name))}"
        for field in fields_of(type(message))
        if field.required or getattr(message, field.name) != getattr(type(message)(*required(message)), field.name)
    ]
    return f"{type(message).__name__}({', '.join(given)})"


def required(message: m.Message) -> list[Any]:
    """The fields that always travel."""
    return [getattr(message, field.name) for field in fields_of(type(message)) if field.required]


def fields_of(kind: type[Any]) -> tuple[mi.Field, ...]:
    """The fields of a record, as they follow on the wire."""
    found = mi.type_info(kind)
    assert isinstance(found, mi.StructType)
    return found.fields


def shown(value: object) -> str:
    """A value, without the pipe that would end a cell of the table."""
    return repr(value).replace("|", "\\|")


PARTS: Final[Mapping[str, Part]] = {
    part.__name__: part
    for part in (
        *(socket, port, channel, many, refusals, session, legality),
        *(schemas, seals, limits, messages, records, codes, golden),
    )
}


def written(page: str) -> str:
    """The page with its parts as the code tells them. Raises KeyError for a part that nobody can write."""

    def renewed(found: re.Match[str]) -> str:
        lines = "\n".join(PARTS[found[1]]()).strip("\n")
        return f"<!-- begin {found[1]} -->\n\n{lines}\n\n<!-- end {found[1]} -->"

    return re.sub(r"<!-- begin (\w+) -->.*?<!-- end \1 -->", renewed, page, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
