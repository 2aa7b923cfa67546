"""Arguments on their way through the wire: what goes in comes out equal, or an error is raised before anything is sent.

Plain values are those msgpack has. Beside them go points in time, errors, and typed records (`Args`), each as an
extension type; a record is rebuilt by its class on the other side, so its fields may be of any type msgspec can
convert. Sets, tuples and objects would arrive as something else and are refused; put them into a typed record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, Final

import msgspec
from msgspec.msgpack import Ext

from asyncmachine.machine.args import Args, ErrorArgs
from asyncmachine.machine.errors import InvalidArgs
from asyncmachine.rpc.errors import PeerFault, RemoteError, Unsendable
from asyncmachine.rpc.messages import WireArgs

EXT_TIME, EXT_ERROR, EXT_ARGS = 1, 2, 3

MAX_DEPTH = 64
"""How deep lists and dicts may be nested in what is sent."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OF_RECORDS: Final = "__"
"""What is in the key of every typed record, and so in the name of no plain argument."""

_SCALARS = frozenset({type(None), bool, float, str, bytes, bytearray, memoryview})
_KEYS = frozenset({str, int, bytes})
_encoder = msgspec.msgpack.Encoder()
_record_decoders: dict[type[Args], msgspec.msgpack.Decoder[Args]] = {}


StateTest = Callable[[str], bool]
"""Something about a state, by its name."""


class TypedArgs(msgspec.Struct, frozen=True, array_like=True):
    """A typed record as it travels: its fields stay msgpack until its class is known."""

    prefix: str
    state: str
    fields: msgspec.Raw


_CONTAINERS: Final = frozenset({list, dict})
_OPAQUE: Final = _CONTAINERS | {TypedArgs}


class _ErrorFields(msgspec.Struct, frozen=True, array_like=True):
    type: str
    message: str = ""


def pack_args(args: Mapping[str, Any] | None) -> WireArgs | None:
    """Arguments in their wire form. Raises `Unsendable`, naming the argument, for what would not arrive equal."""
    if not args:
        return None
    packed: WireArgs = {}
    for key, value in args.items():
        if isinstance(value, ErrorArgs):
            packed[len(packed)] = _ext_args(value, encode_value({"err": _pack_error(value.err)}))
        elif isinstance(value, Args):
            packed[len(packed)] = pack_record(value)
        elif type(key) is not str:
            raise Unsendable(f"the name of an argument is a text, got {key!r}")
        elif OF_RECORDS in key:
            packed[len(packed)] = pack_record(_record(key, value))
        else:
            packed[key] = pack(value, f"args[{key!r}]")
    return packed


def unpack_args(args: WireArgs | None, is_its: StateTest, is_state: StateTest) -> dict[str, Any]:
    """Arguments as handlers get them. Records of states (`is_state`) that are not the peer's (`is_its`) are not taken.

    Raises `InvalidArgs` for those, for a record that does not fit its class, and for what stands in the place of one:
    handlers believe in the types of its fields.
    """
    unpacked: dict[str, Any] = {}
    for key, value in (args or {}).items():
        if isinstance(key, str):
            if OF_RECORDS in key:
                raise InvalidArgs(f"argument {key!r}: names with {OF_RECORDS!r} are those of typed records")
            if type(value) in _OPAQUE and (fault := _fault(value)):
                raise InvalidArgs(f"argument {key!r} {fault}")
            unpacked[key] = value
        elif isinstance(value, TypedArgs):
            record = _rebuild(value, is_its, is_state)
            unpacked[record.key] = record
        else:
            raise InvalidArgs(f"argument number {key} is not a typed record")
    return unpacked


def _fault(value: Any) -> str:
    """What is wrong with a value that nobody here would have sent; empty if nothing is."""
    level, depth = [value], 0
    while True:
        kinds = set(map(type, level))
        if TypedArgs in kinds:
            return "is or holds a typed record: those stand under numbers"
        if kinds.isdisjoint(_CONTAINERS):
            return ""
        depth += 1
        if depth > MAX_DEPTH:
            return f"is nested deeper than {MAX_DEPTH} levels"
        if not all(_KEYS.issuperset(map(type, item)) for item in level if type(item) is dict):
            return "has a key that is neither a text nor an integer nor bytes"
        inner = (item if type(item) is list else item.values() for item in level if type(item) in _CONTAINERS)
        level = list(chain.from_iterable(inner))


