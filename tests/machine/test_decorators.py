"""Handlers by reference: what is bound, in which order it runs, and what is refused with which words."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import asyncmachine as am


class Press(am.StatesDef):
    Start = am.state()
    Warm = am.state(require=Start)
    Hot = am.state(require=Start, remove=Warm)
    Click = am.state(multi=True)


def recorder(calls: list[str]) -> Callable[[am.Event], None]:
    return lambda e: calls.append(e.name)


def test_each_kind_is_called_under_its_canonical_name() -> None:
    calls: list[str] = []

    class Handlers:
        @am.on.enter(Press.Warm)
        def a(self, e: am.Event) -> bool:
            calls.append(e.name)
            return True

        @am.on.exit(Press.Warm)
        def b(self, e: am.Event) -> None:
            calls.append(e.name)

        @am.on.state(Press.Warm, Press.Hot)
        def c(self, e: am.Event) -> None:
            calls.append(e.name)

        @am.on.end(Press.Warm)
        def d(self, e: am.Event) -> None:
            calls.append(e.name)

        @am.on.pair(Press.Warm, Press.Hot)
        def e(self, e: am.Event) -> None:
            calls.append(e.name)

        @am.on.any_enter
        def f(self, e: am.Event) -> None:
            calls.append(e.name)

        @am.on.any_state
        def g(self, e: am.Event) -> None:
            calls.append(e.name)

    machine = am.Machine(Press, Handlers())
    machine.add([Press.Start, Press.Warm])
    assert calls == ["WarmEnter", "AnyEnter", "WarmState", "AnyState"]
    calls.clear()
    machine.add(Press.Hot)
    assert calls == ["WarmExit", "WarmHot", "AnyEnter", "WarmEnd", "HotState", "AnyState"]


def test_a_decorated_negotiation_handler_vetoes() -> None:
    class Handlers:
        @am.on.enter(Press.Warm)
        def too_early(self, e: am.Event) -> bool:
            return False

    assert am.Machine(Press, Handlers()).add([Press.Start, Press.Warm]).canceled


def test_several_decorators_on_one_function() -> None:
    calls: list[str] = []

    class Handlers:
        @am.on.state(Press.Start)
        @am.on.end(Press.Start)
        def both(self, e: am.Event) -> None:
            calls.append(e.name)

    machine = am.Machine(Press, Handlers())
    machine.add(Press.Start)
    machine.remove(Press.Start)
    assert calls == ["StartState", "StartEnd"]


def test_a_decorated_function_is_not_looked_up_by_its_name() -> None:
    calls: list[str] = []

    class Handlers:
        @am.on.state(Press.Hot)
        def WarmState(self, e: am.Event) -> None:
            calls.append(e.name)

    machine = am.Machine(Press, Handlers())
    machine.add([Press.Start, Press.Warm])
    assert calls == []
    machine.add(Press.Hot)
    assert calls == ["HotState"]


def test_an_override_without_a_decorator_takes_the_handler_away() -> None:
    class Base:
        @am.on.enter(Press.Start)
        def never(self, e: am.Event) -> bool:
            return False

    class Quiet(Base):
        def never(self, e: am.Event) -> bool:
            return False

    assert am.Machine(Press, Base()).add(Press.Start).canceled
    assert am.Machine(Press, Quiet()).add(Press.Start).executed


def test_properties_of_the_object_are_not_computed() -> None:
    class Handlers:
        @property
        def costly(self) -> int:
            raise AssertionError

        @am.on.state(Press.Start)
        def begun(self, e: am.Event) -> None:
            pass

    am.Machine(Press, Handlers())


def test_a_machine_binds_a_function_at_once_and_by_its_name() -> None:
    machine = am.Machine(Press)
    calls: list[str] = []

    @machine.on.state(Press.Start)
    def begun(e: am.Event) -> None:
        calls.append(e.name)

    assert machine.handlers() == ("begun",)
    machine.add(Press.Start)
    machine.detach("begun")
    machine.remove(Press.Start)
    machine.add(Press.Start)
    assert calls == ["StartState"]


def test_a_function_bound_for_two_kinds_is_bound_twice() -> None:
    machine = am.Machine(Press)
    calls: list[str] = []

    @machine.on.state(Press.Start)
    @machine.on.end(Press.Start)
    def both(e: am.Event) -> None:
        calls.append(e.name)

    machine.add(Press.Start)
    machine.remove(Press.Start)
    assert calls == ["StartState", "StartEnd"]
    assert machine.handlers() == ("both", "both")


def test_a_decorated_function_can_be_bound_by_itself() -> None:
    calls: list[str] = []

    @am.on.state(Press.Start)
    def begun(e: am.Event) -> None:
        calls.append(e.name)

    first, second = am.Machine(Press), am.Machine(Press)
    for machine in (first, second):
        machine.bind(begun)
        machine.add(Press.Start)
    assert calls == ["StartState", "StartState"]


def test_a_prefix_is_put_before_the_states_and_leaves_global_handlers_out() -> None:
    calls: list[str] = []

    class Handlers:
        @am.on.state(Press.Start)
        def begun(self, e: am.Event) -> None:
            calls.append(e.name)

        @am.on.any_state
        def any_one(self, e: am.Event) -> None:
            calls.append(e.name)

    machine = am.Machine(Press.schema.prefixed("Left"))
    machine.bind(Handlers(), prefix="Left")
    machine.add("LeftStart")
    assert calls == ["LeftStart" + "State"]


class Misspelt:
    @am.on.state("Strat")
    def begun(self, e: am.Event) -> None:
        pass


class Doubled:
    @am.on.state(Press.Start)
    def begun(self, e: am.Event) -> None:
        pass

    def StartState(self, e: am.Event) -> None:
        pass


class Deciding:
    @am.on.enter(Press.Start)
    async def slow(self, e: am.Event) -> None:
        pass


class Pooled:
    @am.on.state(Press.Click)
    @am.pool(2)
    def click(self, e: am.Event) -> None:
        pass


class Nowhere:
    @am.on.state(Press.Click)
    @am.scoped("Strat")
    async def click(self, e: am.Event) -> None:
        pass


@pytest.mark.parametrize(
    ("handlers", "words"),
    [
        (Misspelt(), "handler begun is declared for unknown state 'Strat'; did you mean 'Start'"),
        (Doubled(), "StartState and begun handle the same"),
        (Deciding(), "slow decides about a transition and must be a plain `def`"),
        (Pooled(), "click is a plain `def`"),
        (Nowhere(), "handler click is declared for unknown state 'Strat'; did you mean 'Start'"),
    ],
)
def test_what_cannot_be_meant_is_refused(handlers: object, words: str) -> None:
    machine = am.Machine(Press)
    with pytest.raises(am.SchemaError, match=words):
        machine.bind(handlers)
    assert machine.handlers() == ()


def test_a_decorator_needs_a_state() -> None:
    with pytest.raises(TypeError, match=r"on\.enter needs the state"):
        am.on.enter()


@pytest.mark.parametrize("late", [am.pool(1), am.scoped(Press.Start)])
def test_marks_above_the_binding_decorator_would_be_lost(late: Callable[[Any], Any]) -> None:
    machine = am.Machine(Press)

    @machine.on.state(Press.Click)
    async def click(e: am.Event) -> None:
        pass

    with pytest.raises(TypeError, match="put this decorator below that of the machine"):
        late(click)


@pytest.mark.parametrize(("size", "overflow"), [(0, "drop"), (1, "explode")])
def test_a_pool_knows_its_limits(size: int, overflow: Any) -> None:
    with pytest.raises(ValueError):
        am.pool(size, overflow=overflow)


class Clicks:
    """Handlers whose calls wait until they are let go."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.gate = asyncio.Event()

    async def handle(self, e: am.Event) -> None:
        self.begun.append(e.raw_args["n"])
        await self.gate.wait()
        self.ended.append(e.raw_args["n"])


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_full_pool_drops() -> None:
    class Dropping(Clicks):
        @am.on.state(Press.Click)
        @am.pool(2)
        async def click(self, e: am.Event) -> None:
            await self.handle(e)

    clicks = Dropping()
    machine = am.Machine(Press, clicks)
    for n in range(4):
        machine.add(Press.Click, n=n)
    await turns()
    assert clicks.begun == [0, 1]
    clicks.gate.set()
    await turns()
    machine.add(Press.Click, n=4)
    await turns()
    assert clicks.ended == [0, 1, 4]


