"""Pipes: what arrives, in which order, with what, and when it ends."""

import gc
import weakref
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import pipes
from asyncmachine.machine.args import ErrorArgs
from asyncmachine.states import Basic, Connected


class Recorder(am.Tracer):
    """Mutations of one machine, in the order they were carried out."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.transitions: list[am.Transition] = []

    def transition_end(self, tx: am.Transition) -> None:
        self.seen.append(repr(tx.mutation))
        self.transitions.append(tx)


def machine(*names: str, multi: tuple[str, ...] = (), id: str = "") -> am.Machine[str]:
    return am.Machine({name: {"multi": name in multi} for name in names}, id=id)


def two(*names: str, multi: tuple[str, ...] = ()) -> tuple[am.Machine[str], am.Machine[str], Recorder]:
    source, target, recorder = (
        machine(*names, multi=multi, id="src"),
        machine(*names, multi=multi, id="dst"),
        Recorder(),
    )
    target.trace(recorder)
    return source, target, recorder


def test_a_state_follows_both_ways_in_order() -> None:
    source, target, recorder = two("A")
    pipes.bind(source, "A", target)
    source.add("A")
    source.remove("A")
    source.add("A")
    assert recorder.seen == ["[add] A", "[remove] A", "[add] A"]
    assert target.tick("A") == 3


def test_the_order_is_kept_when_a_handler_of_the_source_makes_the_changes() -> None:
    source, target, recorder = two("A", "Go")

    @source.on.state("Go")
    def go(e: am.Event) -> None:
        e.add("A")
        e.remove("A")
        e.add("A")

    pipes.bind(source, "A", target)
    source.add("Go")
    assert recorder.seen == ["[add] A", "[remove] A", "[add] A"]


def test_the_order_is_kept_while_the_target_is_busy() -> None:
    source, target, recorder = two("A", "Busy")
    pipes.bind(source, "A", target)

    @target.on.state("Busy")
    def busy(e: am.Event) -> None:
        for _ in range(3):
            source.add("A")
            source.remove("A")

    target.add("Busy")
    assert recorder.seen == ["[add] Busy", *["[add] A", "[remove] A"] * 3]


def test_other_names_on_the_target() -> None:
    source, target = machine("A"), machine("On", "Off")
    pipes.bind(source, "A", target, "On")
    source.add("A")
    assert target.is_("On")
    source.remove("A")
    assert target.not_("On")


def test_another_state_may_be_removed_than_was_added() -> None:
    source, target = machine("A"), machine("On", "Off")
    pipes.bind(source, "A", target, "On", "Off")
    target.add("Off")
    source.add("A")
    source.remove("A")
    assert target.active_states() == ("On",)


def test_arguments_and_origin_travel_along() -> None:
    source, target, recorder = two("A")
    pipes.bind(source, "A", target)
    tracer = Recorder()
    source.trace(tracer)
    source.add("A", n=1)
    source.remove("A", n=2)
    assert [tx.args for tx in recorder.transitions] == [{"n": 1}, {"n": 2}]
    origins = [tx.source for tx in recorder.transitions]
    assert [(o.machine_id, o.tx_id) for o in origins if o] == [("src", tx.id) for tx in tracer.transitions]


def test_handlers_of_both_ends_do_not_share_the_arguments() -> None:
    source, target, _ = two("A")
    pipes.bind(source, "A", target)
    args = {"n": 1}

    @target.on.state("A")
    def change(e: am.Event) -> None:
        e.raw_args["n"] = 2

    source.add("A", args)
    assert args == {"n": 1}


def test_a_flat_pipe_skips_what_changes_nothing_and_passes_no_arguments() -> None:
    source, target, recorder = two("A", multi=("A",))
    pipes.bind(source, "A", target, flat=True)
    source.add("A", n=1)
    source.add("A", n=2)
    source.remove("A")
    target.remove("A")
    source.add("A")
    target.remove("A")
    recorder.seen.clear()
    source.remove("A")
    assert recorder.seen == []
    assert all(tx.args == {} for tx in recorder.transitions)
    assert target.tick("A") == 4


def test_a_pipe_that_is_not_flat_repeats_calls_of_multi_states() -> None:
    source, target, _ = two("A", multi=("A",))
    pipes.bind(source, "A", target)
    source.add("A")
    source.add("A")
    assert target.tick("A") == 3


def test_the_target_may_refuse() -> None:
    source, target, _ = two("A")
    target.bind({"AEnter": lambda e: False})
    pipes.bind(source, "A", target)
    assert source.add("A").executed
    assert target.not_("A")


def test_many_states_by_name_and_by_mapping() -> None:
    source = machine("A", "B")
    same, other = machine("A", "B"), machine("X", "Y")
    pipes.bind_many(source, same, ["A", "B"])
    pipes.bind_many(source, other, {"A": "X", "B": "Y"})
    source.add(["A", "B"])
    source.remove("A")
    assert same.active_states() == ("B",) and other.active_states() == ("Y",)


def test_ids_tell_what_is_piped_where() -> None:
    class Whole(Connected, Basic):
        pass

    source, target = am.Machine(Whole), am.Machine(Whole, id="dst")
    made = [
        pipes.bind(source, "Ready", target),
        pipes.bind_many(source, target, ["Start", "Ready"]),
        pipes.bind_start(source, target),
        pipes.bind_ready(source, target),
        pipes.bind_connected(source, target, connected="Ready"),
        pipes.bind_err(source, target),
        pipes.bind_any(source, target),
    ]
    assert [pipe.id for pipe in made] == [
        "Bind-Ready-dst",
        "BindMany-2-dst",
        "BindStart-dst",
        "BindReady-dst",
        "BindConnected-dst",
        "BindErr-dst",
        "BindAny-dst",
    ]
    assert source.handlers() == tuple(pipe.id for pipe in made)


def test_start_and_ready() -> None:
    source, target = am.Machine(Basic), machine("Begun", "Able")
    pipes.bind_start(source, target, "Begun")
    pipes.bind_ready(source, target, "Able")
    source.add([Basic.Start, Basic.Ready])
    assert target.is_("Begun", "Able")
    source.remove(Basic.Start)
    assert target.active_states() == ()


def test_phases_of_a_connection() -> None:
    class Client(Connected, Basic):
        pass

    source, target = am.Machine(Client), machine("Trying", "Up", "Down")
    pipes.bind_connected(source, target, connecting="Trying", connected="Up", disconnected="Down")
    seen = []
    source.add(Client.Start)
    for phase in (Client.Connecting, Client.Connected, Client.Disconnecting, Client.Disconnected):
        source.add(phase)
        seen.append(target.active_states())
    assert seen == [("Trying",), ("Up",), (), ("Down",)]


def test_errors_arrive_with_their_exception() -> None:
    source, target = machine("A"), am.Machine(Basic)
    pipes.bind_err(source, target, "ErrNetwork")
    error = OSError("no route")
    source.add_err(error)
    assert target.is_(Basic.ErrNetwork, Basic.Exception)
    assert target.err is error
    source.remove("Exception")
    assert target.is_(Basic.ErrNetwork), "errors are not taken back"


def test_an_error_may_arrive_as_an_ordinary_state() -> None:
    source, target = machine("A"), machine("Broken")
    pipes.bind_err(source, target, "Broken")
    source.add_err(OSError("no route"))
    assert target.active_states() == ("Broken",)


def test_an_err_state_is_added_behind_exception() -> None:
    source, target = machine("A"), am.Machine(Basic)
    recorder = Recorder()
    target.trace(recorder)
    pipes.bind(source, "A", target, "ErrNetwork")
    source.add("A")
    assert recorder.seen == ["[add] Exception ErrNetwork"]


def test_any_transition_is_mirrored_by_one_mutation() -> None:
    source = machine("A", "B")
    target, recorder = machine("A", "B", "Own"), Recorder()
    target.add("Own")
    target.trace(recorder)
    pipes.bind_any(source, target)
    source.add(["A", "B"])
    source.set("B")
    source.remove("B", n=1)
    assert recorder.seen == ["[set] A B Own", "[set] B Own", "[set] Own"]
    assert target.active_states() == ("Own",)
    assert recorder.transitions[-1].args == {"n": 1}
    assert recorder.transitions[-1].source is not None


def test_any_transition_leaves_an_equal_target_alone() -> None:
    source, target, recorder = two("A", "B")
    pipes.bind_any(source, target)
    target.add("A")
    recorder.seen.clear()
    source.add("A")
    assert recorder.seen == []


def test_any_needs_every_state_of_the_source() -> None:
    with pytest.raises(am.StateMissing, match="'B'"):
        pipes.bind_any(machine("A", "B"), machine("A"))


def test_sync_copies_once_and_counts() -> None:
    source, target = machine("A", "B", "C"), machine("A", "X", "C")
    source.add(["A", "B"])
    target.add(["A", "C"])
    assert pipes.sync(source, target, {"A": "A", "B": "X", "C": "C"}) == 2
    assert target.is_("A", "X") and target.not_("C")
    assert pipes.sync(source, target, ["A", "C"]) == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda a, b: pipes.bind(a, "Nope", b, "A"),
        lambda a, b: pipes.bind(a, "A", b, "Nope"),
        lambda a, b: pipes.bind(a, "A", b, "A", "Nope"),
        lambda a, b: pipes.bind_many(a, b, {"A": "Nope"}),
        lambda a, b: pipes.bind_ready(a, b),
        lambda a, b: pipes.bind_err(a, b, "Nope"),
        lambda a, b: pipes.sync(a, b, ["Nope"]),
        lambda a, b: pipes.adder(b, "Nope"),
        lambda a, b: pipes.remover(b, "Nope"),
    ],
)
def test_names_that_a_machine_lacks_are_refused_and_nothing_is_bound(make: Any) -> None:
    source, target = machine("A"), machine("A")
    with pytest.raises(am.StateMissing):
        make(source, target)
    assert source.handlers() == ()


def test_primitives_are_handlers_of_ones_own() -> None:
    target = machine("A")

    class Handlers:
        AState = staticmethod(pipes.adder(target, "A"))
        AEnd = staticmethod(pipes.remover(target, "A"))

    source = am.Machine({"A": {}}, Handlers())
    source.add("A")
    assert target.is_("A")
    source.remove("A")
    assert target.not_("A")


def test_a_closed_pipe_is_gone_and_its_states_stay() -> None:
    source, target, _ = two("A", "B")
    pipe = pipes.bind_many(source, target, ["A", "B"])
    source.add("A")
    pipe.close()
    pipe.close()
    source.remove("A")
    source.add("B")
    assert target.active_states() == ("A",)
    assert source.handlers() == ()


def test_a_pipe_ends_with_either_machine() -> None:
    source, target, _ = two("A")
    pipe = pipes.bind(source, "A", target)
    target.dispose()
    assert source.handlers() == ()
    assert source.add("A").executed

    source, target, _ = two("A")
    pipe = pipes.bind(source, "A", target)
    source.dispose()
    pipe.close()
    target.dispose()


def test_a_disposed_machine_cannot_be_piped() -> None:
    source, target, _ = two("A")
    target.dispose()
    with pytest.raises(am.SchemaError, match="'dst' has been disposed"):
        pipes.bind(source, "A", target)
    with pytest.raises(am.SchemaError, match="'dst' has been disposed"):
        pipes.Pipe(source, target, {}, "x")


def test_closed_pipes_leave_nothing_on_the_target() -> None:
    source, target, _ = two("A")
    gone = [weakref.ref(pipes.bind(source, "A", target)) for _ in range(3)]
    for binding in source.handlers():
        source.detach(binding)
    pipe = pipes.bind(source, "A", target)
    seen = weakref.ref(pipe)
    pipe.close()
    del pipe
    gc.collect()
    assert seen() is None
    assert all(ref() is not None for ref in gone), "open ones are held by the target"


def test_machines_piped_in_a_ring_come_to_rest() -> None:
    first, second = machine("A"), machine("A")
    pipes.bind(first, "A", second, flat=True)
    pipes.bind(second, "A", first, flat=True)
    first.add("A")
    assert first.is_("A") and second.is_("A")
    second.remove("A")
    assert first.not_("A") and second.not_("A")


def test_error_records_are_passed_on() -> None:
    source, target = machine("A"), machine("A")
    pipes.bind_err(source, target)
    records: list[ErrorArgs] = []
    target.bind({"ExceptionState": lambda e: records.append(e.args(ErrorArgs))})
    source.add_err(OSError("gone"))
    assert str(records[0].err) == "gone"


def test_the_logs_of_both_machines_tell_of_their_pipes() -> None:
    source, target, _ = two("A", "B")
    made = [pipes.bind(source, "A", target, "B"), pipes.bind_err(source, target), pipes.bind_any(source, target)]
    assert [entry.text for entry in source.log.pipes.entries()] == [
        "[pipe-out:add] A to dst",
        "[pipe-out:remove] A to dst",
        "[pipe-out:add] Exception to dst",
        "[pipe-out:add] Any to dst",
    ]
    assert [entry.text for entry in target.log.pipes.entries()] == [
        "[pipe-in:add] B from src",
        "[pipe-in:remove] B from src",
        "[pipe-in:add] Exception from src",
        "[pipe-in:add] Any from src",
    ]
    for pipe in made:
        pipe.close()
    assert len(source.log.pipes) == len(target.log.pipes) == 0


def test_a_machine_that_goes_takes_its_pipes_out_of_the_log_of_the_other() -> None:
    source, target, _ = two("A")
    pipes.bind(source, "A", target)
    target.dispose()
    assert len(source.log.pipes) == 0

    source, target, _ = two("A")
    pipes.bind(source, "A", target)
    source.dispose()
    assert len(target.log.pipes) == 0


@pytest.mark.parametrize("flat", [False, True])
def test_what_is_taken_back_at_the_source_is_taken_back_at_the_target(flat: bool) -> None:
    source, target, recorder = two("A", "B", multi=("B",))
    pipes.bind(source, "A", target, flat=flat)
    pipes.bind(source, "B", target, flat=flat)

    def fail(e: am.Event) -> None:
        if e.raw_args:
            raise OSError

    source.bind({"BState": fail})
    source.add("A")
    source.add("B", n=1)
    assert source.active_states() == ("Exception", "A")
    assert target.active_states() == ("A",)
    source.add("B")
    source.add("B")
    source.remove("B")
    assert target.active_states() == ("A",)
    assert recorder.seen.count("[remove] B") == 2, "one undone, one ended"
