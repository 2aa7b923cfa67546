"""A pool of workers that run functions.

    @dataclass
    class Picture:
        width: int
        pixels: bytes

    async def shrink(picture: Picture, factor: int) -> Picture: ...      # in a module that page and workers can import

    pool = Pool()                                                        # as many workers as there are cores
    small = await pool.run(shrink, picture, 2)

What goes over is what the function's annotations say (`calls`); large messages are handed over to the other thread and
not copied there. The function may be a plain one, but it must let go of the thread within the pool's patience
(`workers`), else `HandlerDeadline` is raised in it, or its worker is ended. A worker that ends, in whatever way, is
replaced at once; its call fails with WorkerFailed, or is made again if `run_again` allows.

`pool.machine` tells how it stands: `Ready` while a worker runs, `Full` while calls wait for one, `ErrWorker` when a
worker failed, `GaveUp` while none can be started: calls fail then, until one of the further attempts, at growing
intervals, leads to `Ready`. The workers' machines are its children.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, ParamSpec, TypeVar, overload

import asyncmachine as am
from asyncmachine.rpc.backoff import Backoff
from asyncmachine.rpc.transport.port import JsPort, Wire
from asyncmachine_web.page.calls import CallFailed, Signature, decode_answer, encode_call, encode_cancel, result_of
from asyncmachine_web.page.workers import PATIENCE, Worker, WorkerFailed

_P = ParamSpec("_P")
_R = TypeVar("_R")

MOST: Final = 8
"""Workers of a pool that is not told how many."""

STARTS: Final = 3
"""Failed starts in a row after which a worker is not started again at once."""

PAUSES: Final = Backoff(first=1.0, cap=30.0, tries=None, total=None)
"""Between later starts: its files may be away for a while, as when the server begins anew."""


class PoolStates(am.StatesDef):
    ErrWorker = am.state(multi=True, add="Exception", require="Exception")
    Ready = am.state(remove="GaveUp")
    Full = am.state()
    GaveUp = am.state(remove=Ready)


@dataclass(eq=False)
class Call:
    """A call that waits or runs. `result` is the type of what comes back."""

    number: int
    request: bytes
    result: Any
    retries: int
    future: asyncio.Future[Any]


@dataclass(eq=False)
class Member:
    """A worker of the pool. It has a port while it runs."""

    worker: Worker
    port: Wire | None = None
    call: Call | None = None
    failed_starts: int = 0
    joining: asyncio.Task[None] | None = field(default=None, repr=False)


class Pool:
    def __init__(
        self,
        size: int | None = None,
        *,
        patience: float = PATIENCE,
        id: str = "pool",
        parent: am.View[Any] | None = None,
    ) -> None:
        """Start `size` workers. `patience`: seconds that a call may keep its worker's thread."""
        if size is not None and size < 1:
            raise am.AmError(f"size={size!r}: a pool has at least one worker; leave it out for one per core")
        self.machine = am.Machine(PoolStates, id=id, tags=("pool",), parent=parent)
        self._waiting: deque[Call] = deque()
        self._number = 0
        self._closed = False
        self._members: list[Member] = []
        for number in range(cores() if size is None else size):
            main = "asyncmachine_web.page.calls:serve"
            member = Member(Worker(f"{id}-{number}", main, patience=patience, parent=self.machine))
            self._members.append(member)
            member.worker.machine.bind({"DeadState": lambda e, member=member: self._left(member, e)})
            self._start(member)
        self.machine.on_dispose(lambda _id: self.close())

    @property
    def workers(self) -> tuple[Worker, ...]:
        return tuple(member.worker for member in self._members)

    @overload
    async def run(self, function: Callable[_P, Awaitable[_R]], *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
    @overload
    async def run(self, function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
    async def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The function's result, from the next worker that is free. To cancel this cancels the function.

        Raises `am.InvalidArgs` for arguments that cannot be sent, CallFailed for what the function raises, and
        WorkerFailed when its worker ends.
        """
        return await self._run(0, function, args, kwargs)

    async def run_again(self, retries: int, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """As `run`, for a function that may be called more than once: again when its worker ends, so many times."""
        return await self._run(retries, function, args, kwargs)

    def close(self) -> None:
        """End all workers. Calls that have no result yet fail."""
        if self._closed:
            return
        self._closed = True
        for member in self._members:
            if member.joining is not None:
                member.joining.cancel()
            member.worker.terminate()
            member.worker.machine.dispose()
        self._fail_all("the pool was closed")
        self.machine.remove([PoolStates.Ready, PoolStates.Full])

    async def _run(
        self, retries: int, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        self._number += 1
        request = encode_call(self._number, function, args, kwargs)
        future = asyncio.get_running_loop().create_future()
        call = Call(self._number, request, Signature.of(function).result, retries, future)
        if self._closed or PoolStates.GaveUp in self.machine:
            raise self._gone("it is closed, or none of its workers can be started now")
        self._waiting.append(call)
        self._hand_out()
        try:
            return await future
        except asyncio.CancelledError:
            self._cancel(call)
            raise

    def _start(self, member: Member) -> None:
        member.worker.restart()
        member.joining = asyncio.get_running_loop().create_task(self._join(member))

    async def _join(self, member: Member) -> None:
        """Wait until the worker runs; then it takes calls."""
        member.port = JsPort(await member.worker.port())
        member.port.listen(lambda message: self._answered(member, message or b""))
        member.failed_starts = 0
        self.machine.add(PoolStates.Ready)
        self._hand_out()

    def _left(self, member: Member, e: am.Event) -> None:
        """A worker has ended: its call is made again or fails, and another worker takes its place."""
        if self._closed:
            return
        if member.joining is not None:
            member.joining.cancel()
        if member.port is None:
            member.failed_starts += 1
        else:
            member.port.close()
        call, member.call, member.port = member.call, None, None
        error = member.worker.machine.err
        if error is not None:
            self.machine.add_err(error, state=PoolStates.ErrWorker, e=e)
        if call is not None and not call.future.done():
            if call.retries > 0:
                call.retries -= 1
                self._waiting.appendleft(call)
            else:
                call.future.set_exception(error or WorkerFailed(member.worker.id, "EXIT", "it was terminated"))
        if not any(other.port for other in self._members):
            self.machine.remove(PoolStates.Ready)
        early = member.failed_starts - STARTS
        # Not here: the worker's machine is still telling of its end.
        pause = 0.0 if early < 0 else PAUSES.delay(early, 0.0) or 0.0
        asyncio.get_running_loop().call_later(pause, self._start_again, member)
        if all(other.failed_starts >= STARTS for other in self._members):
            self.machine.add(PoolStates.GaveUp)
            self._fail_all("none of its workers could be started")

    def _start_again(self, member: Member) -> None:
        if not self._closed:
            self._start(member)

    def _hand_out(self) -> None:
        for member in self._members:
            if member.port is not None and member.call is None and self._waiting:
                member.call = self._waiting.popleft()
                member.port.post(member.call.request)
        if self._waiting:
            self.machine.add(PoolStates.Full)
        else:
            self.machine.remove(PoolStates.Full)

    def _cancel(self, call: Call) -> None:
        if call in self._waiting:
            self._waiting.remove(call)
            self._hand_out()
        for member in self._members:
            if member.call is call and member.port is not None:
                member.port.post(encode_cancel(call.number))  # the answer to that makes the worker free

    def _answered(self, member: Member, message: bytes) -> None:
        answer, call = decode_answer(message), member.call
        if call is None or call.number != answer.number:
            return
        member.call = None
        self._hand_out()
        if call.future.done():
            return
        try:
            call.future.set_result(result_of(answer, call.result))
        except CallFailed as error:
            call.future.set_exception(error)

    def _fail_all(self, why: str) -> None:
        running = [member.call for member in self._members if member.call is not None]
        for call in (*self._waiting, *running):
            if not call.future.done():
                call.future.set_exception(self._gone(why))
        self._waiting.clear()

    def _gone(self, why: str) -> WorkerFailed:
        return WorkerFailed(self.machine.id, "GONE", why)


def cores() -> int:
    """How many workers can run at once, at most `MOST`."""
    import js

    return max(1, min(int(js.navigator.hardwareConcurrency or 1), MOST))
