"""Tunnels of real pages to the real relay: what they carry, how they are refused, whose an id is after a reload."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, Error, Page

from tests.web.browser import Mishaps, open_python, run, wait_for_python

OPEN = """
tunnel = relay.{op}("{id}", "echo")
pipe = await tunnel()
"""

AS_SOON_AS_IT_IS_FREE = """
from asyncmachine_web.page.lifecycle import lifecycle
while True:
    lifecycle().hear("hidden")
    lifecycle().hear("visible")
    try:
        pipe = await tunnel()
        assert await ask(pipe, b"hello") == "mine hello"
        break
    except Refused as error:
        assert error.name == "DUPLICATE"
"""
"""The tunnel that was refused before. A person looks at its tab again and again: that the other one is closed is known
to the relay a little later than here."""


def opened(page: Page, id: str, op: str = "listen") -> None:
    """The page has the tunnel, which carries messages."""
    run(page, OPEN.format(op=op, id=id) + f"assert await ask(pipe, b'hello') == '{id} hello'")


def refused(page: Page, id: str) -> str:
    """The page opens the tunnel and is told why it may not: by the dial already, or by the first read."""
    return str(
        run(
            page,
            f"""
            tunnel = relay.listen("{id}", "echo")
            json.dumps(await refusal(tunnel))
            """,
        )
    )


def test_a_tunnel_carries_messages_until_it_is_closed(shared: Page) -> None:
    told = run(
        shared,
        """
        tunnel = relay.dial("a", "echo")
        pipe = await tunnel()
        answers = [await ask(pipe, b"1"), len(await ask(pipe, bytes(1_000_000)))]
        states = [tunnel.machine.active_states()]
        await pipe.close()
        states.append(tunnel.machine.active_states())
        json.dumps([answers, states])
        """,
    )
    assert told == [["a 1", 1_000_002], [["Open"], []]]


def test_refusals_are_typed_and_readable(shared: Page) -> None:
    """Each in the way a page learns of it: the token's answer, or the close of an accepted WebSocket."""
    told = run(
        shared,
        """
        told = []

        async def note(awaitable):
            try:
                await awaitable
            except Refused as refused:
                told.append(f"{refused.code} {refused.name}")

        class Forged(relay.Browser):
            token = None

            async def connect(self, path, subprotocols):
                self.spent = subprotocols
                token = subprotocols[1:] if self.token is None else self.token
                return await super().connect(path, (subprotocols[0], *token))

        async def answer(token, data=None, send=None):
            outside = Forged()
            outside.token = token

            async def use():
                pipe = await relay.Tunnel("dial", "a", "echo", outside)()
                if send:
                    pipe.inner._socket.send(send)
                await pipe.recv()

            await note(use())
            return outside.spent

        from js import Uint8Array
        await answer([])
        await answer(["amtok.forged"])
        spent = await answer(None, send="text")
        await answer(spent[1:])
        await answer(None, send=Uint8Array.new(2**20 + 1))
        json.dumps(told)
        """,
    )
    assert told == ["4401 AUTH", "4401 AUTH", "1003 TEXT", "4401 AUTH", "1009 TOO_LARGE"]


def test_a_target_that_nobody_offers_is_refused_with_the_token(shared: Page, mishaps: Mishaps) -> None:
    mishaps.expect("404")
    told = run(
        shared,
        """
        tunnel = relay.dial("a", "nobody")
        for _ in range(3):
            try:
                await tunnel()
            except Refused as error:
                told = [error.code, error.name]
        json.dumps([told, sorted(tunnel.machine.active_states())])
        """,
    )
    assert told == [[4404, "TARGET"], ["ErrRefused", "Exception", "GaveUp"]]


def test_a_reloaded_tab_has_its_ids_again(python: Page) -> None:
    """The page's own and its worker's, at the first try."""
    opened(python, "mine")
    fork = """
        worker = Worker.fork("leaf", "workload:tunnel")
        port = await worker.dial()
        json.dumps((await port.recv()).decode())
        """
    assert run(python, fork) == "leaf hello"
    secrets = python.evaluate("JSON.parse(sessionStorage.getItem('asyncmachine.secrets'))")
    assert sorted(secrets) == ["leaf", "mine"]
    for _ in range(2):
        python.reload()
        wait_for_python(python)
        opened(python, "mine")
        assert run(python, fork) == "leaf hello"
        assert python.evaluate("JSON.parse(sessionStorage.getItem('asyncmachine.secrets'))") == secrets