async def test_a_full_pool_may_let_them_wait_in_order() -> None:
    class Waiting(Clicks):
        @am.on.state(Press.Click)
        @am.pool(2, overflow="wait")
        async def click(self, e: am.Event) -> None:
            await self.handle(e)

    clicks = Waiting()
    machine = am.Machine(Press, clicks)
    for n in range(5):
        machine.add(Press.Click, n=n)
    await turns()
    assert clicks.begun == [0, 1]
    clicks.gate.set()
    await turns()
    assert clicks.begun == clicks.ended == [0, 1, 2, 3, 4]


async def test_waiting_calls_end_with_the_machine() -> None:
    class Waiting(Clicks):
        @am.on.state(Press.Click)
        @am.pool(1, overflow="wait")
        async def click(self, e: am.Event) -> None:
            await self.handle(e)

    clicks = Waiting()
    machine = am.Machine(Press, clicks)
    for n in range(3):
        machine.add(Press.Click, n=n)
    await turns()
    machine.dispose()
    clicks.gate.set()
    await turns()
    assert clicks.begun == [0] and clicks.ended == []


async def test_one_decorator_on_two_handlers_limits_them_together_in_each_machine() -> None:
    one_at_a_time = am.pool(1)

    class Shared(Clicks):
        @am.on.state(Press.Click)
        @one_at_a_time
        async def click(self, e: am.Event) -> None:
            await self.handle(e)

        @am.on.state(Press.Start)
        @one_at_a_time
        async def begun_too(self, e: am.Event) -> None:
            await self.handle(e)

    both = [Shared(), Shared()]
    for clicks in both:
        machine = am.Machine(Press, clicks)
        machine.add(Press.Click, n=0)
        machine.add(Press.Start, n=1)
    await turns()
    assert [clicks.begun for clicks in both] == [[0], [0]]
    for clicks in both:
        clicks.gate.set()
    await turns()


