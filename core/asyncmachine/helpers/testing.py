"""Assertions on machines. They fail with what the machine is in.

Waits need no failing versions of their own: they raise.
"""

from __future__ import annotations

from typing import Any

from asyncmachine.machine.api import Api
from asyncmachine.machine.errors import StateMissing
from asyncmachine.machine.machine import Machine
from asyncmachine.machine.schema import EXCEPTION


def assert_is(machine: Api[Any], *names: str) -> None:
    """All of these are active."""
    _know(machine, names)
    inactive = [name for name in names if name not in machine]
    _hold(machine, not inactive, f"{' '.join(inactive)} should be active")


def assert_not(machine: Api[Any], *names: str) -> None:
    """None of these is active."""
    _know(machine, names)
    active = [name for name in names if name in machine]
    _hold(machine, not active, f"{' '.join(active)} should not be active")


def assert_no_err_now(machine: Api[Any]) -> None:
    """`Exception` is not active."""
    _hold(machine, not machine.is_err(), f"no error is expected now, it has {machine.err!r}")


def assert_no_err_queued(machine: Machine[Any]) -> None:
    """No error waits in the queue."""
    _hold(machine, not machine.will_be(EXCEPTION), "an error waits in the queue")


def assert_no_err_ever(machine: Api[Any]) -> None:
    """`Exception` has never been active and (of a local machine) does not wait in the queue."""
    ticks = machine.tick(EXCEPTION)
    _hold(
        machine, ticks == 0, f"no error is ever expected, {EXCEPTION} ticked {ticks} times, last with {machine.err!r}"
    )
    if isinstance(machine, Machine):
        assert_no_err_queued(machine)


def assert_err(machine: Api[Any], kind: type[BaseException] = BaseException) -> None:
    """`Exception` is active, with an error of this kind."""
    _hold(machine, machine.is_err(), f"an error is expected, the last one was {machine.err!r}")
    if kind is not BaseException:
        _hold(machine, isinstance(machine.err, kind), f"{kind.__name__} is expected, it is {machine.err!r}")


def _know(machine: Api[Any], names: tuple[str, ...]) -> None:
    unknown = [name for name in names if name not in machine.names]
    if unknown:
        raise StateMissing(unknown, machine.id, machine.names)


def _hold(machine: Api[Any], holds: bool, text: str) -> None:
    __tracebackhide__ = True
    if not holds:
        raise AssertionError(f"{machine.id}: {text}; {machine.string_all()}")