def pack_data(data: Any) -> Any:
    """A payload's data in its wire form: a plain value, or one typed record. Raises `Unsendable`."""
    if isinstance(data, Args):
        return pack_record(data)
    return pack(data, "data")


def pack_meta(meta: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What stands beside a payload's data, in its wire form. Raises `Unsendable`, also for a key that is no text."""
    for key in meta or ():
        if not isinstance(key, str):
            raise Unsendable(f"meta has the key {key!r}: its keys are texts")
    return pack(dict(meta), "meta") if meta else None


def unpack_data(data: Any) -> Any:
    """A payload's data as the consumer gets it. Raises `InvalidArgs` for a record that does not fit."""
    return _rebuild(data, _any_state, _any_state) if isinstance(data, TypedArgs) else data


def decode_data(data: bytes | bytearray) -> Any:
    """The data of a large payload from their MessagePack. Raises `InvalidArgs` for what is none."""
    try:
        return _data_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, TypeError, PeerFault) as error:
        raise InvalidArgs(f"not a value: {error}") from error
    except RecursionError:
        raise InvalidArgs("not a value: nested too deep") from None


def pack(value: Any, where: str = "value", depth: int = 0) -> Any:
    """A value in its wire form; `where` names it in errors. Raises `Unsendable`."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is int:
        return _int(value, where)
    if depth >= MAX_DEPTH:
        raise Unsendable(f"{where} is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, list):
        return [pack(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
    if isinstance(value, dict):
        return {_key(key, where): pack(item, f"{where}[{key!r}]", depth + 1) for key, item in value.items()}
    if isinstance(value, datetime):
        return _pack_time(value, where)
    if isinstance(value, BaseException):
        return _pack_error(value)
    # Texts and numbers of a subclass (members of a StrEnum, state names) arrive plain, and are equal.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return _int(int(value), where)
    raise Unsendable(f"{where} is of type {kind.__name__}, which {_advice(value)}")


def unpack_ext(code: int, data: memoryview) -> Any:
    """Extension types of a frame. Raises `PeerFault` for unknown and malformed ones."""
    try:
        if code == EXT_ARGS:
            return _args_decoder.decode(data)
        return _unpack_plain_ext(code, data)
    except (msgspec.DecodeError, OverflowError) as error:
        raise PeerFault(f"extension {code}: {error}") from error


def _unpack_plain_ext(code: int, data: memoryview) -> Any:
    if code == EXT_TIME and len(data) == 8:
        return EPOCH + timedelta(microseconds=int.from_bytes(data, "big", signed=True) // 1000)
    if code == EXT_ERROR:
        found = _error_decoder.decode(data)
        return RemoteError(found.type, found.message)
    raise PeerFault(f"extension type {code} of {len(data)} bytes is not known")


_args_decoder = msgspec.msgpack.Decoder(TypedArgs)
_error_decoder = msgspec.msgpack.Decoder(_ErrorFields)
_data_decoder = msgspec.msgpack.Decoder(ext_hook=unpack_ext)
_told_decoder = msgspec.msgpack.Decoder(dict[str, Any], ext_hook=_unpack_plain_ext)


def pack_record(record: Args) -> Ext:
    """A typed record in its wire form. Raises `Unsendable` if its class would rebuild something else from it."""
    kind = type(record)
    packed = encode_value(record)
    try:
        back = _record_decoder(kind).decode(packed)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise Unsendable(f"{kind.__qualname__} would not be accepted where it arrives: {error}") from error
    if back != record and not alike(back, record):
        raise Unsendable(f"{kind.__qualname__} would arrive as {back!r}: declare its fields with their exact types")
    return _ext_args(record, packed)


def alike(a: Any, b: Any) -> bool:
    """Equal in kind and value, down to the leaves; NaN is like NaN, and records need no `__eq__`."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return a == b or (a != a and b != b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(alike(value, b[key]) for key, value in a.items())
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, msgspec.Struct) or is_dataclass(a):
        names = a.__struct_fields__ if isinstance(a, msgspec.Struct) else [found.name for found in fields(a)]
        return all(alike(getattr(a, name), getattr(b, name)) for name in names)
    return bool(a == b)


