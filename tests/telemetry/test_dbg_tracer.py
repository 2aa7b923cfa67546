"""What a tracer notes, and that its machine never feels it."""

from __future__ import annotations

import gc
import logging
import weakref
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine.telemetry.dbg import messages as m
from asyncmachine.telemetry.dbg.notes import Ended
from asyncmachine.telemetry.dbg.notes import Record as Noted
from asyncmachine.telemetry.dbg.outbox import Outbox
from asyncmachine.telemetry.dbg.records import Record
from asyncmachine.telemetry.dbg.tracer import MOST_FAILURES, DbgTracer, QueueTracer, tracer_for
from tests.telemetry.hearing import Watch

SCHEMA: dict[str, dict[str, Any]] = {
    "Start": {},
    "Ready": {"auto": True, "require": ["Start"]},
    "Job": {"multi": True, "require": ["Start"]},
    "Blocked": {"require": ["Job"]},
    "ErrDisk": {"require": ["Exception"]},
}


def machine(handlers: object = None, **more: Any) -> am.Machine[str]:
    return am.Machine(SCHEMA, handlers, id="worker", tags=("a", "b:c"), **more)


def one(records: list[Record], *called: str) -> Record:
    """The record of the transition that calls these states."""
    (found,) = [record for record in records if record.called == called and not record.is_queued]
    return found


def test_a_machine_is_described() -> None:
    class Download(am.StatesDef):
        Start = am.state()
        Flow = am.group(Start)

    parent = am.Machine({}, id="parent")
    child = am.Machine(Download, id="child", tags=("x",), parent=parent)
    child.add(Download.Start)
    (told,) = Watch(child).flush().of(m.Machine)
    assert told.names == ("Exception", "Start")
    assert told.rules == (m.Rule(m.MULTI_STATE), m.Rule())
    assert (told.id, told.parent, told.tags, told.time, told.queue_tick) == ("child", "parent", ("x",), (0, 1), 2)
    assert told.groups == (m.Group("self", (1,)), m.Group("Flow", (1,)))
    assert (told.next, told.remote) == (1, False)


def test_a_whole_transition() -> None:
    worker = machine({"JobState": lambda e: e.add("Blocked")})
    worker.log.switch("args", "steps")
    worker.log.keep(3)
    watch = Watch(worker)
    source = am.MutationSource("other", "tx7", 41)
    worker.add("Start")
    worker.add("Job", {"name": "x", "data": b"secret"}, e=source)
    records = watch.flush().records
    job, caused = one(records, "Job"), one(records, "Blocked")
    assert (job.kind, job.is_accepted, job.is_auto, job.is_check, job.is_broken) == ("add", True, False, False, False)
    assert job.source == m.Source("other", "tx7", 41)
    assert job.args == {"name": "str[1]", "data": "bytes[6]"}
    assert [line.text for line in job.log if "[handler" in line.text] == ["[handler:1] JobState"]
    assert (job.queue_len, job.queue_tick) == (1, 3)
    assert job.duration > 0
    assert str(job.steps[0]) == "called **Job**"
    assert caused.source == m.Source("worker", job.id, sum(job.before))
    assert [record.number for record in records] == list(range(1, len(records) + 1))


def test_steps_come_back_as_they_were() -> None:
    """Relations, handlers of all kinds, and the global ones."""
    seen: list[Any] = []

    class Keeps(am.Tracer):
        def transition_end(self, tx: am.Transition) -> None:
            seen.extend(tx.steps)

    handlers = dict.fromkeys(("JobState", "JobJob", "JobEnd", "AnyEnter", "StartExit", "StartJob"), lambda e: None)
    worker = machine(handlers)
    worker.log.steps = True
    watch = Watch(worker)
    worker.trace(Keeps())
    for mutate, states in (("add", "Start"), ("add", "Job"), ("add", "Job"), ("add", "Blocked"), ("remove", "Start")):
        getattr(worker, mutate)(states)
    assert [step for record in watch.flush().records for step in record.steps] == seen
    assert {type(step.relation) for step in seen} > {type(None)}


def test_dry_runs_are_noted_only_if_the_log_asks_for_them() -> None:
    worker = machine()
    watch = Watch(worker)
    worker.can_add("Start")
    assert watch.flush().records == []
    worker.log.can = True
    worker.can_add("Start")
    (record,) = watch.flush().records
    assert (record.is_check, record.is_accepted, record.before) == (True, True, record.after)


def test_errors() -> None:
    def fails(e: am.Event) -> None:
        raise OSError("disk full")

    worker = machine({"StartState": fails})
    watch = Watch(worker)
    worker.add("Start")
    records = watch.flush().records
    broken, error = one(records, "Start"), one(records, "Exception")
    assert (broken.is_broken, broken.is_accepted, broken.failure) == (True, False, None)
    assert error.failure is not None
    assert (error.failure.type, error.failure.message, error.failure.handler) == ("OSError", "disk full", "StartState")
    assert "fails" in error.failure.trace
    assert error.source == m.Source("worker", broken.id, 0)


