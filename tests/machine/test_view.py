"""What can be read off a machine: activity, ticks, clocks, groups, identity and texts."""

from __future__ import annotations

import pytest

import asyncmachine as am
from tests.machine.recording import RawSchema

ABC: RawSchema = {"A": {}, "B": {"multi": True}, "C": {}}


class Flow(am.StatesDef):
    Start = am.state()
    Loading = am.state(remove="Loaded")
    Loaded = am.state(remove=Loading)
    Load = am.group(Loading, Loaded)


def machine() -> am.Machine[str]:
    """A:1 B:3, C and Exception inactive with ticks 2 and 0, last target order B A."""
    made = am.Machine(ABC, id="m")
    made.add(["A", "C"])
    made.add("B")
    made.remove("C")
    made.add("B")
    return made


# Activity


def test_is() -> None:
    m = machine()
    assert m.is_("A") and m.is_("A", "B") and m.is_()
    assert not m.is_("C") and not m.is_("A", "C") and not m.is_("Zed")


def test_not() -> None:
    m = machine()
    assert m.not_("C") and m.not_("C", "Exception") and m.not_()
    assert not m.not_("A") and not m.not_("A", "C")
    with pytest.raises(am.StateMissing, match="'Zed'"):
        m.not_("Zed")


def test_any() -> None:
    m = machine()
    assert m.any_("C", "B") and not m.any_("C") and not m.any_() and not m.any_("Zed")


def test_in_asks_for_one_active_state() -> None:
    m = machine()
    assert "A" in m
    assert "C" not in m and "Zed" not in m and 3 not in m


def test_has() -> None:
    m = machine()
    assert m.has("A", "C", "Exception") and m.has() and not m.has("A", "Zed")


def test_active_states() -> None:
    m = machine()
    assert m.active_states() == ("B", "A")
    assert m.active_states(["C", "A", "B", "Zed"]) == ("A", "B"), "narrowed, they stand in the given order"


def test_switch_tells_which_state_of_a_group_is_active() -> None:
    m = am.Machine(Flow)
    assert m.switch(Flow.Load) is None
    m.add(Flow.Loaded)
    assert m.switch(Flow.Load) == Flow.Loaded
    assert m.switch([Flow.Start], Flow.Load) == Flow.Loaded
    assert m.switch() is None
    match m.switch(Flow.Load):
        case Flow.Loading:
            raise AssertionError
        case Flow.Loaded:
            pass


# Time


def test_ticks() -> None:
    m = machine()
    assert [m.tick(name) for name in ("A", "B", "C", "Exception", "Zed")] == [1, 3, 2, 0, 0]
    assert m.time() == (1, 3, 2, 0)
    assert m.time(["C", "A", "Zed"]) == (2, 1, 0)
    assert m.clock() == {"A": 1, "B": 3, "C": 2, "Exception": 0}
    assert m.clock(["C", "Zed"]) == {"C": 2, "Zed": 0}


def test_is_time_means_exactly_now() -> None:
    m = machine()
    assert m.is_time((1, 3, 2, 0)) and m.is_time([1, 3, 2, 0])
    assert not m.is_time((1, 3, 1, 0)) and not m.is_time((1, 3, 2))
    assert m.is_time([2, 1], ["C", "A"])


def test_was_time_means_reached() -> None:
    m = machine()
    assert m.was_time((1, 2, 0, 0)) and m.was_time((1, 3))
    assert not m.was_time((2, 0, 0, 0)) and not m.was_time((0, 0, 0, 0, 0))
    assert m.was_time([1], ["B"]) and not m.was_time([4], ["B"])


def test_clocks_are_compared_by_name() -> None:
    m = machine()
    assert m.is_clock({"B": 3, "C": 2}) and m.is_clock({}) and not m.is_clock({"B": 2})
    assert m.was_clock({"B": 1, "C": 2}) and not m.was_clock({"B": 4})


def test_a_clock_is_a_copy() -> None:
    m = machine()
    m.clock()["A"] = 99
    assert m.tick("A") == 1


# Identity


def test_identity() -> None:
    parent = am.Machine(ABC, id="parent")
    m = am.Machine(ABC, id="m", tags=["a", "b:1", "a"], parent=parent)
    assert (m.id, m.parent_id, m.tags) == ("m", "parent", ("a", "b:1"))
    assert m.names == ("A", "B", "C", "Exception")
    assert m.is_local and not m.is_disposed
    assert (m.queue_tick, m.machine_tick, m.queue_len) == (1, 0, 0)
    assert parent.parent_id == ""


def test_an_id_is_made_up_if_none_is_given() -> None:
    first, second = am.Machine(ABC), am.Machine(ABC)
    assert first.id != second.id
    assert len(first.id) == 16 and int(first.id, 16) >= 0


