"""The network machine: a mirror of a machine elsewhere.

Reads, waits and scopes are answered here and now, from the ticks that the source has sent. Mutations go to the source
in the order of the calls and return a *pending* result at once; awaited, it tells the final outcome when the mirror
shows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from asyncmachine.machine import reasons
from asyncmachine.machine.args import ArgsLike, ErrorArgs, raw_args
from asyncmachine.machine.drain import Source, source_of
from asyncmachine.machine.export import Export
from asyncmachine.machine.mutation import Kind, called_names
from asyncmachine.machine.reading import N
from asyncmachine.machine.result import EXECUTED, Result
from asyncmachine.machine.schema import EXCEPTION, Schema
from asyncmachine.machine.scope import Scope
from asyncmachine.machine.wait import Wait
from asyncmachine.rpc.caller import Caller
from asyncmachine.rpc.errors import RpcError
from asyncmachine.rpc.events import CanKind
from asyncmachine.rpc.mirror import Mirror
from asyncmachine.rpc.options import check_within
from asyncmachine.rpc.reasoning import refusal
from asyncmachine.rpc.values import pack_args
from asyncmachine.rpc.watching import new_watch
from asyncmachine.rpc.within import MirrorKind, Within

ERR_ON_CLIENT = "ErrOnClient"
SOURCE = "src-id:"
"""The tag that tells the source's id begins so."""