def test_queued_mutations_are_noted_only_if_the_log_asks_for_them() -> None:
    worker = machine({"StartState": lambda e: e.add("Job")})
    worker.log.switch("queued")
    watch = Watch(worker)
    worker.add("Start")
    queued = [record for record in watch.flush().records if record.is_queued]
    assert [(record.called, record.is_auto, record.due) for record in queued] == [
        (("Start",), False, 2),
        (("Job",), False, 3),
        (("Ready",), True, 0),
    ]
    assert [record.before == record.after for record in queued] == [True] * 3
    assert "test_queued_mutations" in queued[0].stack.splitlines()[0]
    assert "<lambda>" in queued[1].stack.splitlines()[0]


def is_its(tx: Record, queued: Record) -> bool:
    """Whether a transition is what a queued mutation became."""
    if queued.token:
        return tx.token == queued.token
    return not tx.token and tx.queue_tick == queued.due


def test_queued_mutations_can_be_told_from_which_transition_they_became() -> None:
    worker = machine()
    worker.log.switch("queued", "can")
    watch = Watch(worker)
    worker.add("Start")
    worker.can_add("Job")
    records = watch.flush().records
    for record in records:
        if record.is_queued:
            (tx,) = [found for found in records if not found.is_queued and is_its(found, record)]
            assert (tx.called, tx.is_check) == (record.called, record.is_check)
    ids = [record.id for record in records if record.is_queued]
    assert ids == ["0-0", "0-1", f"{one(records, 'Ready').id}-0"]
    assert len(set(ids)) == len(ids)


def test_stacks_can_be_left_out() -> None:
    worker = machine()
    worker.log.queued = True
    outbox = Outbox()
    worker.trace(tracer_for(worker, outbox, stacks=False))
    worker.add("Start")
    assert next(note.stack for _, _, note, _, _ in outbox.items if isinstance(note, Noted)) == ()


def test_lines_of_switches_that_are_off_are_left_out() -> None:
    def texts(*switches: str) -> str:
        worker = machine()
        worker.log.switch(*switches) if switches else None
        worker.log.keep(3)
        watch = Watch(worker)
        worker.when("Job")
        worker.scope("Start")
        other = am.Machine({"Job": {}}, id="other")
        am.pipes.bind(worker, "Job", other)
        worker.add("Start")
        return "\n".join(line.text for record in watch.flush().records for line in (*record.pre, *record.log))

    plain, full = texts(), texts("when", "state_ctx", "graph")
    for prefix in ("[when:new]", "[ctx:new]", "[pipe-out:add]"):
        assert prefix not in plain
        assert prefix in full


def test_lines_without_a_transition_come_by_the_timer() -> None:
    worker = machine()
    worker.log.keep(1)
    watch = Watch(worker)
    worker.log("hello %d", 1)
    watch.tracers[0].look()
    (log,) = watch.flush().of(m.Log)
    assert [line.text for line in log.lines] == ["[exter] hello 1"]
    watch.tracers[0].look()
    assert watch.flush().of(m.Log) == [log]


def test_the_last_lines_come_with_disposal() -> None:
    worker = machine()
    worker.log.keep(1)
    watch = Watch(worker)
    worker.log("bye")
    worker.dispose()
    listener = watch.flush()
    assert [type(message).__name__ for message in listener.messages] == ["Hello", "Machine", "Log", "Gone"]
    assert listener.stream.tracks == {}


def test_long_logs_are_cut() -> None:
    worker = machine()
    worker.log.keep(1)
    watch = Watch(worker)
    for number in range(100):
        worker.log("%d %s", number, "x" * 5000)
    worker.add("Start")
    (record, *_) = watch.flush().records
    assert len(record.pre) < 20
    assert record.pre[-1].text == "(further entries are not sent)"


def test_new_groups_are_told() -> None:
    worker = machine()
    watch = Watch(worker)
    worker.set_groups({"flow": ["Start", "Job"]})
    watch.tracers[0].look()
    assert watch.flush().of(m.Machine)[-1].groups == (m.Group("flow", (0, 2)),)


