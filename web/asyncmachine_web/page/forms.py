"""A form that makes a mutation of what was filled in, and waits for what follows from it.

How it stands shows in the form's `data-state`: nothing at first, then `busy`, then one of `done`, `refused` (relations,
a handler or the server's grants said no), `failed` (a handler raised, or the call met an error), `late` (no answer in
time, or the connection went before it; it may still happen) and `unsent` (there is no connection). While it is busy,
`aria-busy` is set and sending it again does nothing. What there is to say is shown in the element inside of it that has
`data-message`; what was refused, has failed, is late or was not sent is forgotten when somebody types again. A form
that is late is done when what it waits for comes after all, unless somebody has typed or sent it again before that.

What an error says is not shown, unless `messages` asks for it (`{"failed": "That went wrong: {error}"}`) or it is an
`AmError` of `args`, whose text is meant for whoever filled the form in. Nor is the reason of a refusal
(`{"refused": "Not now: {reason}"}`). A handler that raises cancels its mutation as a veto does; what tells them apart
is that `Exception` of the machine has ticked meanwhile. An async handler raises when its mutation has been carried out
already: `Exception` that ticks while `until` is awaited ends the waiting. Of a mirror's source that is all there is to
know: its errors stay there, and one that came up meanwhile by other doings is not told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final
from weakref import WeakMethod

from asyncmachine.helpers.waiting import deadline
from asyncmachine.machine.errors import AmError, WaitTimeout
from asyncmachine.machine.result import FinalResult, Result
from asyncmachine.machine.schema import EXCEPTION
from asyncmachine.machine.wait import Wait, wait_any
from asyncmachine_web.page.bindings import BindingError
from asyncmachine_web.page.reads import Value
from asyncmachine_web.page.surface import Fields

BUSY, DONE, REFUSED, LATE, UNSENT, FAILED = "busy", "done", "refused", "late", "unsent", "failed"

MESSAGES: Final[Mapping[str, str]] = {
    REFUSED: "This is not possible now.",
    LATE: "No answer yet. It may still come: look before you try again.",
    UNSENT: "There is no connection now. Nothing was sent: try again when it is back.",
    FAILED: "Something went wrong, and this did not work.",
}
"""By state; others say nothing."""
STATES: Final = frozenset({BUSY, DONE, *MESSAGES})
UNFIT: Final = "This did not work: {error}"
"""What `args` has to say of the fields."""
TEXTS_ALONE: Final = "a form sends texts; leave out the name of its field of files, and read them on their own"
"""Why there is a BindingError: where the form is bound, or when it is sent if such a field has come since."""
UNKEPT: Final = "This was done, but could not be stored: it may be gone when this page is."
"""Of a durable machine."""
ELSEWHERE: Final = "an error that is told where it happened"
"""In the place of an error that is not known here."""
UNTOLD: Final = "for a reason that is not told"
"""In the place of a reason that is not known here."""


class Form:
    """See the module. `args` makes the mutation's arguments of the fields, by default a dict of them: texts, and a list
    of them for a name that came several times.

    `report` gets errors that are not shown.
    """

    def __init__(
        self,
        machine: Any,
        state: str,
        until: str,
        timeout: float,
        args: Callable[[Fields], object] | None,
        messages: Mapping[str, str] | None,
        report: Callable[[BaseException], object] = lambda _: None,
    ) -> None:
        machine.not_(state, *filter(None, [until]))  # raises StateMissing, with the nearest name
        self._machine = machine
        self._state = state
        self._until = until
        self._timeout = timeout
        self._args: Callable[[Fields], object] = args or _by_name
        self._messages = _sayable(messages or {})
        self._report = report
        self.state = Value("")
        self.message = Value("")
        self.done: Value[str | None] = Value(None)
        """Number of times that it was done: after each, what was sent is emptied."""
        self._awaited: Wait | Result | None = None
        """That `until` follows or, without it, the answer: from the sending to the end, also after it is late."""

    def submit(self, fields: Fields) -> Coroutine[Any, Any, None] | None:
        """What sends it, to be awaited; None while it is busy."""
        if self.state.get() == BUSY:
            return None
        self._let_go()
        self._show(BUSY)
        return self._send(fields)

    def typed(self) -> None:
        """Somebody goes on: what was said of the last time is over."""
        if self.state.get() in {REFUSED, LATE, UNSENT, FAILED}:
            self._show("")

    async def _send(self, fields: Fields) -> None:
        try:
            await self._carry_out(fields)
        except Exception as error:
            self._show(FAILED, error)
            raise
        except BaseException:
            self._show("")
            raise

    async def _carry_out(self, fields: Fields) -> None:
        if fields.files:
            raise BindingError(f"nothing was sent, since there are files in {', '.join(fields.files)}: {TEXTS_ALONE}")
        try:
            args = self._args(fields)
        except AmError as error:
            self._show(FAILED, error, UNFIT)
            return
        before = self._errors()
        try:
            final, met = await self._add(args)
        except AmError as error:
            state, default = _meaning(error)
            self._show(state, error, default)
            if state == FAILED:
                self._report(error)
            awaited = self._awaited
            if state == LATE and awaited is not None:
                came = WeakMethod(self._came)  # what waits for long holds no form that is gone
                awaited.then(lambda: (call := came()) and call(awaited, *before))
            return
        self._tell(met, final.reason, *before)

    def _came(self, awaited: Wait | Result, ticked: int, known: BaseException | None) -> None:
        """What was awaited has ended after the form was late."""
        if awaited is not self._awaited:
            return
        try:
            final = awaited.wait()  # which it need not: it only tells how
        except AmError:
            return
        met, reason = (True, "") if final is None else (final.executed, final.reason)
        self._tell(met, reason, ticked, known)

    def _tell(self, met: bool, reason: str, ticked: int, known: BaseException | None) -> None:
        """How it ended; what is `known` of errors is from before it was sent."""
        if met:
            self._show(DONE)
            self.done.update(lambda count: str(int(count or 0) + 1))
            return
        now, last = self._errors()
        if now == ticked:
            self._show(REFUSED, reason=reason)
        elif last is None or last is known:
            self._show(FAILED)
        else:
            self._show(FAILED, last)
            self._report(last)

    def _errors(self) -> tuple[int, BaseException | None]:
        """How often `Exception` has ticked, as far as it is seen, and the last error here."""
        machine = self._machine
        return machine.tick(EXCEPTION) if machine.has(EXCEPTION) else 0, machine.err

    async def _add(self, args: object) -> tuple[FinalResult, bool]:
        """The answer, and whether all has come that is awaited: not if an error came before `until`."""
        machine, state, until, timeout = self._machine, self._state, self._until, self._timeout
        followed: Wait | None = machine.when_next_active(until) if until else None
        erred = [machine.when_next_active(EXCEPTION)] if machine.has(EXCEPTION) else []
        self._awaited = followed
        try:
            async with deadline(
                timeout, f"{until or 'an answer'} did not follow the adding of {state} within {timeout} s"
            ):
                answer: Result = machine.add(state, args)
                self._awaited = followed or answer
                final = await answer
                if followed is None or not final.executed:
                    return final, final.executed
                return final, await wait_any(followed, *erred) is followed
        finally:
            for wait in erred:
                wait.cancel()

    def _let_go(self) -> None:
        """Nothing more is awaited."""
        awaited, self._awaited = self._awaited, None
        if isinstance(awaited, Wait):
            awaited.cancel()

    def _show(self, state: str, error: BaseException | None = None, default: str = "", reason: str = "") -> None:
        if state not in {BUSY, LATE}:
            self._let_go()
        text = self._messages.get(state, default or MESSAGES.get(state, ""))
        self.state.set(state)
        reason = reason or (UNTOLD if error is None else str(error))
        self.message.set(text.format(error=ELSEWHERE if error is None else error, reason=reason))


def _sayable(messages: Mapping[str, str]) -> Mapping[str, str]:
    for state, text in messages.items():
        if state not in STATES:
            raise BindingError(f"messages: a form is never {state!r}, but {', '.join(sorted(STATES))}")
        try:
            text.format(error="", reason="")
        except (LookupError, ValueError, AttributeError) as wrong:
            raise BindingError(f"messages[{state!r}] may ask for {{error}} and {{reason}} alone: {wrong!r}") from None
    return messages


def _meaning(error: AmError) -> tuple[str, str]:
    """The state of a form whose mutation has no outcome, and what to say of it if not the usual."""
    # A page of local machines alone need not load them.
    from asyncmachine.rpc import errors as rpc
    from asyncmachine_web.page.journal import NotKept

    match error:
        case WaitTimeout() | rpc.UnknownOutcome():
            return LATE, ""
        case rpc.NotConnected() if not isinstance(error, rpc.Overloaded):
            return UNSENT, ""
        case rpc.CallRefused(code=rpc.Code.FORBIDDEN):
            return REFUSED, ""
        case NotKept():
            return FAILED, UNKEPT
    return FAILED, ""


def _by_name(fields: Fields) -> dict[str, str | list[str]]:
    return {name: text if len(fields.all(name)) == 1 else fields.all(name) for name, text in fields.items()}
