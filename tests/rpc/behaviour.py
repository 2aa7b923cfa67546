"""What a mirror and its source do together, whatever carries their messages.

Each behaviour is a coroutine function that takes a `Net`, the maker of connections. This file imports neither pytest
nor anything that a browser lacks, so that the very same functions run in Chromium over MessagePort and WebSocket; those
that do are marked `@in_browser`.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.exposure import epoch_of
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.states import ServerStates as S
from asyncmachine.rpc.transport import Transport

HANG = 20.0
"""Seconds after which something that is waited for counts as hanging."""

E = TypeVar("E", bound=BaseException)

NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001 (which is what is wrong with it)

QUICK = rpc.Backoff(first=0.001, cap=0.01)
NEVER = rpc.Backoff(first=1000.0, cap=1000.0)


class Net(Protocol):
    """Makes connections of one kind."""

    async def connect(self) -> tuple[Transport, Transport]:
        """A new connection: the server's end and the client's."""

    def cut(self) -> None:
        """Breaks the newest connection: neither side says goodbye."""


Behaviour = Callable[[Net], Awaitable[None]]
ALL: list[Behaviour] = []
IN_BROWSER: list[Behaviour] = []


def behaviour(function: Behaviour) -> Behaviour:
    ALL.append(function)
    return function


def in_browser(function: Behaviour) -> Behaviour:
    IN_BROWSER.append(function)
    return behaviour(function)


@contextmanager
def raises(kind: type[E]) -> Iterator[Caught[E]]:
    """As pytest has it, which a browser does not have."""
    caught: Caught[E] = Caught()
    try:
        yield caught
    except kind as error:
        caught.error = error
    else:
        raise AssertionError(f"{kind.__name__} was not raised")


class Caught(Generic[E]):
    error: E


class Relations(rpc.StateSource):
    A = am.state(auto=True, require="C")
    B = am.state(multi=True, add="C")
    C = am.state(after="D")
    D = am.state(add=("C", "B"))


class Basic(rpc.StateSource, rpc.Consumer):
    A = am.state()
    B = am.state()
    C = am.state(remove="D")
    D = am.state(remove="C")
    Ask = am.state(multi=True)


@dataclass(frozen=True)
class Upload(am.Args, state="Ask", prefix="behaviour"):
    path: str
    parts: tuple[int, ...] = ()
    tags: frozenset[str] = frozenset()


@dataclass
class Pair:
    """A source with its server, and a client with its mirror."""

    net: Net
    source: am.Machine[Any]
    server: rpc.Server
    client: rpc.Client
    serving: set[asyncio.Task[Any]] = field(default_factory=set)

    @property
    def mirror(self) -> rpc.NetworkMachine[Any]:
        return self.client.netmach

    async def dial(self) -> Transport:
        """A connection to the server as it is now; a test may put another one in its place."""
        near, far = await self.net.connect()
        task = asyncio.create_task(self.server.serve(near))
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)
        return far

    def assert_equal(self) -> None:
        assert self.mirror.clock() == self.source.clock()
        assert self.mirror.queue_tick == self.source.queue_tick
        assert self.mirror.machine_tick == self.source.machine_tick


@asynccontextmanager
async def paired(
    net: Net,
    states: Any = Basic,
    handlers: object = None,
    *,
    schema: Any = Basic,
    consumer: am.Machine[Any] | None = None,
    errors: bool = False,
    timing: rpc.Timing | None = None,
    backoff: rpc.Backoff = QUICK,
    client: Mapping[str, Any] | None = None,
    setup: Callable[[am.Machine[Any]], None] = lambda _: None,
    **server: Any,
) -> AsyncIterator[Pair]:
    """A ready pair, with options for `client` and server; `setup(source)` comes before the two meet.

    At its end no error may ever have occurred on either side, unless the test is about `errors`.
    """
    source: am.Machine[Any] = am.Machine(states, handlers, id="source")
    setup(source)
    exposing = rpc.Server(source, "test", **{"push_interval": 0.001, **server})
    pair = Pair(net, source, exposing, None)  # type: ignore[arg-type]
    pair.client = rpc.Client(
        pair.dial,
        states if schema is Basic else schema,
        id="test",
        consumer=consumer,
        backoff=backoff,
        timing=timing,
        **(client or {}),
    )
    pair.client.start()
    try:
        async with asyncio.timeout(HANG):
            await pair.client.when_ready()
            await exposing.machine.when(S.Ready)
            yield pair
            if not errors:
                assert pair.client.machine.tick(C.Exception) == 0, pair.client.machine.err
                assert exposing.machine.tick(S.Exception) == 0, exposing.machine.err
    finally:
        await pair.client.stop()
        await pair.server.stop()
        while pair.serving:
            await asyncio.wait(pair.serving)
        pair.client.machine.dispose()
        pair.server.machine.dispose()
        source.dispose()


# Mutations


@in_browser
async def an_add_runs_at_the_source_and_shows_here(net: Net) -> None:
    async with paired(net, Relations) as pair:
        result = await pair.mirror.add(["A", "C"])
        assert result.executed
        assert pair.source.is_("A", "C")
        assert pair.mirror.active_states() == ("A", "C")
        pair.assert_equal()


@in_browser
async def calls_arrive_in_their_order_and_are_not_waited_for(net: Net) -> None:
    seen: list[int] = []
    handlers = {"AskState": lambda e: seen.append(e.raw_args["n"])}
    async with paired(net, handlers=handlers) as pair:
        results = [pair.mirror.add("Ask", n=n) for n in range(50)]
        assert all(result.pending for result in results)
        assert all([(await result).executed for result in results])
        assert seen == list(range(50))
        assert pair.mirror.tick("Ask") == 99
        pair.assert_equal()


@in_browser
async def canceled_is_a_result_and_no_error(net: Net) -> None:
    async with paired(net, handlers={"AEnter": lambda e: False}) as pair:
        assert (await pair.mirror.add("D")).executed
        assert (await pair.mirror.add("A")).canceled
        assert (await pair.mirror.set(["C", "A"])).canceled
        assert pair.mirror.active_states() == ("D",)
        pair.assert_equal()


@behaviour
async def a_pending_result_cannot_be_asked_whether_it_was_executed(net: Net) -> None:
    async with paired(net) as pair:
        result = pair.mirror.add("A")
        with raises(am.PendingResult):
            bool(result)
        assert await result
        assert result.outcome is am.Outcome.EXECUTED


@behaviour
async def remove_set_and_toggle(net: Net) -> None:
    async with paired(net) as pair:
        mirror = pair.mirror
        await mirror.add(["A", "B"])
        await mirror.remove("A")
        assert mirror.active_states() == ("B",)
        await mirror.set(["A", "C"])
        assert mirror.active_states() == ("A", "C")
        await mirror.toggle(["A", "C"])
        assert mirror.active_states() == ()
        await mirror.toggle("D")
        assert "D" in pair.source
        pair.assert_equal()


@behaviour
async def what_handlers_add_within_a_call_comes_with_its_answer(net: Net) -> None:
    def ask(e: am.Event) -> None:
        e.add("A")
        e.add("B")
        e.remove("Ask")

    async with paired(net, handlers={"AskState": ask}) as pair:
        await pair.mirror.add("Ask")
        assert pair.mirror.active_states() == ("A", "B")
        pair.assert_equal()
        assert pair.client.statistics.pushes == 0


@behaviour
async def a_source_that_is_slow_to_answer_does_not_hold_up_later_calls(net: Net) -> None:
    gate = asyncio.Event()

    async def asked(e: am.Event) -> None:
        await gate.wait()
        e.add("A")

    async with paired(net, handlers={"AskState": asked}) as pair:
        await pair.mirror.add("Ask")
        await pair.mirror.add("B")
        assert "A" not in pair.mirror
        gate.set()
        await pair.mirror.when("A")
        pair.assert_equal()


@behaviour
async def an_unknown_state_is_a_mistake_of_the_caller(net: Net) -> None:
    async with paired(net) as pair:
        with raises(am.StateMissing) as caught:
            pair.mirror.add("Nowhere")
        assert "Nowhere" in str(caught.error)


# Arguments


@in_browser
async def arguments_arrive_equal(net: Net) -> None:
    sent = {
        "nothing": None,
        "numbers": [0, -1, 2**63, 2**64 - 1, -(2**63), 1.5, float("inf")],
        "text": "grüße \N{SNOWMAN}",
        "bytes": bytes(range(256)),
        "nested": {"a": [{"b": [1, 2]}], 7: True},
        "time": datetime(2026, 5, 4, 3, 2, 1, 987654, tzinfo=UTC),
    }
    got: list[dict[str, Any]] = []
    async with paired(net, handlers={"AskState": lambda e: got.append(e.raw_args)}) as pair:
        await pair.mirror.add("Ask", sent)
        await pair.mirror.add("Ask", nan=float("nan"))
    assert got[0] == sent
    assert got[1]["nan"] != got[1]["nan"]


@in_browser
async def typed_arguments_are_rebuilt_by_their_class(net: Net) -> None:
    sent = Upload("/tmp/x", parts=(1, 2), tags=frozenset({"a"}))
    got: list[Upload] = []
    async with paired(net, handlers={"AskState": lambda e: got.append(e.args(Upload))}) as pair:
        await pair.mirror.add("Ask", sent)
        await pair.mirror.add("Ask", [sent], more=1)
    assert got == [sent, sent]


@in_browser
async def what_would_not_arrive_equal_is_refused_before_anything_is_sent(net: Net) -> None:
    async with paired(net) as pair:
        frames = pair.client.statistics.frames_out
        for value in ({1}, (1, 2), object(), 2**64, -(2**63) - 1, NAIVE, [[{"deep": {3}}]], "\ud800"):
            with raises(rpc.Unsendable) as caught:
                await pair.mirror.add("Ask", value=value)
            assert "value" in str(caught.error) or "not encodable" in str(caught.error)
        with raises(rpc.TooLarge) as large:
            await pair.mirror.add("Ask", text="x" * 10_000_000)
        assert "1048576" in str(large.error)
        assert pair.client.statistics.frames_out == frames
        assert pair.source.tick("Ask") == 0


@behaviour
async def arguments_that_do_not_fit_their_class_are_refused_and_the_session_goes_on(net: Net) -> None:
    @dataclass(frozen=True)
    class Wrong(am.Args, state="Nothing", prefix="behaviour"):
        path: int

    async with paired(net) as pair:
        # What another version of the program might send under the same name.
        Wrong.state, Wrong.key = Upload.state, Upload.key
        with raises(rpc.CallRefused) as caught:
            await pair.mirror.add("Ask", Wrong(3))
        assert caught.error.code == rpc.Code.BAD_ARGS
        assert "path" in str(caught.error)
        assert pair.source.tick("Ask") == 0
        assert (await pair.mirror.add("A")).executed


@behaviour
async def errors_of_a_mirror_reach_the_source_as_name_and_text(net: Net) -> None:
    async with paired(net) as pair:
        error = ValueError("no good")
        assert (await pair.mirror.add_err(error)).executed
        assert pair.mirror.err is error
        assert pair.source.is_("Exception", "ErrOnClient")
        assert pair.source.err == rpc.RemoteError("ValueError", "no good")


@behaviour
async def the_origin_of_a_mutation_travels(net: Net) -> None:
    got: list[am.MutationSource | None] = []
    async with paired(net, handlers={"AskState": lambda e: got.append(e.mutation.source)}) as pair:
        origin = am.MutationSource("elsewhere", "tx7", 12)
        await pair.mirror.add("Ask", e=origin)
        await pair.mirror.remove("Ask", e=origin)
        await pair.mirror.add("Ask")
    assert got == [origin, None]


# The mirror


@in_browser
async def changes_of_the_source_are_pushed(net: Net) -> None:
    async with paired(net) as pair:
        pair.source.add(["A", "C"])
        await pair.mirror.when("A", "C")
        pair.source.add("D")
        pair.source.remove("A")
        await pair.mirror.when("D")
        await pair.mirror.when_not("A", "C")
        pair.assert_equal()


@in_browser
async def waits_and_scopes_are_answered_by_the_mirror(net: Net) -> None:
    async with paired(net) as pair:
        mirror, source = pair.mirror, pair.source
        scope = mirror.scope("A")
        waits = [
            mirror.when("A", "B"),
            mirror.when_time(["B"], [3]),
            mirror.when_ticks("A", 1),
            mirror.when_next_active("B"),
            mirror.when_query(lambda clock: clock["A"] + clock["B"] > 3),
            mirror.when_queue(source.queue_tick + 2),
        ]
        source.add(["A", "B"])
        source.remove("B")
        source.add("B")
        await am.wait_all(*waits)
        assert scope.expired
        active = mirror.scope("A")
        assert not active.expired
        bound = mirror.when("D", scope=active)
        source.remove("A")
        with raises(am.ScopeEnded):
            await bound
        assert active.expired


@in_browser
async def waits_for_arguments_are_answered_by_the_source(net: Net) -> None:
    async with paired(net) as pair:
        plain, typed = pair.mirror.when_args("Ask", n=2), pair.mirror.when_args("Ask", Upload("/x"))
        await pair.mirror.add("Ask", n=1)
        await pair.mirror.add("Ask", Upload("/y"))
        await pair.client.sync()
        assert not plain.done()
        assert not typed.done()
        await pair.mirror.add("Ask", n=2, more=True)
        await plain
        pair.source.add("Ask", Upload("/x"))
        await typed
        field = pair.mirror.when_args("Ask", path="/z")
        await pair.client.sync()
        await pair.mirror.add("Ask", Upload("/x"))
        assert not field.done()
        await pair.mirror.add("Ask", Upload("/z"))
        await field
        other = pair.mirror.when_args("A", n=1)
        pair.mirror.add("A", n=1)
        await other


@behaviour
async def a_wait_for_arguments_can_end_before_it_is_met(net: Net) -> None:
    async with paired(net) as pair:
        await pair.mirror.add("A")
        scope = pair.mirror.scope("A")
        scoped, cancelled = pair.mirror.when_args("Ask", n=1, scope=scope), pair.mirror.when_args("Ask", n=2)
        await pair.client.sync()
        cancelled.cancel()
        await pair.mirror.remove("A")
        with raises(am.ScopeEnded):
            await scoped
        await pair.client.sync()
        (client,) = pair.server._clients
        assert not client.watched._waits
        with raises(rpc.Unsendable):
            pair.mirror.when_args("Ask", n={1})
        with raises(am.StateMissing):
            pair.mirror.when_args("Nowhere", n=1)
        ended = pair.mirror.when_args("Ask", n=3)
        pair.mirror.dispose()
        with raises(am.Disposed):
            await ended


@behaviour
async def what_happens_while_the_connection_is_down_is_not_missed(net: Net) -> None:
    async with paired(net) as pair:
        waits = [pair.mirror.when_args("Ask", n=n) for n in range(3)]
        await pair.client.sync()
        gone = pair.server.machine.when_not(S.ClientConnected)
        net.cut()
        await gone
        pair.source.add("Ask", n=0)
        later = pair.mirror.when_args("Ask", n=7)  # sent when it is back
        await waits[0]
        pair.source.add("Ask", n=1)
        await waits[1]
        await pair.client.sync()
        pair.source.add("Ask", n=7)
        await later
        assert not waits[2].done()


@behaviour
async def a_wait_for_arguments_is_armed_again_at_a_server_that_knows_nothing_of_it(net: Net) -> None:
    async with paired(net) as pair:
        wait = pair.mirror.when_args("Ask", n=1)
        await pair.client.sync()
        old, pair.server = pair.server, rpc.Server(pair.source, "again", push_interval=0.001)
        await old.stop()
        await pair.client.machine.when_not(C.Connected)
        await pair.client.when_ready()
        await pair.client.sync()
        pair.source.add("Ask", n=1)
        await wait
        old.machine.dispose()


@behaviour
async def a_wait_for_arguments_of_a_state_that_is_not_shown_is_refused(net: Net) -> None:
    grants = rpc.Grants(read=("A",))
    async with paired(net, allow=lambda *_: grants) as pair:
        with raises(rpc.CallRefused) as caught:
            await pair.mirror.when_args("Ask", n=1)
        assert caught.error.code == rpc.Code.NO_STATE


@in_browser
async def final_handlers_can_be_bound_to_a_mirror(net: Net) -> None:
    seen: list[str] = []

    class Handlers:
        def AState(self, e: am.Event) -> None:
            seen.append(e.name)

        def BEnd(self, e: am.Event) -> None:
            seen.append(f"{e.name} {'B' in e.machine}")

        def AnyState(self, e: am.Event) -> None:
            seen.append(e.name)

        async def DState(self, e: am.Event) -> None:
            seen.append("task")
            try:
                await e.machine.when_disposed()
            finally:
                seen.append("task ended")

    async with paired(net) as pair:
        pair.mirror.bind(Handlers())
        await pair.mirror.add("B")
        await pair.mirror.set("A")
        assert seen == ["AnyState", "AState", "BEnd False", "AnyState"]
        seen.clear()
        await pair.mirror.add("D")
        await asyncio.sleep(0)
        await pair.mirror.add("C")
        await asyncio.sleep(0)
        assert seen == ["AnyState", "task", "AnyState", "task ended"]
        with raises(am.SchemaError) as caught:
            pair.mirror.bind({"AEnter": lambda e: True})
        assert "AEnter" in str(caught.error)


@behaviour
async def a_handler_of_the_mirror_that_raises_tells_the_source(net: Net) -> None:
    def fails(e: am.Event) -> None:
        raise RuntimeError("here")

    async with paired(net) as pair:
        pair.mirror.bind({"AState": fails, "AnyState": lambda e: None})
        await pair.mirror.add("A")
        await pair.mirror.when("ErrOnClient")
        assert pair.source.err == rpc.RemoteError("RuntimeError", "here")
        assert "A" in pair.source


@behaviour
async def tracers_see_a_set_of_everything_active(net: Net) -> None:
    class Seen(am.Tracer):
        def __init__(self) -> None:
            self.ends: list[am.Transition] = []
            self.order: list[str] = []

        def transition_init(self, tx: am.Transition) -> None:
            self.order.append(f"init {tx.machine.tick('A')}")

        def transition_end(self, tx: am.Transition) -> None:
            self.order.append(f"end {tx.machine.tick('A')}")
            self.ends.append(tx)

    async with paired(net) as pair:
        tracer = Seen()
        pair.mirror.trace(tracer)
        await pair.mirror.add(["A", "B"])
        (tx,) = tracer.ends
        assert (tx.kind, tx.called, tx.target) == ("set", ("A", "B"), ("A", "B"))
        assert (tx.enters, tx.exits, tx.accepted, tx.completed) == (("A", "B"), (), True, True)
        assert sum(tx.after) - sum(tx.before) == 2
        assert tracer.order == ["init 0", "end 1"]


@behaviour
async def pipes_lead_to_a_mirror_and_from_one(net: Net) -> None:
    async with paired(net) as pair:
        local: am.Machine[Any] = am.Machine(Basic)
        am.pipes.bind(local, "A", pair.mirror)
        am.pipes.bind(pair.mirror, "B", local)
        local.add("A")
        await pair.source.when("A")
        pair.source.add("B")
        await local.when("B")
        local.remove("A")
        await pair.source.when_not("A")
        local.dispose()


@behaviour
async def a_client_without_a_schema_is_told_it(net: Net) -> None:
    async with paired(net, Relations, schema=None) as pair:
        assert pair.mirror.schema["D"] == pair.source.schema["D"]
        assert set(pair.mirror.names) == set(pair.source.names)
        await pair.mirror.add("D")
        assert pair.mirror.clock() == pair.source.clock()


@behaviour
async def a_schema_in_another_order_and_of_fewer_states_still_fits(net: Net) -> None:
    class Mine(am.StatesDef):
        D = am.state()
        Other = am.state()
        A = am.state(auto=True)

    async with paired(net, schema=Mine, client={"skipped": ("Other",)}) as pair:
        assert pair.mirror.schema["A"] == pair.source.schema["A"], "the source knows best"
        await pair.mirror.add(["A", "D"])
        assert pair.source.is_("A", "D")
        assert pair.mirror.is_("A", "D")
        pair.source.add("B")
        await pair.mirror.when("B")
        with raises(rpc.CallRefused) as caught:
            await pair.mirror.add("Other")
        assert caught.error.code == rpc.Code.NO_STATE


@behaviour
async def a_source_that_lacks_states_of_the_clients_class_is_foreign(net: Net) -> None:
    class Theirs(Relations):
        Else = am.state()

    async with paired(net, Relations) as pair:
        await pair.client.stop()
        other = rpc.Client(pair.dial, Theirs, id="other", backoff=NEVER)
        other.start()
        await other.machine.when(C.Exception)
        await pair.client.stop()
        error = other.machine.err
        await other.stop()
    assert isinstance(error, rpc.ForeignSource)
    assert error.lacking == ("Else",)
    assert "the source 'source' has no Else: give the client the states of this source" in str(error)


# Payloads


class Taking:
    """Handlers of a consumer that keep what comes."""

    def __init__(self) -> None:
        self.got: list[rpc.ServerPayload] = []

    def ServerPayloadState(self, e: am.Event) -> None:
        e.remove("ServerPayload")
        self.got.append(e.args(rpc.ServerPayload))


@in_browser
async def a_payload_reaches_the_consumer(net: Net) -> None:
    taking = Taking()
    consumer: am.Machine[Any] = am.Machine(Basic, taking, id="consumer")
    async with paired(net, consumer=consumer) as pair:
        sent = pair.server.send_payload("result", b"\x00" * 64, meta={"round": 3})
        assert (await sent).executed
        (got,) = taking.got
        assert (got.name, got.data, got.meta, got.source, got.source_tx) == ("result", bytes(64), {"round": 3}, "", "")
        assert (await pair.server.send_payload("typed", Upload("/x"))).executed
        assert taking.got[1].data == Upload("/x")
        assert {payload.client for payload in taking.got} == {pair.client.machine.id}
        assert {payload.epoch for payload in taking.got} == {epoch_of(pair.source)}
        assert pair.client.machine.tick(C.ServerPayload) == 4


@in_browser
async def a_large_payload_comes_in_chunks(net: Net) -> None:
    taking = Taking()
    consumer: am.Machine[Any] = am.Machine(Basic, taking, id="consumer")
    async with paired(net, consumer=consumer) as pair:
        data = bytes(range(256)) * (3 << 12)  # 3 MiB
        sent = pair.server.send_payload("picture", {"width": 1024, "pixels": data}, meta={"round": 3})
        assert (await sent).executed
        (got,) = taking.got
        assert (got.name, got.data, got.meta) == ("picture", {"width": 1024, "pixels": data}, {"round": 3})
        assert sent.acknowledged == sent.size > len(data)
        assert pair.client.statistics.chunks == 49
        assert pair.client.machine.tick(C.ServerDelivering) == 2, "it has come, and gone"
        assert pair.client.delivering is None


@in_browser
async def a_getter_is_a_mutation_answered_by_a_payload(net: Net) -> None:
    taking = Taking()
    consumer: am.Machine[Any] = am.Machine(Basic, taking, id="consumer")

    def asked(e: am.Event) -> None:
        pair.server.send_payload("answer", {"to": e.raw_args["question"]}, e)

    async with paired(net, handlers={"AskState": asked}, consumer=consumer) as pair:
        arrived = consumer.when_ticks("ServerPayload", 1)
        await pair.mirror.add("Ask", question="why")
        await arrived
        (got,) = taking.got
        assert got.data == {"to": "why"}
        assert got.source == "source"
        assert len(got.source_tx) == 16


@behaviour
async def a_forwarded_payload_keeps_its_source(net: Net) -> None:
    taking = Taking()
    consumer: am.Machine[Any] = am.Machine(Basic, taking, id="consumer")
    async with paired(net, consumer=consumer) as pair:
        await pair.server.forward(rpc.ServerPayload("result", b"x", "browser3", "tx", b"token", {"round": 1}))
        (got,) = taking.got
        assert (got.source, got.source_tx, got.meta) == ("browser3", "tx", {"round": 1})


@behaviour
async def a_payload_that_nobody_takes_fails_at_its_sender(net: Net) -> None:
    async with paired(net, errors=True) as pair:
        with raises(rpc.DeliveryFailed) as caught:
            await pair.server.send_payload("result", b"x")
        assert caught.error.code == rpc.Code.NO_CONSUMER
        assert isinstance(pair.client.machine.err, rpc.DeliveryFailed)
        failed = pair.server.machine.when_ticks(S.ErrDelivery, 1)
        pair.server.send_payload("unwatched", b"x")
        await failed


@behaviour
async def a_payload_that_the_consumer_refuses_fails_at_its_sender(net: Net) -> None:
    consumer: am.Machine[Any] = am.Machine(Basic, {"ServerPayloadEnter": lambda e: False}, id="consumer")
    async with paired(net, consumer=consumer) as pair:
        with raises(rpc.DeliveryFailed) as caught:
            await pair.server.send_payload("result", b"x")
        assert caught.error.code == rpc.Code.REFUSED


@behaviour
async def payloads_for_somebody_else_are_not_sent(net: Net) -> None:
    taking = Taking()
    consumer: am.Machine[Any] = am.Machine(Basic, taking, id="consumer")
    async with paired(net, consumer=consumer) as pair:
        with raises(rpc.DeliveryFailed) as caught:
            pair.server.send_payload("result", b"x", destination="rc-other")
        assert "rc-other" in str(caught.error)
        await pair.server.send_payload("result", b"y", destination="rc-test")
        assert [got.data for got in taking.got] == [b"y"]


# Drops


@in_browser
async def after_a_drop_the_mirror_keeps_its_values_and_catches_up(net: Net) -> None:
    async with paired(net) as pair:
        await pair.mirror.add(["A", "D"])
        sessions = pair.client.machine.tick(C.HandshakeDone)
        dropped = pair.client.machine.when_not(C.Connected)
        waiting = pair.mirror.when("B")
        net.cut()
        await dropped
        assert pair.mirror.active_states() == ("A", "D")
        pair.source.set(["B", "D"])
        await waiting
        await pair.client.when_ready()
        pair.assert_equal()
        assert pair.client.machine.tick(C.HandshakeDone) == sessions + 2
        assert pair.client.machine.not_(C.RetryingConn, C.Disconnected)
        assert pair.client.last_end is not None
        assert (await pair.mirror.add("A")).executed


@in_browser
async def a_call_in_flight_at_a_drop_is_answered_after_it_and_has_run_once(net: Net) -> None:
    runs: list[int] = []

    def asked(e: am.Event) -> None:
        runs.append(1)
        if len(runs) == 1:
            net.cut()

    async with paired(net, handlers={"AskState": asked}) as pair:
        first, second = pair.mirror.add("Ask"), pair.mirror.add("Ask")
        assert (await first).executed
        assert (await second).executed
        assert runs == [1, 1]
        assert pair.client.machine.not_(C.RetryingCall, C.RetryingConn)
        pair.assert_equal()


@behaviour
async def calls_that_are_not_answered_run_once_in_their_order(net: Net) -> None:
    seen: list[int] = []
    async with paired(net, handlers={"AskState": lambda e: seen.append(e.raw_args["n"])}, push_interval=0) as pair:
        for n in range(0, 600, 2):
            assert pair.mirror.add_ns("Ask", n=n).executed
            pair.mirror.add_ns("Ask", n=n + 1)
        assert pair.mirror.tick("Ask") == 0
        await pair.client.sync()
        assert seen == list(range(600))
        pair.assert_equal()


@in_browser
async def an_unacknowledged_payload_is_sent_again_and_taken_once(net: Net) -> None:
    taking = Taking()

    def taken(e: am.Event) -> None:
        if len(taking.got) == 1:
            net.cut()  # before the acknowledgement can leave

    consumer: am.Machine[Any] = am.Machine(Basic, taking, id="consumer")
    consumer.bind({"ServerPayloadState": taken})
    async with paired(net, consumer=consumer) as pair:
        first = pair.server.send_payload("result", 1)
        second = pair.server.send_payload("result", 2)
        assert (await first).executed
        assert (await second).executed
        assert [got.data for got in taking.got] == [1, 2]


@behaviour
async def a_payload_given_while_nobody_is_there_waits(net: Net) -> None:
    taking = Taking()
    consumer: am.Machine[Any] = am.Machine(Basic, taking, id="consumer")
    async with paired(net, consumer=consumer) as pair:
        gone = pair.server.machine.when_not(S.ClientConnected)
        net.cut()
        await gone
        assert (await pair.server.send_payload("result", "kept")).executed
        assert taking.got[0].data == "kept"


@behaviour
async def a_call_without_a_connection_fails_at_once(net: Net) -> None:
    async with paired(net, errors=True, backoff=NEVER) as pair:
        dropped = pair.client.machine.when(C.Disconnected)
        net.cut()
        await dropped
        with raises(rpc.NotConnected) as caught:
            await pair.mirror.add("A")
        assert "add A" in str(caught.error)
        assert pair.client.machine.tick(C.ErrNetwork) == 0
        failed = pair.client.machine.when_ticks(C.ErrNetwork, 1)
        pair.mirror.add("A")
        await failed
        assert isinstance(pair.client.machine.err, rpc.NotConnected)
        assert pair.source.tick("A") == 0


@behaviour
async def a_source_that_begins_anew_ends_queue_waits_and_scopes(net: Net) -> None:
    async with paired(net) as pair:
        for _ in range(3):
            await pair.mirror.toggle("A")
        scope = pair.mirror.scope("A")
        queue = pair.mirror.when_queue(1000)
        old = pair.server
        pair.source = am.Machine(Basic, id="source")
        pair.source.add("A")
        pair.server = rpc.Server(pair.source, "again", push_interval=0.001)
        await old.stop()
        await pair.client.machine.when_not(C.Connected)
        await pair.client.when_ready()
        assert scope.expired
        with raises(rpc.SourceRestarted):
            await queue
        pair.assert_equal()
        old.machine.dispose()


@behaviour
async def a_server_can_send_its_client_away_for_good(net: Net) -> None:
    async with paired(net) as pair:
        ended = pair.client.machine.when_not(C.Start, C.Connected)
        await pair.server.stop("finished", reconnect=False)
        await ended
        assert pair.client.machine.not_(C.RetryingConn, C.Ready)


@behaviour
async def a_client_can_be_stopped_and_started_again(net: Net) -> None:
    async with paired(net) as pair:
        await pair.mirror.add("A")
        gone = pair.server.machine.when_not(S.ClientConnected)
        await pair.client.stop()
        await gone
        pair.source.add("B")
        pair.client.start()
        await pair.client.when_ready()
        assert pair.mirror.is_("A", "B")


@behaviour
async def states_of_the_connection_can_be_added_by_hand(net: Net) -> None:
    async with paired(net) as pair:
        sessions = pair.client.machine.tick(C.HandshakeDone)
        again = pair.client.machine.when_ticks(C.HandshakeDone, 2)
        pair.client.machine.add(C.Disconnected)
        await again
        assert pair.client.machine.tick(C.HandshakeDone) == sessions + 2
        left = pair.client.machine.when(C.Disconnected)
        pair.client.machine.add(C.Disconnecting)
        await left
        assert C.RetryingConn not in pair.client.machine
        pair.client.machine.add(C.Connecting)
        await pair.client.when_ready()
        assert (await pair.mirror.add("A")).executed


# Who may come, and what for


@in_browser
async def a_second_client_is_told_to_come_later_and_the_first_is_undisturbed(net: Net) -> None:
    async with paired(net) as pair:
        second = rpc.Client(pair.dial, Basic, id="second", backoff=QUICK)
        refused = second.machine.when_ticks(C.ErrRpc, 1)
        second.start()
        await refused
        error = second.machine.err
        assert isinstance(error, rpc.Rejected)
        assert (error.code, error.retry_after) == (rpc.Code.BUSY, 1.0)
        await second.stop()
        assert pair.client.machine.tick(C.HandshakeDone) == 1
        assert (await pair.mirror.add("A")).executed
        second.machine.dispose()


@behaviour
async def a_client_that_is_not_let_in_does_not_come_back(net: Net) -> None:
    asked: list[tuple[str, str]] = []

    def allow(id: str, token: str, peer: rpc.Peer) -> rpc.Grants | None:
        asked.append((id, token))
        return rpc.Grants() if token != "wrong" else None

    async with paired(net, allow=allow) as pair:
        client = rpc.Client(pair.dial, Basic, id="stranger", token="wrong", backoff=QUICK)
        await client.run()
        assert client.machine.is_(C.ConnRetryFailed)
        assert isinstance(client.machine.err, rpc.Rejected)
        assert client.machine.err.code == rpc.Code.FORBIDDEN
        assert asked == [("rc-test", ""), ("rc-stranger", "wrong")]
        client.machine.dispose()


@behaviour
async def grants_are_checked_on_every_request(net: Net) -> None:
    grants = rpc.Grants(mutate=("A*",), read=("A*", "Exception"), payload=("open-*",))
    taking = Taking()
    consumer: am.Machine[Any] = am.Machine(Basic, taking, id="consumer")
    async with paired(net, consumer=consumer, allow=lambda *_: grants) as pair:
        assert (await pair.mirror.add("A")).executed
        assert pair.mirror.is_("A")
        pair.source.add("B")
        await pair.client.sync()
        assert pair.mirror.tick("B") == 0
        for call in (pair.mirror.add("B"), pair.mirror.set("A"), pair.mirror.remove(["A", "B"])):
            with raises(rpc.CallRefused) as caught:
                await call
            assert caught.error.code in (rpc.Code.FORBIDDEN, rpc.Code.NO_STATE)
        with raises(rpc.DeliveryFailed) as kept:
            await pair.server.send_payload("secret", 1)
        assert kept.error.code == rpc.Code.FORBIDDEN
        await pair.server.send_payload("open-1", 1)
        assert [got.name for got in taking.got] == ["open-1"]
        assert pair.source.is_("A", "B")


# Mirrors of mirrors


@asynccontextmanager
async def below(net: Net, mirror: rpc.NetworkMachine[Any], schema: Any = Basic, **client: Any) -> AsyncIterator[Any]:
    """A mirror of a mirror, ready; no error may occur on the way to it."""
    relay = rpc.Server(mirror, "relay", push_interval=0.001)
    serving: list[asyncio.Task[Any]] = []

    async def dial() -> Transport:
        near, far = await net.connect()
        serving.append(asyncio.create_task(relay.serve(near)))
        return far

    leaf = rpc.Client(dial, schema, id="leaf", backoff=QUICK, **client)
    leaf.start()
    await leaf.when_ready()
    yield leaf.netmach
    await leaf.stop()
    await asyncio.wait(serving)
    for machine in (leaf.machine, relay.machine):
        assert not machine.is_err(), machine.err
        machine.dispose()


@behaviour
async def three_levels_of_mirrors(net: Net) -> None:
    """A mutation of a leaf goes up, clocks come down to all, and arguments are waited for all the way up."""
    async with paired(net) as top:
        serving: list[asyncio.Task[Any]] = []

        def below(source: rpc.NetworkMachine[Any], name: str) -> rpc.Client[Any]:
            relay = rpc.Server(source, f"to-{name}", push_interval=0.001)

            async def dial() -> Transport:
                near, far = await net.connect()
                serving.append(asyncio.create_task(relay.serve(near)))
                return far

            relays.append(relay)
            return rpc.Client(dial, Basic, id=name, backoff=QUICK)

        relays: list[rpc.Server] = []
        middle = [below(top.mirror, f"m{n}") for n in range(2)]
        leaves = [below(middle[n // 2].netmach, f"l{n}") for n in range(4)]
        for client in (*middle, *leaves):
            client.start()
            await client.when_ready()
        asked = leaves[3].netmach.when_args("Ask", n=1)
        assert (await leaves[0].netmach.add(["A", "D"])).executed
        assert leaves[0].netmach.clock() == top.source.clock()
        await am.wait_all(*(leaf.netmach.when("A", "D") for leaf in leaves))
        top.source.add("B")
        await am.wait_all(*(leaf.netmach.when("B") for leaf in leaves))
        await leaves[1].netmach.add("Ask", n=1)
        await asked
        await leaves[2].netmach.when("Ask")
        assert {leaf.netmach.queue_tick for leaf in leaves} == {top.source.queue_tick}
        for client in (*leaves, *middle):
            await client.stop()
            assert not client.machine.is_err(), client.machine.err
        await asyncio.wait(serving)
        for relay in relays:
            relay.machine.dispose()


@behaviour
async def a_mirror_can_be_the_source_of_another(net: Net) -> None:
    async with paired(net) as pair, below(net, pair.mirror) as leaf:
        assert (await leaf.add([Basic.A, Basic.D])).executed
        assert pair.source.is_("A", "D")
        assert leaf.clock() == pair.source.clock()
        pair.source.add("B")
        await leaf.when(Basic.B)


@behaviour
async def nothing_is_left_behind(net: Net) -> None:
    async with paired(net) as pair:
        tracers = pair.source.tracers
        assert len(tracers) == 1
        await pair.client.stop()
        await pair.server.machine.when_not(S.ClientConnected)
        assert pair.source.tracers == ()
    gc.collect()


@in_browser
async def large_frames_travel_compressed(net: Net) -> None:
    taking = Taking()
    consumer: am.Machine[Any] = am.Machine(Basic, taking)
    async with paired(net, consumer=consumer, client={"compression": True}, compression=True) as pair:
        assert (await pair.mirror.add("Ask", text="again and " * 1000)).executed
        assert (await pair.server.send_payload("figures", "again and " * 1000)).executed
        assert taking.got[0].data == "again and " * 1000
        statistics = pair.client.statistics
        assert statistics.bytes_out < 1000
        assert statistics.bytes_in < 1000
        pair.assert_equal()


@behaviour
async def a_client_goes_over_to_its_next_connection(net: Net) -> None:
    async with paired(net) as pair:
        await pair.mirror.add("A")
        first, before = pair.client.last_end, pair.client.machine.clock()
        (served,) = pair.server._clients
        served.go_away(0)
        while served in pair.server._clients:
            assert (await pair.mirror.add("Ask")).executed
        assert pair.client.machine.clock() == before, "nobody notices"
        assert pair.client.last_end is first
        assert (await pair.mirror.add("B")).executed
        pair.assert_equal()
        assert pair.client.statistics.drops == 0
