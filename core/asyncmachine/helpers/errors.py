"""Errors of the helpers: what a machine answers with a result or a state, told to a caller as an exception."""

from __future__ import annotations

from typing import Any

from asyncmachine.machine.api import Api
from asyncmachine.machine.errors import AmError


class MutationCanceled(AmError):
    """A mutation was canceled where the caller cannot go on without it."""


class MachineErred(AmError):
    """A machine came into `Exception` while somebody waited for something else. The error is chained as the cause."""

    def __init__(self, machine: Api[Any]) -> None:
        super().__init__(f"machine {machine.id!r} is in Exception: {machine.err!r}")
        self.__cause__ = machine.err
