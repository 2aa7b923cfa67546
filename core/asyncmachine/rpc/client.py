"""The client: connects to a server, keeps the mirror of its source, and comes back after a drop.

The life of the connection is in `connecting` and `connections`, the mirror in `netmach` and what it calls in
`mirror_calls`, payloads are in `consuming`.
Here they are put together; what they do with the events of a session is in `reacting`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from asyncmachine.machine.machine import Machine
from asyncmachine.machine.schema import State
from asyncmachine.machine.view import View
from asyncmachine.machine.wait import Wait
from asyncmachine.rpc import compression
from asyncmachine.rpc import events as e
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.asking import ClientSession
from asyncmachine.rpc.backoff import Backoff, default_backoff
from asyncmachine.rpc.calling import Calling, Link
from asyncmachine.rpc.chunks import MAX_PAYLOAD
from asyncmachine.rpc.connecting import DIAL_TIMEOUT, Connecting
from asyncmachine.rpc.connections import Connections
from asyncmachine.rpc.consuming import Consuming, check_consumer
from asyncmachine.rpc.counters import Statistics
from asyncmachine.rpc.errors import NotConnected
from asyncmachine.rpc.features import offered
from asyncmachine.rpc.limits import check_value
from asyncmachine.rpc.made_with import check_client
from asyncmachine.rpc.mirror_calls import MirrorCalls
from asyncmachine.rpc.mirror_sync import MirrorSync, sync_wanted
from asyncmachine.rpc.netmach import NetworkMachine
from asyncmachine.rpc.options import check_states
from asyncmachine.rpc.outages import where
from asyncmachine.rpc.own_loop import OwnLoop
from asyncmachine.rpc.own_machine import own_machine
from asyncmachine.rpc.probing import WITHIN
from asyncmachine.rpc.reacting import Reacting
from asyncmachine.rpc.readiness import end_after, ready_or_over
from asyncmachine.rpc.schemas import groups_given, schema_given
from asyncmachine.rpc.states import ClientStates
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.timing import Timing, default_timing
from asyncmachine.rpc.tracing import Tracing
from asyncmachine.rpc.transport import Dial, Peer, Transport, TransportClosed, given
from asyncmachine.rpc.transport.addresses import dial as dial_to
from asyncmachine.rpc.upstream import is_live
from asyncmachine.rpc.watching import Watching

if TYPE_CHECKING:
    from typing_extensions import TypeVar as WithDefault  # `typing` has it from Python 3.13 on

    S = WithDefault("S", bound=str, default=Any)
else:
    S = TypeVar("S", bound=str)


class Client(MirrorCalls, Generic[S]):
    """Mirrors the source behind `dial` as `netmach`, which can be read, awaited and bound to from the beginning.

    `dial` is an address such as ``ws://127.0.0.1:8080/``, or a function that connects. `schema` is the class of states
    (or the schema) of the source; without one it is asked for. `consumer` is the machine that takes payloads. What the
    connection does shows in `machine`. Methods may be called from any thread.

    With `no_schema` it is not asked for one: the mirror has names and no relations. Only states that are `allowed` and
    not `skipped` are followed; of the others those count as active that an active one requires. `shallow` mirrors know
    which states are active, and little of ticks. With `steps` the mirror shows every transition of the source by itself
    (not those that the connection is too slow for, and those of a cut as one `set`). `filtering` cancels mutations here
    that the relations rule out. `compression` of large frames is offered to the server; None: only where they travel a
    network. Payloads of more than `max_payload` bytes are refused (as values they may take several times as much).
    Raises `Unsendable` for an id, a token or names of states that cannot be sent, `InvalidArgs` for other options that
    cannot be, and `StateMissing` for states to follow or skip that the schema does not have.
    """

    def __init__(
        self,
        dial: Dial | str,
        schema: type[S] | Mapping[str, State] | None = None,
        id: str = "",
        consumer: Machine[Any] | None = None,
        parent: View[Any] | None = None,
        *,
        token: str = "",
        reconnect: bool = True,
        no_schema: bool = False,
        allowed: Iterable[S] | None = None,
        skipped: Iterable[S] | None = None,
        shallow: bool = False,
        steps: bool = False,
        filtering: bool = False,
        dial_timeout: float = DIAL_TIMEOUT,
        timing: Timing | None = None,
        backoff: Backoff | None = None,
        tracing: Tracing | None = None,
        compression: bool | None = None,
        max_payload: int = MAX_PAYLOAD,
    ) -> None:
        check_client(
            dial, id, consumer, dial_timeout, max_payload,
            timing=timing, backoff=backoff, parent=parent, compression=compression,
        )  # fmt: skip
        check_consumer(consumer)
        suffix = id or token_hex(3)[:5]
        wanted = sync_wanted(f"rc-{suffix}", token, not no_schema, allowed, skipped, shallow=shallow, steps=steps)
        known = None if schema is None else schema_given(schema)
        check_states(f"rnm-{suffix}", (*(wanted.allowed or ()), *wanted.skipped), known)
        self._token = token
        self._loop = OwnLoop()
        self._compression = compression
        backoff = backoff or default_backoff()
        self._connections = Connections(
            dial_to(dial) if isinstance(dial, str) else dial,
            self._hello,
            self._react,
            self._lost,
            self._nothing_came,
            timing=timing or default_timing(),
            backoff=backoff,
            dial_timeout=dial_timeout,
            reconnect=reconnect,
        )
        self._connecting = Connecting(self._connections, backoff, where("to", dial))
        at = (f"addr:{dial}",) if isinstance(dial, str) else ()
        self.machine = own_machine(ClientStates, self._connecting, f"rc-{suffix}", "rpc-client", parent, *at)
        # Bound once, and shared.
        ready, loop, in_loop = self._connections.ready_link, self._loop.get, self._in_loop
        self._calling = Calling(self.machine, ready, self._connections.is_between, loop, in_loop, tracing)
        self._watching = Watching(ready, loop, in_loop, self._calling.place)
        self._consuming = Consuming(self.machine, consumer, ready, self._epoch, in_loop, tracing, max_payload)
        self.netmach: NetworkMachine[S] = NetworkMachine(
            self,
            known or schema_given(None),
            id=f"rnm-{suffix}",
            tags=("rpc-netmach",),
            parent_id=parent.id if parent is not None else "",
            groups=groups_given(schema),
            infers=allowed is not None or bool(wanted.skipped),
            filters=filtering,
        )
        self._mirror_sync = MirrorSync(self.netmach, known, wanted, self._calling)
        self._reacting = Reacting(
            self.machine, self._connecting, self._connections, self._mirror_sync, self._calling, self._watching,
            self._consuming,
        )  # fmt: skip
        self.machine.on_dispose(self._disposed)

    @classmethod
    def over(
        cls, transport: Transport, schema: type[S] | Mapping[str, State] | None = None, **options: Any
    ) -> Client[S]:
        """A client on a connection that is there already. It ends with it."""
        return cls(given(transport), schema, reconnect=False, **options)

    # Lifetime

    def start(self) -> None:
        """Begins to connect. Needs a running loop."""
        self._loop.enter()
        self.machine.add((C.Start, C.Connecting))

    def when_ready(self) -> Wait:
        """Met when the mirror follows its source.

        Waits through drops and new attempts for as long as something is tried; ends with `NotConnected`, which tells
        how the last attempt ended, once the client has given up, was refused for good or stopped, and with
        `ForeignSource` at a source that lacks states of the class. It may be called before `start`; if that does not
        follow within a second the log says so.
        """
        was_started = self._loop.get() is not None
        return ready_or_over(self.machine, lambda: self.last_end, was_started=was_started)

    def stop(self) -> Wait:
        """Says goodbye and closes; await the returned wait for the end of all connections. It can be started again.

        If it is not known whether all of `add_ns` has come, the source is asked before, for at most a second.
        """
        if self.machine.any_(C.Connecting, C.Connected):
            self.machine.add(C.Disconnecting)
        self.machine.remove(C.Start)
        stopped = Wait()

        def left() -> None:
            running = self._connections.running
            if running:
                self._loop.call(end_after, running, stopped)
            else:
                stopped._end()

        self.machine.when_not(C.Start, C.Connecting, C.Connected, C.Disconnecting).then(left)
        return stopped

    async def run(self) -> None:
        """Starts, and returns once it has ended: stopped, given up, or without the connection it cannot dial again."""
        self.start()
        try:
            await self.machine.when_not(C.Start)
        finally:
            await self.stop()

    def retry_now(self) -> None:
        """Ends the pause before the next attempt: the network is back, or the page is visible again.

        A connection that there is may have gone without a word: the source is asked, as by `probe`.
        """
        self._connecting.nudge()
        self.probe()

    def probe(self, within: float = WITHIN) -> None:
        """Asks whether the source is there, and does not wait.

        If nothing at all is heard `within` so many seconds the connection counts as lost, and the client comes back as
        after every drop. Nothing is asked within a computer, where no connection is lost without a word.
        """
        if self._loop.get() is not None:
            self._loop.call(self._probe, within)

    @property
    def token(self) -> str:
        """What the server's `allow` gets, from the next connection on. Raises `Unsendable` beyond 4096 characters."""
        return self._token

    @token.setter
    def token(self, token: str) -> None:
        check_value("the token", token, m.Text)
        self._token = token

    @property
    def statistics(self) -> Statistics:
        """Counts of the current or last session, as they are now; zeros before the first."""
        session = self._connections.session
        return Statistics() if session is None else session.statistics(self._loop.now)

    @property
    def live(self) -> bool:
        """Whether the mirror follows its source now. If that is a mirror too, so does it, and each one behind it.

        What changes it are `Ready` and `SourceAway` of `machine`: wait for them, or pipe them.
        """
        return is_live(self.machine)

    @property
    def delivering(self) -> tuple[int, int] | None:
        """How many bytes have come of the large payload that is under way, and of how many. None if there is none."""
        partial = None if self._connections.session is None else self._connections.session.arriving
        return None if partial is None else (partial.received, partial.payload.size)

    @property
    def grants(self) -> m.GrantList | None:
        """What the server lets this client do. None before the first handshake."""
        return self._mirror_sync.grants

    @property
    def last_end(self) -> TransportClosed | None:
        """How the last connection ended: code and reason of whoever closed it. None before the first end."""
        return self._connections.end

    # Events of the session

    def _hello(self, resume: m.Resume | None, peer: Peer) -> m.Hello:
        zlib = compression.wanted(self._compression, peer, dialled=True)
        return self._mirror_sync.hello(self.machine.id, self.token, resume, offered(zlib=zlib))

    def _epoch(self) -> int:
        return self._mirror_sync.epoch

    def _react(self, connection: Link, event: e.Event) -> None:
        self._reacting.react(connection, event)

    def _nothing_came(self) -> None:
        self._calling.release()

    def _lost(self, session: ClientSession, *, coming_back: bool) -> None:
        self._calling.lost(session, coming_back=coming_back)
        if not coming_back and self._reacting.questions is not None:
            self._reacting.questions.lost()

    def _in_loop(self, function: Callable[..., None], *args: object) -> None:
        if self._loop.get() is None:
            raise NotConnected(f"{self.machine.id} has not been started: call start() first")
        self._loop.call(function, *args)

    def _probe(self, within: float) -> None:
        link = self._connections.ready_link()
        if link is not None:
            link.probe(within)

    def _disposed(self, _: str) -> None:
        self._connections.hang_up(at_once=True)
        self.netmach.dispose()