def _ext_args(record: Args, packed: bytes) -> Ext:
    return Ext(EXT_ARGS, encode_value(TypedArgs(record.prefix, record.state, msgspec.Raw(packed))))


def _record_decoder(kind: type[Args]) -> msgspec.msgpack.Decoder[Args]:
    """The decoder of a class, made once."""
    found = _record_decoders.get(kind)
    if found is None:
        found = _record_decoders[kind] = msgspec.msgpack.Decoder(kind)
    return found


def _record(key: str, value: Any) -> Args:
    """The record of plain fields in its place, as `Event.args` makes it of those of a local call."""
    kind = Args.registry.get(key)
    if kind is None or not isinstance(value, Mapping):
        raise Unsendable(f"args[{key!r}]: names with {OF_RECORDS!r} are those of typed records, send one")
    try:
        return kind(**value)
    except (TypeError, ValueError) as error:
        raise Unsendable(f"args[{key!r}]: {error}") from error


def _any_state(_: str) -> bool:
    return True


def _not_taken(key: str) -> str:
    # One text for all, since it is of no concern to the peer which records there are elsewhere, and what is in them.
    return (
        f"no record class for {key!r} is taken here: it is not known (import the module that defines it), "
        "is of a state that may not be called, or of none and does not fit"
    )


def _rebuild(found: TypedArgs, is_its: StateTest, is_state: StateTest) -> Args:
    key = f"{found.prefix}{OF_RECORDS}{found.state}"
    kind = Args.registry.get(key)
    its = kind is not None and is_its(kind.state)
    if kind is None or (not its and is_state(kind.state)):
        raise InvalidArgs(_not_taken(key))
    try:
        if kind is ErrorArgs:
            return ErrorArgs(_told_decoder.decode(found.fields)["err"])
        return _record_decoder(kind).decode(found.fields)
    except (msgspec.MsgspecError, TypeError, ValueError, KeyError, RecursionError, PeerFault) as error:
        raise InvalidArgs(f"{key}: {error}" if its else _not_taken(key)) from error


def _pack_time(value: datetime, where: str) -> Ext:
    if value.tzinfo is None:
        raise Unsendable(f"{where} is a time without a zone: give it one, such as datetime.UTC")
    since = value - EPOCH
    nanoseconds = (since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds) * 1000
    if not -(2**63) <= nanoseconds < 2**63:
        raise Unsendable(f"{where}: {value} is outside of the years 1678 to 2261")
    return Ext(EXT_TIME, nanoseconds.to_bytes(8, "big", signed=True))


def _pack_error(error: BaseException) -> Ext:
    if isinstance(error, RemoteError):
        told = _ErrorFields(error.type, error.message)
    else:
        told = _ErrorFields(type(error).__qualname__, str(error))
    return Ext(EXT_ERROR, encode_value(told))


def encode_value(value: Any) -> bytes:
    """The msgpack of a packed value. Raises `Unsendable` for what is left to find: texts that are not Unicode."""
    try:
        return _encoder.encode(value)
    except (UnicodeEncodeError, TypeError, OverflowError, ValueError) as error:
        raise Unsendable(f"not encodable: {error}") from error


def _int(value: int, where: str) -> int:
    if not -(2**63) <= value < 2**64:
        raise Unsendable(f"{where}: the number {value} is outside of -2**63 … 2**64-1")
    return value


def _key(key: Any, where: str) -> Any:
    if type(key) in _KEYS:
        return _int(key, where) if type(key) is int else key
    if isinstance(key, str):
        return str.__str__(key)
    raise Unsendable(f"{where} has the key {key!r}: keys are texts, whole numbers or bytes")


def _advice(value: Any) -> str:
    if isinstance(value, Args):
        return "goes beside the other arguments, not inside of one"
    if isinstance(value, tuple):
        return "would arrive as a list: send a list, or put it into a typed record"
    if isinstance(value, set | frozenset):
        return "would arrive as a list: put it into a typed record"
    return "msgpack does not have: send plain values, or put it into a typed record"