def test_pipes_are_told() -> None:
    worker, other = machine(), am.Machine({"Job": {}}, id="other")
    watch = Watch(worker)
    pipe = am.pipes.bind(worker, "Job", other)
    worker.add("Start")
    assert watch.flush().of(m.Pipes) == []
    worker.remove("Start")
    (told,) = watch.flush().of(m.Pipes)
    assert told.pipes == (m.Pipe(m.OUT_PIPE | m.ADD_PIPE, "Job", "other"), m.Pipe(m.OUT_PIPE, "Job", "other"))
    worker.add("Start")
    assert len(watch.flush().of(m.Pipes)) == 1
    assert watch.reconnect().of(m.Pipes)[0].pipes == told.pipes
    pipe.close()
    worker.add("Job")
    assert watch.flush().of(m.Pipes)[-1].pipes == ()


def test_children_are_watched_too() -> None:
    worker = machine()
    watch = Watch(worker)
    child = am.Machine({"A": {}}, id="child", parent=worker)
    child.add("A")
    listener = watch.flush()
    assert [told.id for told in listener.of(m.Machine)] == ["worker", "child"]
    assert one(listener.of_machine("child"), "A").after == child.time()


def test_a_machine_that_nobody_disposes_of_ends_when_it_is_collected() -> None:
    worker = machine()
    watch = Watch(worker)
    gone = weakref.ref(worker)
    watch.flush()
    worker.add("Start")
    del worker
    gc.collect()
    assert gone() is None
    assert [type(message).__name__ for message in watch.flush().messages][-1] == "Gone"


def test_ending_is_told_once() -> None:
    worker = machine()
    watch = Watch(worker)
    watch.tracers[0].end()
    worker.dispose()
    del worker
    gc.collect()
    assert len(watch.flush().of(m.Gone)) == 1


class Failing(Outbox):
    """One that cannot be put into."""

    fails = False

    def put(self, item: Any, weight: int = 0) -> None:
        if self.fails:
            raise RuntimeError("no room")
        super().put(item, weight)


@pytest.mark.parametrize("queued", [False, True])
def test_a_tracer_that_fails_is_taken_away_and_its_machine_feels_nothing(
    queued: bool, caplog: pytest.LogCaptureFixture
) -> None:
    worker, outbox = machine({"StartState": lambda e: None}), Failing()
    worker.log.queued = queued
    tracer = tracer_for(worker, outbox)
    assert type(tracer) is (QueueTracer if queued else DbgTracer)
    worker.trace(tracer)
    outbox.fails = True
    with caplog.at_level(logging.ERROR, "asyncmachine.telemetry"):
        for _ in range(MOST_FAILURES + 2):
            assert worker.add("Start").executed
            assert worker.remove("Start").executed
    assert worker.err is None
    assert not worker.tracers
    assert "is not watched any more" in caplog.text


def test_a_mapper_that_raises_hurts_nobody() -> None:
    worker = machine()
    worker.log.switch("args")

    def mapper(args: Any) -> Any:
        raise RuntimeError("boom")

    worker.log.args_mapper = mapper
    watch = Watch(worker)
    worker.add("Start", {"name": "x"})
    assert one(watch.flush().records, "Start").args == {"": "arguments not shown: RuntimeError"}
    assert worker.err is None


def test_arguments_are_not_kept_alive() -> None:
    class Payload:
        pass

    worker = machine({"StartState": lambda e: None})
    worker.log.switch("args")
    outbox = Outbox()
    worker.trace(tracer_for(worker, outbox))
    payload = Payload()
    gone = weakref.ref(payload)
    worker.add("Start", {"payload": payload})
    del payload
    gc.collect()
    assert gone() is None
    assert isinstance(outbox.items[0][0], DbgTracer)


@pytest.mark.parametrize("handlers", [None, {"JobState": lambda e: None}])
def test_what_happens_while_it_is_attached_shows_in_the_ticks(handlers: Any) -> None:
    """Another thread may be faster: the ticks are read before the tracer is bound."""
    worker, watch = machine(handlers), Watch()
    tracer = tracer_for(worker, watch.outbox)
    worker.add("Start")
    worker.trace(tracer)
    worker.add("Job")
    listener = watch.flush()
    (gap,) = listener.of(m.Gap)
    assert (gap.lost, gap.next) == (0, 1)
    (job,) = listener.records
    assert (job.before, job.after) == (gap.time, worker.time())


def test_attached_in_a_handler_it_begins_with_the_right_ticks() -> None:
    watch = Watch()

    def start(e: am.Event) -> None:
        if not watch.tracers:
            watch.attach(e.machine)
        e.add("Job")

    worker = machine({"StartState": start})
    worker.add("Start")
    listener = watch.flush()
    assert one(listener.records, "Job").before == worker.time(["Start", "Ready", "", "", "", ""])
    assert tuple(listener.stream.tracks[0].ticks) == worker.time()


def test_ended_is_a_note() -> None:
    worker, outbox = machine(), Outbox()
    tracer = tracer_for(worker, outbox)
    worker.trace(tracer)
    worker.dispose()
    assert isinstance(outbox.items[-1][2], Ended)