def test_a_duplicated_tab_is_told_that_the_id_is_taken_and_disturbs_nobody(
    python: Page, context: BrowserContext
) -> None:
    opened(python, "mine")
    with context.expect_page() as duplicate:
        python.evaluate("window.open(location.href)")  # the browser copies sessionStorage, as when a tab is duplicated
    second = duplicate.value
    wait_for_python(second)
    name = python.evaluate("sessionStorage.getItem('asyncmachine.tab')")
    second.wait_for_function("name => sessionStorage.getItem('asyncmachine.tab') !== name", arg=name)
    for _ in range(3):
        assert "4409" in refused(second, "mine")
        assert "DUPLICATE" in refused(second, "mine")
    assert run(python, "json.dumps(await ask(pipe, b'still here'))") == "mine still here"
    python.reload()
    wait_for_python(python)
    opened(python, "mine")
    assert "DUPLICATE" in refused(second, "mine")
    python.close()
    run(second, AS_SOON_AS_IT_IS_FREE)


def test_a_page_whose_renderer_was_killed_has_left_its_ids_to_the_next(python: Page, context: BrowserContext) -> None:
    """Its worker's too: nothing of it goes on."""
    opened(python, "mine")
    fork = """
        worker = Worker.fork("leaf", "workload:tunnel")
        port = await worker.dial()
        json.dumps((await port.recv()).decode())
        """
    assert run(python, fork) == "leaf hello"
    with python.expect_event("crash"), pytest.raises(Error, match="crash"):
        python.goto("chrome://crash")
    python.close()
    again = context.new_page()
    open_python(again)
    opened(again, "mine")
    assert run(again, fork) == "leaf hello"


def test_a_new_tab_is_told_too(python: Page, context: BrowserContext) -> None:
    opened(python, "mine")
    second = context.new_page()
    open_python(second)
    assert "DUPLICATE" in refused(second, "mine")
    assert run(python, "json.dumps(await ask(pipe, b'still here'))") == "mine still here"


@pytest.mark.parametrize(("target", "name", "gives_up"), [("echo", "DUPLICATE", False), ("nobody", "TARGET", True)])
def test_after_three_refusals_a_tab_waits_until_it_is_looked_at_or_for_a_while_where_it_may_pass(
    python: Page, context: BrowserContext, mishaps: Mishaps, target: str, name: str, gives_up: bool
) -> None:
    mishaps.expect("404")
    opened(python, "mine")
    second = context.new_page()
    open_python(second)
    run(
        second,
        f"""
        tunnel = relay.listen("mine", "{target}")
        for _ in range(3):
            assert "{name}" in await refusal(tunnel)
        assert ("GaveUp" in tunnel.machine) is {gives_up}
        assert tunnel.refusals == 3
        from asyncmachine_web.page.lifecycle import lifecycle
        lifecycle().hear("hidden")
        """,
    )
    requests: list[str] = []
    second.on("request", lambda request: requests.append(request.url))
    run(second, f"assert '{name}' in await refusal(tunnel)")
    assert requests == []
    second.bring_to_front()
    run(second, f"lifecycle().hear('visible'); assert '{name}' in await refusal(tunnel)")
    assert [url for url in requests if url.endswith("/token")]


def test_an_id_that_gets_free_is_taken_by_whoever_waits_for_it(python: Page, context: BrowserContext) -> None:
    opened(python, "mine")
    second = context.new_page()
    open_python(second)
    run(second, "tunnel = relay.listen('mine', 'echo'); assert 'DUPLICATE' in await refusal(tunnel)")
    python.close()
    run(second, AS_SOON_AS_IT_IS_FREE)


def test_a_page_that_is_left_closes_its_tunnels_and_its_workers_do(python: Page) -> None:
    run(python, "worker = Worker.fork('leaf', 'workload:tunnel'); port = await worker.dial(); await port.recv(); None")
    opened(python, "mine")
    python.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    told = run(
        python,
        """
        try:
            await pipe.recv()
        except TransportClosed as closed:
            told = [closed.code, closed.reason]
        json.dumps([told, await worker.ended()])
        """,
    )
    assert told == [[1000, "the page was left"], "failed"]