def test_groups_come_from_the_class_or_are_set() -> None:
    m = am.Machine(Flow)
    assert m.groups == {"self": ("Start", "Loading", "Loaded"), "Load": ("Loading", "Loaded")}
    m.set_groups({"Mine": [Flow.Start]})
    assert m.groups == {"Mine": ("Start",)}
    plain = am.Machine(ABC)
    assert plain.groups == {}
    with pytest.raises(am.StateMissing):
        plain.set_groups({"Mine": ["Zed"]})
    assert plain.groups == {}


# Texts


def test_texts() -> None:
    m = machine()
    assert str(m) == "(A:1 B:3)"
    assert m.string_all() == "(A:1 B:3) [C:2 Exception:0]"
    assert repr(m) == "<Machine m (A:1 B:3)>"
    fresh = am.Machine(ABC)
    assert str(fresh) == "()"
    assert fresh.string_all() == "() [A:0 B:0 C:0 Exception:0]"


def test_inspect_shows_each_state_with_what_it_has() -> None:
    m = am.Machine(
        {
            "A": {"auto": True, "add": ["B"], "remove": [], "tags": ["hidden"]},
            "B": {"multi": True, "require": ["A", "C"], "remove": ["Exception"], "after": ["A"]},
            "C": {},
        }
    )
    m.add("C")
    assert m.inspect() == (
        "1 A\n"
        "    |Tick     1\n"
        "    |Auto     true\n"
        "    |Add      B\n"
        "    |Remove   \n"
        "1 B\n"
        "    |Tick     1\n"
        "    |Multi    true\n"
        "    |Require  A C\n"
        "    |Remove   Exception\n"
        "    |After    A\n"
        "1 C\n"
        "    |Tick     1\n"
        "0 Exception\n"
        "    |Tick     0\n"
        "    |Multi    true\n"
    )
    assert m.inspect(["C"]) == "1 C\n    |Tick     1\n"
    assert m.inspect([]) == ""
    with pytest.raises(am.StateMissing):
        m.inspect(["Zed"])


# Export


def test_an_exported_time_can_be_restored() -> None:
    m = machine()
    data = m.export()
    assert data.to_dict() == {
        "id": "m",
        "state_names": ["A", "B", "C", "Exception"],
        "time": [1, 3, 2, 0],
        "queue_tick": 5,
        "machine_tick": 0,
    }
    calls: list[str] = []
    again = am.Machine(ABC, {"AState": lambda e: calls.append("A")}, id="m")
    waits, scope = [again.when("A", "B"), again.when_time(["C"], [2])], again.scope("A")
    again.restore(am.Export.from_dict(data.to_dict()))
    assert (again.time(), again.machine_tick, again.queue_tick) == ((1, 3, 2, 0), 1, 1)
    assert again.active_states() == ("A", "B")
    assert calls == [] and all(wait.done() for wait in waits) and scope.expired
    assert again.add("C").executed


def test_states_may_stand_in_another_order() -> None:
    data = am.Export("m", ("C", "Exception", "B", "A"), (2, 0, 3, 1), 5, 7)
    again = am.Machine(ABC, id="m")
    again.restore(data)
    assert again.time() == (1, 3, 2, 0)
    assert again.active_states() == ("B", "A")
    assert again.machine_tick == 8


def test_a_restored_machine_tells_if_it_can() -> None:
    m = am.Machine({"MachineRestored": {}, "A": {}}, id="m")
    m.restore(am.Export("m", ("MachineRestored", "A", "Exception"), (0, 1, 0), 2, 0))
    assert m.is_("MachineRestored", "A")


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    m = machine()
    for data, words in [
        (am.Export("other", ("A", "B", "C", "Exception"), (1, 0, 0, 0), 2, 0), "the export is of machine 'other'"),
        (am.Export("m", ("A", "B"), (1, 0), 2, 0), "the export has other states"),
        (am.Export("m", ("A", "B", "C", "Zed"), (1, 0, 0, 0), 2, 0), "the export has other states"),
    ]:
        with pytest.raises(am.SchemaError, match=words):
            m.restore(data)
    assert m.time() == (1, 3, 2, 0) and m.machine_tick == 0


def test_restoring_during_a_transition_is_refused() -> None:
    m = am.Machine(ABC, {"AState": lambda e: e.machine.restore(e.machine.export())})
    m.add("A")
    assert isinstance(m.err, am.SchemaError)
    assert "cannot restore during a transition" in str(m.err)


@pytest.mark.parametrize(
    "broken",
    [
        {}, {"id": "m", "state_names": ["A"], "time": [1, 2], "queue_tick": 2, "machine_tick": 0},
        {"id": "m", "state_names": ["A"], "time": [-1], "queue_tick": 2, "machine_tick": 0},
        {"id": "m", "state_names": ["A"], "time": ["x"], "queue_tick": 2, "machine_tick": 0},
        {"id": "m", "state_names": ["A"], "time": [1], "queue_tick": 0, "machine_tick": 0},
        {"id": "m", "state_names": 3, "time": [1], "queue_tick": 2, "machine_tick": 0},
    ],
)  # fmt: skip
def test_data_that_is_no_export_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises(am.SchemaError):
        am.Export.from_dict(broken)
