"""Calls of functions in another thread, as messages: what a pool sends and its workers answer.

Arguments and results go over as the function's annotations say, encoded by msgspec. A value that would not arrive equal
is an error of the caller before anything is sent.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import reprlib
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, get_type_hints

import msgspec

import asyncmachine as am
from asyncmachine.rpc.transport.port import JsPort, Wire
from asyncmachine.rpc.values import alike
from asyncmachine_web.page.workers import Context


class CallFailed(am.AmError):
    """What the function raised in its worker: `kind` is the class, the text has its message and where it was."""

    def __init__(self, kind: str, message: str, trace: str = "") -> None:
        super().__init__(f"{kind}: {message}\n{trace}".rstrip())
        self.kind = kind


class Request(msgspec.Struct, array_like=True, tag="call"):
    number: int
    function: str
    arguments: msgspec.Raw


class Cancel(msgspec.Struct, array_like=True, tag="cancel"):
    number: int


class Done(msgspec.Struct, array_like=True, tag="done"):
    number: int
    result: msgspec.Raw


class Failed(msgspec.Struct, array_like=True, tag="failed"):
    number: int
    kind: str
    message: str
    trace: str


_requests = msgspec.msgpack.Decoder(Request | Cancel)
_answers = msgspec.msgpack.Decoder(Done | Failed)


CANCELLED: Final = "the call was cancelled"


@dataclass(frozen=True)
class Signature:
    """What a function takes and returns."""

    names: tuple[str, ...]
    arguments: type[Any]
    result: Any

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Signature:
        """Raises `am.InvalidArgs` for a function that says too little."""
        hints = get_type_hints(function)
        names = tuple(inspect.signature(function).parameters)
        silent = [name for name in (*names, "return") if name not in hints]
        if silent:
            raise am.InvalidArgs(f"{function.__qualname__} does not annotate {', '.join(silent)}: say what goes over")
        arguments = msgspec.defstruct("Arguments", [(name, hints[name]) for name in names], array_like=True)
        return cls(names, arguments, hints["return"])


def encode_call(number: int, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """Raises `am.InvalidArgs` for a function that cannot be called elsewhere, and for arguments that do not fit it."""
    name = f"{function.__module__}:{function.__qualname__}"
    if not function.__qualname__.isidentifier() or function.__module__ == "__main__":
        raise am.InvalidArgs(f"{name} is no function of a module that a worker can import")
    signature = Signature.of(function)
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        encoded = msgspec.msgpack.encode(list(bound.arguments.values()))
        arrived = msgspec.msgpack.decode(encoded, type=signature.arguments)
        for parameter, value in bound.arguments.items():
            _expect_equal(getattr(arrived, parameter), value, parameter)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise am.InvalidArgs(f"{name} cannot be called like this: {error}") from error
    return msgspec.msgpack.encode(Request(number, name, msgspec.Raw(encoded)))


def encode_cancel(number: int) -> bytes:
    return msgspec.msgpack.encode(Cancel(number))


def decode_answer(message: bytes) -> Done | Failed:
    answer: Done | Failed = _answers.decode(message)
    return answer


def result_of(answer: Done | Failed, type: Any) -> Any:
    """Raises CallFailed."""
    if isinstance(answer, Failed):
        raise CallFailed(answer.kind, answer.message, answer.trace)
    return msgspec.msgpack.decode(answer.result, type=type)


async def serve(context: Context) -> None:
    """The main of a worker that answers calls."""
    serve_on(JsPort(await context.next_port()))
    await asyncio.get_running_loop().create_future()


def serve_on(port: Wire) -> None:
    """Answer what comes there. Several calls may run at once."""
    tasks: dict[int, asyncio.Task[Done | Failed]] = {}

    def arrived(message: bytes | None) -> None:
        order = _requests.decode(message or b"")
        if isinstance(order, Cancel):
            if order.number in tasks:
                tasks[order.number].cancel()
            return
        number = order.number
        tasks[number] = asyncio.get_running_loop().create_task(_reply(order))

        def answered(task: asyncio.Task[Done | Failed]) -> None:
            # One that is cancelled before its first step never gets to its `try`, and is to be answered all the same.
            del tasks[number]
            reply = Failed(number, "CancelledError", CANCELLED, "") if task.cancelled() else task.result()
            port.post(msgspec.msgpack.encode(reply))

        tasks[number].add_done_callback(answered)

    port.listen(arrived)


async def _reply(request: Request) -> Done | Failed:
    """What the caller is told, whatever the function does: a call without an answer would cost the pool its worker."""
    try:
        return Done(request.number, msgspec.Raw(await _call(request)))
    except asyncio.CancelledError:
        return Failed(request.number, "CancelledError", CANCELLED, "")
    except BaseException as error:  # noqa: BLE001 (it is told to the caller)
        return Failed(request.number, type(error).__name__, *_told(error))


def _told(error: BaseException) -> tuple[str, str]:
    """Text and trace of an error, which may be unable to tell them."""
    try:
        return str(error), "".join(traceback.format_exception(error))
    except BaseException:  # noqa: BLE001 (by the error itself)
        return "it cannot tell what it is about", "".join(traceback.format_tb(error.__traceback__))


async def _call(request: Request) -> bytes:
    """Its encoded result. Raises `am.InvalidArgs` for one that is not as the function says."""
    module, _, name = request.function.partition(":")
    function = getattr(importlib.import_module(module), name)
    signature = Signature.of(function)
    arguments = msgspec.msgpack.decode(request.arguments, type=signature.arguments)
    result = function(**{name: getattr(arguments, name) for name in signature.names})
    if inspect.isawaitable(result):
        result = await result
    try:
        encoded = msgspec.msgpack.encode(result)
        _expect_equal(msgspec.msgpack.decode(encoded, type=signature.result), result, "it")
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise am.InvalidArgs(f"the result of {request.function} cannot be sent: {error}") from error
    return encoded


def _expect_equal(arrived: Any, value: Any, what: str) -> None:
    """Raises `ValueError` for a value that becomes another on its way: a set that is annotated `Any` becomes a list."""
    if arrived != value and not alike(arrived, value):
        raise ValueError(f"{what} would arrive as {reprlib.repr(arrived)}: annotate it with its exact type")