def test_a_pool_serves_one_loop_after_another() -> None:
    class Waiting(Clicks):
        @am.on.state(Press.Click)
        @am.pool(1, overflow="wait")
        async def click(self, e: am.Event) -> None:
            self.begun.append(e.raw_args["n"])
            await asyncio.sleep(0)

    clicks = Waiting()
    machine = am.Machine(Press, clicks)

    async def twice(n: int) -> None:
        machine.add(Press.Click, n=n)
        machine.add(Press.Click, n=n + 1)
        await turns()

    asyncio.run(twice(0))
    asyncio.run(twice(2))
    assert clicks.begun == [0, 1, 2, 3]


async def test_a_task_lives_in_the_state_that_it_is_scoped_to() -> None:
    ends: list[str] = []

    class Handlers:
        @am.on.state(Press.Click)
        @am.scoped(Press.Start)
        async def click(self, e: am.Event) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ends.append(e.raw_args["n"])

    machine = am.Machine(Press, Handlers())
    machine.add(Press.Click, n="too early")
    await turns()
    machine.add(Press.Start)
    machine.add(Press.Click, n="a")
    machine.add(Press.Click, n="b")
    await turns()
    assert ends == []
    machine.remove(Press.Start)
    await turns()
    assert sorted(ends) == ["a", "b"], "the first one was never begun"


async def test_a_scope_is_prefixed_like_the_states() -> None:
    begun: list[str] = []

    class Handlers:
        @am.on.state(Press.Click)
        @am.scoped(Press.Start)
        async def click(self, e: am.Event) -> None:
            begun.append(e.name)

    both = am.Schema({**Press.schema.prefixed("Left"), "Start": am.State()})
    machine = am.Machine(both)
    machine.bind(Handlers(), prefix="Left")
    machine.add("Start")
    machine.add("LeftClick")
    await turns()
    assert begun == []
    machine.add("LeftStart")
    machine.add("LeftClick")
    await turns()
    assert begun == ["LeftClickState"]


def test_dicts_may_hold_marked_functions() -> None:
    @am.pool(1)
    async def click(e: am.Event) -> None:
        pass

    machine = am.Machine(Press)
    machine.bind({"ClickState": click})
    with pytest.raises(am.SchemaError, match="plain `def`"):
        machine.bind({"ClickState": am.scoped("Start")(recorder([]))})
