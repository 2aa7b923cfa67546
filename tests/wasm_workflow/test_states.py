"""The schemas against the tables of the specification's part C."""

import pytest

import asyncmachine as am
from examples.wasm_workflow.states import (
    CONTROLS,
    DISPATCHER,
    Dispatcher,
    Orchestrator,
    Page,
    Worker,
    of,
)

WORK = ("Working", "Retrying", "Completed", "Failed")
DELIVERED = tuple(f"Browser{n}Delivered" for n in range(1, 5))


@pytest.mark.parametrize("schema", [Worker.schema, Page.schema, DISPATCHER, Orchestrator.schema])
def test_every_relation_names_a_state(schema: am.Schema) -> None:
    machine = am.Machine(schema)
    assert machine.names == schema.names
    assert schema.names[0] == "Exception"


def test_the_worker_is_that_of_the_specification() -> None:
    assert set(Worker.names) == {
        *("Exception", "ErrOnClient", "RegisterDisposal", "Disposing", "Disposed"),
        *("ErrNetwork", "ErrHandlerTimeout", "Start", "Ready", "Healthcheck", "Heartbeat", "RpcReady"),
        *WORK,
    }
    schema = Worker.schema
    assert schema["Start"] == am.State(require=("RpcReady",))
    assert schema["Exception"] == am.State(multi=True, remove=WORK)
    for name in ("Working", "Retrying"):
        assert schema[name] == am.State(require=("Start",), remove=(*WORK, "Exception"))
    for name in ("Completed", "Failed"):
        assert schema[name] == am.State(require=("Start",), remove=WORK)


def test_the_dispatcher_has_each_leaf_inside() -> None:
    for leaf in ("Browser3", "Browser4"):
        for name in Worker.names:
            assert leaf + name in DISPATCHER
        assert DISPATCHER[f"{leaf}Working"].require == (f"{leaf}Start",)
        for event in ("Work", "Retry"):
            assert DISPATCHER[leaf + event] == am.State(multi=True)
    assert set(DISPATCHER) == {
        *Dispatcher.names,
        *(leaf + n for leaf in ("Browser3", "Browser4") for n in Worker.names),
    }


def test_the_orchestrator_is_that_of_the_specification() -> None:
    schema = Orchestrator.schema
    assert schema["Ready"] == am.State()
    assert schema["WorkersReady"] == am.State(auto=True, require=tuple(f"Browser{n}Ready" for n in range(1, 5)))
    assert schema["NetworkReady"] == am.State(auto=True, require=("Ready", "WorkersReady"), add=("StartWork",))
    assert schema["BrowserConn"] == am.State(multi=True, require=("Start",))
    assert schema["StartWork"].require == ("NetworkReady",)
    assert set(DELIVERED) < set(schema["StartWork"].remove or ())
    assert schema["Browser1Work"].require == schema["Browser2Work"].require == ("NetworkReady",)
    assert schema["Browser3Work"].require == ("Browser1Delivered", "NetworkReady")
    assert schema["Browser4Work"].require == ("Browser2Delivered", "NetworkReady")
    assert schema["Browser1Delivered"].add == ("Browser3Work",)
    assert schema["Browser2Delivered"].add == ("Browser4Work",)
    assert schema["WorkDelivered"] == am.State(auto=True, require=("Browser3Delivered", "Browser4Delivered"))
    for n, via in ((1, 1), (2, 2), (3, 2), (4, 2)):
        assert f"ErrBrowser{n}" in schema
        for name in ("Ready", "Completed", "Working", "Failed", "Retrying"):
            assert schema[f"Browser{n}{name}"] == am.State(require=(f"Browser{via}Conn",))
    assert set(CONTROLS) == {"RunAgain", "CorruptNext", "KillWorker", "CutConnection"}


def test_an_open_round_is_gone_on_with_and_not_begun_anew() -> None:
    machine = am.Machine(Orchestrator.schema)
    network = ["Browser1Conn", "Browser2Conn", *(f"Browser{n}Ready" for n in range(1, 5))]
    machine.add(["Start", "Ready", *network])
    assert machine.is_(Orchestrator.NetworkReady, Orchestrator.StartWork)
    machine.add([Orchestrator.RoundOpen, Orchestrator.Browser1Delivered])
    machine.remove(Orchestrator.StartWork)
    machine.add(Orchestrator.RoundOpen)
    machine.remove(Orchestrator.Browser3Ready)
    assert machine.not_(Orchestrator.WorkersReady, Orchestrator.NetworkReady)
    machine.add(Orchestrator.Browser3Ready)
    assert machine.is_(Orchestrator.NetworkReady, Orchestrator.RoundOpen)
    assert machine.not_(Orchestrator.StartWork)


def test_a_called_start_work_begins_a_round_whatever_is_open() -> None:
    machine = am.Machine(Orchestrator.schema)
    network = ["Browser1Conn", "Browser2Conn", *(f"Browser{n}Ready" for n in range(1, 5))]
    machine.add(["Start", "Ready", *network])
    machine.remove(Orchestrator.StartWork)
    machine.add([Orchestrator.RoundOpen, *DELIVERED])
    assert machine.is_(Orchestrator.WorkDelivered)
    assert machine.add(Orchestrator.StartWork).executed
    assert machine.not_(Orchestrator.RoundOpen, Orchestrator.WorkDelivered, *DELIVERED)


def test_names_of_a_node() -> None:
    assert of("browser3", "Ready") == "Browser3Ready"
    assert of("browser3") == "Browser3"
