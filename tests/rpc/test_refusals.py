"""What the log is told of clients that are turned away."""

from __future__ import annotations

from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.errors import Code, Rejected
from asyncmachine.rpc.refusals import LINES, PERIOD, Refusals
from asyncmachine.rpc.states import ClientStates as C
from tests.rpc.behaviour import QUICK, Basic


def refused(now: float, refusals: Refusals, no: Rejected | None = None) -> None:
    refusals.tell("rs-x", "rc-one", "127.0.0.1:9", no or Rejected(Code.FORBIDDEN, "rc-one is not let in"), now)


async def turned_away(allow: Any) -> None:
    """Three attempts at a mux, each at a server of its own."""
    mux = rpc.Mux(am.Machine(Basic, id="source"), "tcp://127.0.0.1:0", "shop", allow=allow)
    mux.start()
    await mux.when_ready()
    for name in ("one", "two", "three"):
        client = rpc.Client(mux.address, Basic, id=name, token="sesame", backoff=QUICK)
        client.start()
        await client.machine.when_ticks(C.Exception, 1)
        await client.stop()
    await mux.stop()


async def test_a_client_that_is_not_let_in_is_told_to_the_log_without_its_token(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await turned_away(lambda *who: None)
    lines = [one for one in caplog.messages if "'rc-one'" in one]
    assert len(lines) == 1
    assert lines[0].endswith(": allow returned None for its id, token and peer")
    assert "sesame" not in caplog.text


async def test_an_allow_that_raises_has_its_traceback_in_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    def allow(id: str, token: str, peer: rpc.Peer) -> rpc.Grants:
        raise KeyError(token)

    await turned_away(allow)
    failed = [record for record in caplog.records if "the decision about this client failed" in record.getMessage()]
    assert len(failed) >= 3
    assert ["Traceback" in record.getMessage() for record in failed] == [True] + [False] * (len(failed) - 1)
    assert failed[0].getMessage().endswith("raise KeyError(token)\nKeyError")
    assert "sesame" not in caplog.text.replace("raise KeyError(token)", "")


async def test_an_allow_that_returns_what_it_may_not_is_told_in_words(caplog: pytest.LogCaptureFixture) -> None:
    await turned_away(lambda *who: True)
    failed = [record.getMessage() for record in caplog.records if "'rc-one'" in record.getMessage()]
    assert failed[0].endswith("allow returns rpc.Grants, or None to refuse, and is not awaited: got bool (InvalidArgs)")


def test_a_flood_of_strangers_writes_few_lines_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    for _ in range(LINES + 5):
        refused(0.0, refusals)
    assert len(caplog.messages) == LINES
    refused(PERIOD, refusals)
    assert " (5 more were not told): " in caplog.messages[-1]


def test_one_who_comes_back_later_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    refused(0.0, Refusals(), Rejected(Code.BUSY, "there is a client already", 1.0))
    assert caplog.messages == []
