from hashlib import md5

import pytest

import asyncmachine as am
from asyncmachine.helpers.schemas import (
    copy_schema,
    count_relations,
    implements,
    is_multi,
    missing_states,
    schema_hash,
    transition_states,
)
from asyncmachine.states import Basic, Connected


class Client(Connected, Basic):
    Ping = am.state(multi=True, require=Basic.Start)


class Transitions(am.Tracer):
    def __init__(self) -> None:
        self.all: list[am.Transition] = []

    def transition_end(self, tx: am.Transition) -> None:
        self.all.append(tx)


def test_what_a_schema_lacks() -> None:
    implements(Client, Connected)
    implements(Client.schema, ["Ping"])
    assert missing_states(Basic, Client) == (
        "ErrConnecting",
        "Connecting",
        "Connected",
        "Disconnecting",
        "Disconnected",
        "Ping",
    )
    with pytest.raises(am.SchemaError, match=r"^missing state: Ping$"):
        implements(["Start"], ["Ping", "Start"])
    with pytest.raises(am.SchemaError, match=r"^missing states: A, B$"):
        implements([], ["A", "B"])


def test_flags_and_counts() -> None:
    assert is_multi(Client.schema, "Ping") and not is_multi(Client.schema, "Start") and not is_multi(Client.schema, "?")
    state = am.State(add=("A",), after=("A", "B"), require=("C",), remove=("D",))
    assert count_relations(state) == 5 and count_relations(am.State()) == 0


def test_a_label_does_not_depend_on_order() -> None:
    schema = am.Schema(
        {"B": am.State(auto=True, add=("C", "A"), after=("A",)), "A": am.State(multi=True), "C": am.State()}
    )
    text = "A:m,;;;;B:a,A,;;A,C,;;C:;;;;"
    assert schema_hash(schema) == md5(text.encode()).hexdigest()[:6]
    assert schema_hash(schema.ordered(["C", "B", "A"])) == schema_hash(schema)
    assert schema_hash(Client.schema) != schema_hash(Basic.schema)


def test_a_running_machine_takes_states_of_another_schema() -> None:
    machine = am.Machine(Basic.schema)
    machine.add("Start")
    copy_schema(Client.schema, machine, ["Ping", "Start"])
    assert machine.add("Ping").executed and machine.is_("Start")
    before = machine.names
    copy_schema(Basic.schema, machine)
    assert machine.names == before, "nothing is new"
    copy_schema(Client.schema, machine)
    implements(machine.schema, Client)


def test_what_is_copied_has_to_be_whole() -> None:
    machine = am.Machine({"A": {}})
    with pytest.raises(am.SchemaError, match="missing state: Pong"):
        copy_schema(Client.schema, machine, ["Pong"])
    with pytest.raises(am.SchemaError, match="Start"):
        copy_schema(Client.schema, machine, ["Ping"])
    assert machine.names == am.Machine({"A": {}}).names


def test_what_a_transition_has_done() -> None:
    needs_b, no_c, idle = am.State(require=("B",)), am.State(remove=("C",)), am.State()
    machine = am.Machine({"A": am.State(multi=True), "B": no_c, "C": idle, "D": needs_b, "E": idle, "F": idle})
    machine.add(["C", "A", "E"])
    machine.log.steps = True
    machine.trace(tracer := Transitions())
    machine.add(["A", "B", "D"])
    added, removed, touched = transition_states(tracer.all[0])
    assert (added, removed) == (("A", "B", "D"), ("C",))
    assert set(touched) >= {"A", "B", "C", "D"} and "F" not in touched
    machine.log.steps = False
    machine.remove("A")
    assert transition_states(tracer.all[1]) == ((), ("A",), ())
