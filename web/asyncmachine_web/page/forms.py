"""A form that makes a mutation of what was filled in, and waits for what follows from it.

How it stands shows in the form's `data-state`: nothing at first, then `busy`, then one of `done`, `refused` (relations
or a handler said no), `late` (the time is over; it may still happen), `unsent` (there is no connection) and `failed`.
While it is busy, `aria-busy` is set and sending it again does nothing. What there is to say is shown in the element
inside of it that has `data-message`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from asyncmachine.helpers.mutations import add_async, add_sync
from asyncmachine.machine.errors import AmError, WaitTimeout
from asyncmachine_web.page.reads import Value

BUSY, DONE, REFUSED, LATE, UNSENT, FAILED = "busy", "done", "refused", "late", "unsent", "failed"

MESSAGES: Final[Mapping[str, str]] = {
    REFUSED: "This is not possible now.",
    LATE: "No answer yet. It may still come: look before you try again.",
    UNSENT: "There is no connection now. Nothing was sent: try again when it is back.",
    FAILED: "This did not work: {error}",
}
"""By state; others say nothing."""

Fields = dict[str, str]


class Form:
    """See the module. `args` makes the mutation's arguments of the fields, by default a dict of them."""

    def __init__(
        self,
        machine: Any,
        state: str,
        until: str,
        timeout: float,
        args: Callable[[Fields], object] | None,
        messages: Mapping[str, str] | None,
    ) -> None:
        machine.not_(state, *filter(None, [until]))  # raises StateMissing, with the nearest name
        self._machine = machine
        self._state = state
        self._until = until
        self._timeout = timeout
        self._args: Callable[[Fields], object] = args or dict
        self._messages = {**MESSAGES, **(messages or {})}
        self.state = Value("")
        self.message = Value("")
        self.done: Value[str | None] = Value(None)
        """Number of times that it was done: after each, the form is emptied."""

    async def submit(self, fields: Fields) -> None:
        if self.state.get() == BUSY:
            return
        self._show(BUSY)
        try:
            executed = await self._add(self._args(fields))
        except WaitTimeout:
            self._show(LATE)
        except AmError as error:
            self._show(UNSENT if _is_unsent(error) else FAILED, error)
        except BaseException:
            self._show("")
            raise
        else:
            self._show(DONE if executed else REFUSED)
            if executed:
                self.done.update(lambda count: str(int(count or 0) + 1))

    async def _add(self, args: object) -> bool:
        machine, state, timeout = self._machine, self._state, self._timeout
        if self._until:
            return await add_async(machine, state, args, wait=self._until, timeout=timeout)  # type: ignore[arg-type]
        return await add_sync(machine, state, args, timeout=timeout)  # type: ignore[arg-type]

    def _show(self, state: str, error: BaseException | None = None) -> None:
        self.state.set(state)
        self.message.set(self._messages.get(state, "").format(error=error))


def _is_unsent(error: AmError) -> bool:
    from asyncmachine.rpc.errors import NotConnected, Overloaded  # a page of local machines alone need not load it

    return isinstance(error, NotConnected) and not isinstance(error, Overloaded)
