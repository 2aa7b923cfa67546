"""Evaluations: functions that run on the queue, between transitions, so that they see and keep a state of rest."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Generic, TypeVar

from asyncmachine.machine.errors import WaitTimeout
from asyncmachine.machine.wait import Once, block_until, until_ended

T = TypeVar("T")


class Evaluation(Once, Generic[T]):
    """One function that waits in the queue. Withdrawn before it has begun, it never runs."""

    __slots__ = ("_failure", "_function", "_value")

    def __init__(self, function: Callable[[], T]) -> None:
        super().__init__()
        self._function = function
        self._value: list[T] = []
        self._failure: BaseException | None = None

    @property
    def source(self) -> str:
        """The function's name, for people."""
        return getattr(self._function, "__qualname__", None) or repr(self._function)

    @property
    def has_run(self) -> bool:
        """Whether the function has been called, and has returned or raised."""
        return self._failure is not None or bool(self._value)

    def run(self) -> None:
        """Calls the function, on the draining thread. What it raises is kept for the caller."""
        if self._ended:
            return
        try:
            self._value.append(self._function())
        except Exception as error:  # noqa: BLE001 (raised again where the evaluation was asked for)
            self._failure = error
        self._end()

    def withdraw(self) -> None:
        """Keeps it from running."""
        self._end()

    def block(self, timeout: float) -> T:
        """Waits on another thread. Raises `WaitTimeout`, and the function will not run, after `timeout` seconds."""
        try:
            block_until(self, timeout)
        except WaitTimeout:
            self.withdraw()
        return self.value(timeout)

    def value(self, timeout: float = 0) -> T:
        """What the function returned. Raises what it raised."""
        if self._failure is not None:
            raise self._failure
        if not self._value:
            raise WaitTimeout(f"the queue did not come to this evaluation within {timeout} s")
        return self._value[0]

    def __await__(self) -> Generator[object, None, T]:
        yield from until_ended(self)
        return self.value()
