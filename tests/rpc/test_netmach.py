"""The mirror by itself: what it makes of the clocks it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

import asyncmachine as am
from asyncmachine.rpc.clock import Clock
from asyncmachine.rpc.errors import SourceRestarted
from asyncmachine.rpc.netmach import NetworkMachine
from asyncmachine.rpc.watching import Watch


class Calls:
    """Takes the place of the client."""

    room = 4096
    is_full = False

    def __init__(self) -> None:
        self.made: list[tuple[str, tuple[str, ...], Mapping[str, Any], am.MutationSource | None]] = []
        self.watches: list[Watch] = []
        self.limits: list[float | None] = []
        self.failures: list[Exception] = []

    def call(
        self,
        kind: str,
        states: tuple[str, ...],
        args: Mapping[str, Any],
        source: am.MutationSource | None,
        within: float | None = None,
    ) -> am.Result:
        self.made.append((kind, states, args, source))
        self.limits.append(within)
        return am.Result.make_pending()

    def notify(self, states: tuple[str, ...], args: Mapping[str, Any], source: am.MutationSource | None) -> am.Result:
        self.made.append(("add_ns", states, args, source))
        return am.EXECUTED

    def can(self, kind: str, states: tuple[str, ...], args: Mapping[str, Any]) -> am.Result:
        self.made.append((f"can_{kind}", states, args, None))
        return am.Result.make_pending()

    def watch(self, watch: Watch) -> None:
        self.watches.append(watch)

    def handler_failed(self, error: Exception) -> None:
        self.failures.append(error)

    @property
    def machine(self) -> am.View[Any]:
        raise AssertionError


SCHEMA = am.Machine(am.Schema({"A": {"multi": True}, "B": {"require": ["A"]}, "ErrOnClient": {}})).schema
NAMES = SCHEMA.names


def mirror() -> tuple[NetworkMachine[str], Calls]:
    calls = Calls()
    return NetworkMachine(calls, SCHEMA, id="rnm-x"), calls


def test_names_are_those_of_the_schema() -> None:
    assert NAMES == ("A", "B", "ErrOnClient", "Exception")


def test_a_clock_is_shown() -> None:
    found, _ = mirror()
    found._show(Clock((3, 2, 0, 1), 7, 2))
    assert found.time() == (3, 2, 0, 1)
    assert found.active_states() == ("A", "Exception")
    assert (found.queue_tick, found.machine_tick, found.queue_len) == (7, 2, 0)
    assert found.is_err()
    assert str(found) == "(A:3 Exception:1)"
    assert found.string_all() == "(A:3 Exception:1) [B:2 ErrOnClient:0]"
    assert not found.is_local
    assert found.inspect(["B"]) == "0 B\n    |Tick     2\n    |Require  A\n"


def test_mutations_go_out_in_order_with_everything_they_have() -> None:
    found, calls = mirror()
    origin = am.MutationSource("m", "tx", 1)
    results = [
        found.add("A", {"x": 1}, e=origin, y=2),
        found.remove(["A", "B", "A"]),
        found.set([]),
        found.toggle("A"),
    ]
    assert all(result.pending for result in results)
    assert calls.made == [
        ("add", ("A",), {"x": 1, "y": 2}, origin),
        ("remove", ("A", "B"), {}, None),
        ("set", (), {}, None),
        ("add", ("A",), {}, None),
    ]
    with pytest.raises(am.StateMissing, match="did you mean 'ErrOnClient'"):
        found.add("ErrOnClent")


def test_errors_are_kept_here_and_go_out_with_their_states() -> None:
    found, calls = mirror()
    error = RuntimeError("x")
    found.add_err(error, {"more": 1})
    ((kind, states, args, _),) = calls.made
    assert (kind, states) == ("add", ("ErrOnClient", "Exception"))
    assert args["more"] == 1
    assert args[am.ErrorArgs.key].err is found.err is error


def test_handlers_run_for_what_activates_then_deactivates_then_any() -> None:
    found, _ = mirror()
    seen: list[str] = []
    handlers = {
        name: lambda e: seen.append(f"{e.name} {e.machine}")
        for name in ("AState", "AEnd", "BState", "BEnd", "AnyState")
    }
    found.bind(handlers)
    found._show(Clock((1, 0, 0, 0), 2))
    found._show(Clock((2, 1, 0, 0), 3))
    assert seen == ["AState (A:1)", "AnyState (A:1)", "BState (B:1)", "AEnd (B:1)", "AnyState (B:1)"]
    seen.clear()
    found._show(Clock((4, 1, 0, 0), 4))
    found._show(Clock((4, 1, 0, 0), 5))
    assert seen == [], "nothing was activated or deactivated"


def test_a_handler_may_ask_for_mutations() -> None:
    found, calls = mirror()
    found.bind({"AState": lambda e: e.add("B")})
    found._show(Clock((1, 0, 0, 0), 2))
    ((kind, states, _, source),) = calls.made
    assert (kind, states) == ("add", ("B",))
    assert source is not None
    assert source.machine_id == "rnm-x"


def test_the_source_is_told_of_a_handler_that_raises_but_not_for_ever() -> None:
    found, calls = mirror()
    error = ValueError("x")

    def fails(e: am.Event) -> None:
        raise error

    found.bind({"AState": fails, "AnyState": fails})
    found._show(Clock((1, 0, 0, 0), 2))
    assert calls.failures == [error, error]
    calls.failures.clear()
    found._show(Clock((1, 0, 0, 1), 3))
    assert calls.failures == [], "an error that happens while one is shown goes no further"


def test_a_tracer_that_raises_stops_nothing() -> None:
    class Broken(am.Tracer):
        def transition_init(self, tx: am.Transition) -> None:
            raise ValueError("x")

    found, calls = mirror()
    found.trace(Broken())
    found._show(Clock((1, 0, 0, 0), 2))
    assert found.is_("A")
    assert len(calls.failures) == 1


def test_scopes_end_before_handlers_run_and_waits_are_met_after() -> None:
    found, _ = mirror()
    order: list[str] = []
    found.scope("A").on_end(lambda: order.append("scope"))
    found.when("A").then(lambda: order.append("wait"))
    found.bind({"AState": lambda e: order.append(f"handler {e.scope.expired}")})
    found._show(Clock((1, 0, 0, 0), 2))
    assert order == ["scope", "handler False", "wait"]


def test_waits_for_the_queue_follow_the_source() -> None:
    found, _ = mirror()
    wait, later = found.when_queue(5), found.when_queue(6)
    found._show(Clock((0, 0, 0, 0), 5))
    assert wait.done()
    assert not later.done()
    assert found.when_queue(5).done()


@pytest.mark.parametrize(("clock", "restarted"), [(Clock((1, 0, 0, 0), 2), False), (Clock((9, 0, 0, 0), 9), True)])
def test_a_source_that_began_anew_fails_waits_for_its_queue(clock: Clock, restarted: bool) -> None:
    found, _ = mirror()
    found._show(Clock((9, 9, 0, 0), 9))
    scope, queue, state = found.scope("B"), found.when_queue(20), found.when_not("B")
    found._show(clock, restarted=restarted)
    with pytest.raises(SourceRestarted):
        queue.wait(0)
    assert scope.expired
    assert state.done()


def test_a_source_that_began_anew_fails_waits_for_ticks_that_count_anew() -> None:
    """They would be met when it has caught up with the one before, long after what was waited for."""
    found, _ = mirror()
    found._show(Clock((9, 1, 0, 0), 9))
    next_a, next_b, active = found.when_next_active("A"), found.when_next_active("B"), found.when("ErrOnClient")
    both = found.when_time(["B", "A"], [5, 11])
    found._show(Clock((1, 1, 0, 0), 9), restarted=True)
    for wait in (next_a, both):
        with pytest.raises(SourceRestarted, match="its ticks with it"):
            wait.wait(0)
    found._show(Clock((1, 3, 1, 0), 10))
    assert next_b.done() and active.done()


def test_arguments_are_waited_for_at_the_source() -> None:
    found, calls = mirror()
    wait = found.when_args("A", x=1)
    (watch,) = calls.watches
    assert watch.args is not None
    assert (watch.state, msgspec.msgpack.decode(watch.args), watch.wait()) == ("A", {"x": 1}, wait)
    found.dispose()
    with pytest.raises(am.Disposed):
        wait.wait(0)


def test_a_session_with_other_names_is_fitted_in() -> None:
    found, _ = mirror()
    found._show(Clock((1, 1, 0, 0), 2))
    wait = found.when_not("B")
    found._install(("Exception", "New", "A"), {"New": am.State(add=("A",))})
    found._show(Clock((0, 1, 3), 3))
    assert found.names == (*NAMES, "New")
    assert found.active_states() == ("A", "New")
    assert found.tick("B") == 2, "a state that the source does not have any more is inactive"
    assert wait.done()
    assert found.schema["New"].add == ("A",)
    found.bind({"NewEnd": lambda e: None})


def test_a_disposed_mirror_does_nothing_any_more() -> None:
    found, calls = mirror()
    wait = found.when("A")
    found.dispose()
    found.dispose()
    found._show(Clock((1, 0, 0, 0), 2))
    with pytest.raises(am.Disposed):
        wait.wait(0)
    assert found.add("A").canceled
    assert found.add_err(ValueError()).canceled
    assert calls.made == []
