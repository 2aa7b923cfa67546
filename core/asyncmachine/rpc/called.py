"""How a request becomes a call: its numbers become states, which the client may call, its values arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asyncmachine.machine.errors import InvalidArgs
from asyncmachine.machine.names import ANY
from asyncmachine.rpc.errors import CallRefused, Code
from asyncmachine.rpc.events import CanRequested, MutationRequested
from asyncmachine.rpc.exposure import Exposure
from asyncmachine.rpc.limits import listed
from asyncmachine.rpc.loose import LooseArgs
from asyncmachine.rpc.messages import WireArgs
from asyncmachine.rpc.values import unpack_args

Request = MutationRequested | CanRequested


def called_by(seen: Exposure, source: Sequence[str], request: Request) -> tuple[str, ...]:
    """The states that are called; the `source` has these. Raises `CallRefused` if the client may not call them so."""
    called = states_of(seen, request.states)
    # A Set touches the states it does not name as well.
    if not seen.grants.mutates(called if request.kind != "set" else source):
        raise CallRefused(Code.FORBIDDEN, f"this client may not {request.kind} {listed(called)}")
    return called


def states_of(seen: Exposure, numbers: tuple[int, ...]) -> tuple[str, ...]:
    """States by their numbers in the session. Raises `CallRefused` for a number that none has."""
    names = seen.names
    if any(number >= len(names) for number in numbers):
        raise CallRefused(Code.NO_STATE, f"no state has number {max(numbers)}, the session has {len(names)}")
    return tuple([names[number] for number in numbers])


def args_of(seen: Exposure, called: tuple[str, ...], request: Request, loose: LooseArgs | None) -> dict[str, Any]:
    """The arguments as handlers get them. Raises `CallRefused` for those that are none of the states'."""
    if not request.args:
        return {}

    def is_its(state: str) -> bool:
        # What a call implies may get arguments of its own.
        return state in called or state == ANY or seen.calls(state)

    try:
        found = unpack_args(request.args, is_its, seen.has)
        return found if loose is None else loose.typed(called, found)
    except InvalidArgs as error:
        raise CallRefused(Code.BAD_ARGS, str(error)) from error


def wait_args_of(seen: Exposure, args: WireArgs | None) -> dict[str, Any]:
    """The arguments that a state is waited for with. Raises `InvalidArgs` for those that are none of the states'."""
    return unpack_args(args, lambda state: state == ANY or state in seen.schema, seen.has)