class NetworkMachine(Mirror[N]):
    """A mirror. Made by a client, which keeps it up to date; while there is no connection it shows the last it knew.

    Only final handlers can be bound (`FooState`, `FooEnd`, `AnyState`): they run here, when the mirror has changed.
    """

    def __init__(
        self,
        caller: Caller,
        schema: Schema,
        *,
        id: str,
        tags: Iterable[str] = (),
        parent_id: str = "",
        groups: Mapping[str, tuple[str, ...]] | None = None,
        infers: bool = False,
        filters: bool = False,
    ) -> None:
        super().__init__(id, schema, tags=tags, parent_id=parent_id, infers=infers)
        self._caller = caller
        self._groups = groups or {}
        self._filters = filters

    def __repr__(self) -> str:
        return f"<NetworkMachine {self._id} {self}>"

    # Mutations

    def add(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """Activates states of the source. Raises `Unsendable` for arguments that would not arrive equal."""
        return self._mutate("add", states, raw_args(args, kw), e)

    def remove(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """Deactivates states of the source."""
        return self._mutate("remove", states, raw_args(args, kw), e)

    def set(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """Activates exactly these states of the source."""
        return self._mutate("set", states, raw_args(args, kw), e)

    def add_ns(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """Activates states of the source without hearing of it (no sync): the mirror learns of it by a push or `sync`.

        Costs no answer, and is executed once, in its order, as all calls are. The result only tells that it was sent:
        if it fails later, or a connection ends for good before it is known whether it has come (`UnknownOutcome`), that
        is an error of `client.machine`, and logged. An answer to a later call tells that it has come; that to
        `sync` does not, and `client.stop` asks.
        """
        names = called_names(states)
        if self._disposed:
            return Result.refused(reasons.disposed(self._id))
        self._indexes(names)
        return self._caller.notify(names, raw_args(args, kw), source_of(e))

    def within(self, seconds: float) -> Within[N]:
        """`mirror.within(2.0).add("A")`: fails if there is no answer in that time, and is not run later than that.

        Raises `InvalidArgs` for what is no number of seconds, or less than 0.
        """
        check_within(seconds)
        return Within(self._mutate, seconds)

    def toggle(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """Deactivates the states if all are active here, activates them otherwise."""
        names = called_names(states)
        return self._mutate("toggle", names, raw_args(args, kw), e)

    def add_err(
        self, err: BaseException, args: ArgsLike = None, /, *, state: N | None = None, e: Source = None
    ) -> Result:
        """Adds `Exception` to the source, with this error, `state` (or that of the error's class) and `ErrOnClient`.

        The error object stays here; its class name and text travel.
        """
        if self._disposed or isinstance(err, asyncio.CancelledError):
            return Result.refused(reasons.disposed(self._id) if self._disposed else reasons.CANCELLED)
        self._err = err
        detail = getattr(err, "state", "") if state is None else state
        wanted = (detail, ERR_ON_CLIENT, EXCEPTION)
        names = tuple(dict.fromkeys(name for name in wanted if name in self._index))
        return self._mutate("add", names, {**raw_args(args), ErrorArgs.key: ErrorArgs(err)}, e)

    @property
    def err(self) -> BaseException | None:
        """The last error that was added here, by `add_err` or as a handler of the mirror raised.

        Not that of the source: `Exception` may be active while this is None, or something else. States and ticks are
        all that a source tells of its errors; what they say is for those who run it.
        """
        return self._err

    def _mutate(
        self,
        kind: MirrorKind,
        states: str | Iterable[str],
        args: dict[str, Any],
        e: Source,
        within: float | None = None,
    ) -> Result:
        if self._disposed:
            return Result.refused(reasons.disposed(self._id))
        names = called_names(states)
        self._indexes(names)
        if kind == "toggle":
            kind = "remove" if all(name in self for name in names) else "add"
        if self._filters and (why := refusal(self, kind, names)):
            return Result.refused(why)
        return self._caller.call(kind, names, args, source_of(e), within)

    # Questions

    def can_add(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """Whether the relations let these states be added, as far as the mirror knows: no handler is asked."""
        return self._can("add", states)

    def can_remove(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """Whether the relations let these states be removed, as far as the mirror knows: no handler is asked."""
        return self._can("remove", states)

    def can_add_remote(
        self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any
    ) -> Result:
        """Asks the source, with its negotiation handlers; nothing changes there. Await the result.

        Raises `Unsendable`. It fails with `CallRefused` if this client may not mutate the states, with `NotConnected`
        without a connection, and with `Misuse` if the server is too old to be asked. If it is canceled there is no
        `reason`, which only a mutation that was tried has (and `can_add`, where the relations are in the way).
        """
        return self._can_remotely("add", states, raw_args(args, kw))

    def can_remove_remote(
        self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any
    ) -> Result:
        """As `can_add_remote`, for removing."""
        return self._can_remotely("remove", states, raw_args(args, kw))

    def _can_remotely(self, kind: CanKind, states: str | Iterable[str], args: dict[str, Any]) -> Result:
        if self._disposed:
            return Result.refused(reasons.disposed(self._id))
        names = called_names(states)
        self._indexes(names)
        return self._caller.can(kind, names, args)

    def _can(self, kind: Kind, states: str | Iterable[str]) -> Result:
        names = called_names(states)
        self._indexes(names)
        why = reasons.disposed(self._id) if self._disposed else refusal(self, kind, names)
        return Result.refused(why) if why else EXECUTED

    @property
    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """Named groups of states, from the class of states that the client was given."""
        return self._groups

    def export(self) -> Export:
        """The time that is shown, as plain data."""
        return Export(self._id, self._names, self.time(), self._queue_tick, self._machine_tick)

    # Waits

    def when_args(self, name: N, args: ArgsLike = None, /, *, scope: Scope | None = None, **kw: Any) -> Wait:
        """Met when the state of the source activates (or is called again) with arguments that hold all of these.

        A keyword is an argument of that name, or that field of the state's typed record, if the source's process knows
        its class. Typed records are compared by value. Raises `Unsendable` for arguments that would not arrive equal,
        `TooLarge` for those beyond a frame. The wait ends with `CallRefused` if the source has no room for it.
        """
        packed = pack_args(raw_args(args, kw))
        wait = super().when_args(name, args, scope=scope, **kw)
        try:
            self._caller.watch(new_watch(name, packed, wait))
        except RpcError:
            wait.cancel()
            raise
        return wait

    # Lifetime

    # For the mirror

    def _known_as(self) -> str:
        """As its source, once that is known: nobody has chosen the mirror's own id."""
        source = next((tag for tag in self._tags if tag.startswith(SOURCE)), "")
        return source.removeprefix(SOURCE) or self._id

    def _tell_source(self, error: Exception) -> None:
        self._caller.handler_failed(error)
