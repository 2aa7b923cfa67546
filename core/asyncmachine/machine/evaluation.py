"""Evaluations: functions that run on the queue, between transitions, so that they see and keep a state of rest."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Generic, TypeVar

from asyncmachine.machine.errors import AmError, WaitCanceled, WaitTimeout
from asyncmachine.machine.wait import Once, block_until, until_ended

T = TypeVar("T")


class Evaluation(Once, Generic[T]):
    """One function that waits in the queue. Withdrawn before it has begun, it never runs."""

    __slots__ = ("_failure", "_function", "_open", "_value")

    def __init__(self, function: Callable[[], T]) -> None:
        super().__init__()
        self._function = function
        # Empty once it is decided whether the function runs; whoever takes the last item out decides.
        self._open = [True]
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
        """Calls the function, on the draining thread. What it raises is kept for the caller; an interrupt goes up."""
        if not self._decides():
            return
        try:
            self._value.append(self._function())
        except Exception as error:  # noqa: BLE001 (raised again where the evaluation was asked for)
            self._failure = error
        except BaseException as error:
            self._failure = error
            raise
        finally:
            self._end()

    def withdraw(self, reason: Callable[[], AmError]) -> None:
        """Keeps it from running; whoever asks for its value gets the reason. Too late once it has begun."""
        if self._decides():
            self._end(reason)

    def block(self, timeout: float) -> T:
        """Waits on another thread. Raises `WaitTimeout`, and the function will not run, after `timeout` seconds."""
        try:
            block_until(self, timeout)
        except WaitTimeout:
            self.withdraw(lambda: WaitTimeout(f"the queue did not come to this evaluation within {timeout} s"))
            # It has ended, unless it has begun in the very last moment.
            block_until(self, None)
        except AmError:
            self.withdraw(lambda: WaitCanceled("the evaluation was withdrawn"))
            raise
        return self.value()

    def value(self) -> T:
        """What the function returned. Raises what it raised, or why it never ran."""
        if self._error is not None:
            raise self._error()
        if self._failure is not None:
            raise self._failure
        return self._value[0]

    def __await__(self) -> Generator[object, None, T]:
        try:
            yield from until_ended(self)
        except BaseException:
            self.withdraw(lambda: WaitCanceled("the evaluation was withdrawn"))
            raise
        return self.value()

    def _decides(self) -> bool:
        try:
            return self._open.pop()
        except IndexError:
            return False
