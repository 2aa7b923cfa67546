import asyncio

import asyncmachine as am
from asyncmachine.states import DISPOSAL, Basic, Disposed, DisposedHandlers


class Closing(Disposed, Basic):
    pass


def closing() -> am.Machine[Closing]:
    machine = am.Machine(Closing, DisposedHandlers(), id="m")
    machine.add(Closing.Start)
    return machine


def test_the_states_and_their_order() -> None:
    assert Disposed.names == ("Exception", "RegisterDisposal", "Disposing", "Disposed")


async def test_callbacks_run_in_order_and_then_the_machine_is_gone() -> None:
    machine = closing()
    calls: list[object] = []

    async def slowly(id: str, scope: am.Scope) -> None:
        calls.append("begun")
        await asyncio.sleep(0)
        calls.append((id, scope.state, scope.expired, "Start" in machine, "Disposing" in machine))

    machine.add(Closing.RegisterDisposal, {DISPOSAL: slowly})
    machine.add(Closing.RegisterDisposal, {DISPOSAL: lambda *_: calls.append("last")})
    disposed = machine.when(Closing.Disposed)
    machine.add(Closing.Disposing)
    assert calls == [], "callbacks run in the background"
    await disposed
    await machine.when_disposed()
    assert calls == ["begun", ("m", "Disposing", False, False, True), "last"]
    assert machine.is_disposed


async def test_a_callback_that_raises_does_not_stop_the_others() -> None:
    machine = closing()
    failures: list[BaseException | None] = []

    def broken(*_: object) -> None:
        raise OSError("stuck")

    machine.add(Closing.RegisterDisposal, {DISPOSAL: broken})
    machine.add(Closing.RegisterDisposal, {DISPOSAL: lambda *_: failures.append(machine.err)})
    machine.add(Closing.Disposing)
    await machine.when_disposed()
    assert [str(error) for error in failures] == ["stuck"]


async def test_disposal_stops_when_disposing_is_taken_back() -> None:
    machine = closing()
    calls: list[str] = []

    async def never(*_: object) -> None:
        calls.append("begun")
        machine.remove(Closing.Disposing)
        await asyncio.Event().wait()

    machine.add(Closing.RegisterDisposal, {DISPOSAL: never})
    machine.add(Closing.RegisterDisposal, {DISPOSAL: lambda *_: calls.append("last")})
    machine.add(Closing.Disposing)
    await machine.when_not(Closing.Disposing)
    await asyncio.sleep(0)
    assert calls == ["begun"]
    assert not machine.is_disposed
    machine.dispose()


def test_what_cannot_be_called_is_refused_and_told() -> None:
    machine = closing()
    assert machine.add(Closing.RegisterDisposal).canceled
    assert isinstance(machine.err, am.InvalidArgs)
    assert DISPOSAL in str(machine.err)


def test_a_dry_run_only_answers() -> None:
    machine = closing()
    assert machine.can_add(Closing.RegisterDisposal).canceled
    assert machine.can_add(Closing.RegisterDisposal, {DISPOSAL: print}).executed
    assert machine.err is None


async def test_an_own_handler_may_come_first() -> None:
    order: list[str] = []

    class Handlers(DisposedHandlers):
        async def DisposingState(self, e: am.Event) -> None:
            order.append("own")
            await super().DisposingState(e)

    machine = am.Machine(Closing, Handlers())
    machine.add(Closing.RegisterDisposal, {DISPOSAL: lambda *_: order.append("registered")})
    machine.add(Closing.Disposing)
    await machine.when_disposed()
    assert order == ["own", "registered"]
