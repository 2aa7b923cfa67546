"""What the page shows: each line binds one part of the document to the queue's mirror or to what the server sends."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from secrets import token_hex
from typing import Any

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.states import ClientStates
from asyncmachine_web.page import relay
from asyncmachine_web.page.lifecycle import PageStates, lifecycle
from asyncmachine_web.page.refusals import refusal
from asyncmachine_web.page.ui import Page, Source, Value, ago, progress
from examples.dashboard.draft import keep_draft
from examples.dashboard.states import Queue, Shown, Wanted

JOB = """
<li class="job {state}">
  <span class="title">{title}</span> <span class="word">{state}</span>
  <progress max="100" value="{percent}" aria-label="{title}"></progress>
</li>
"""
BADGES = ("Open", "Busy", "Waiting", "Paused")


async def dashboard() -> None:
    """Called once, by the page's script."""
    shown = am.Machine(Shown, id="shown")
    tunnel = relay.dial(f"page-{token_hex(4)}", "queue")
    client = rpc.Client(tunnel, Queue, consumer=shown)
    client.start()
    lifecycle().on_wake(client.retry_now)
    page = Page(client)
    jobs = page.payloads("jobs", shown, last=50, newest_first=True)
    load = page.payloads("load", shown, last=120)
    bind_head(page, client, tunnel, page.value(""))

    for state in BADGES:
        page.bind(f"#{state.lower()}", cls={"on": state}, attr={"data-state": on_or_off(state)})
    page.bind("#progress", attr={"value": progress("Ended", of="Added")})
    known = once_known(client)
    page.bind("#finished", text=known(lambda m: m.count("Ended") - m.count("Failed")))
    page.bind("#failed", text=known(lambda m: m.count("Failed")))
    page.bind("#added", text=known(lambda m: m.count("Added")))
    page.bind("#since", text=ago("Busy"))
    page.each("#jobs", jobs, JOB)
    page.bind("#none", visible=known(lambda m: not m.count("Added"), ""))
    page.form(
        "#add",
        "AddJob",
        until="Added",
        timeout=5,
        args=wanted,
        messages={"refused": "The queue does not take this job now."},
    )
    page.bind("#pause", checked="Paused", attr={"disabled": lambda m: m.stale})
    page.bind("#clear", attr={"disabled": lambda m: m.stale or "Waiting" not in m})
    page.on("click", "#clear", "Clear")
    page.bind("#chart", attr={"points": lambda _: points(load.get())})
    page.bind("#summary", text=lambda _: summary(load.get()))
    await keep_draft(page)


def bind_head(page: Page, client: rpc.Client, tunnel: relay.Tunnel, seen: Value[str]) -> None:
    """How the connection stands, in a word and, when it is gone or refused, in a sentence."""
    refused = refusal(tunnel, client)
    client.machine.bind({"ReadyEnd": lambda _: seen.set(time.strftime("%H:%M:%S"))})
    weather = Source(lifecycle().machine)

    def word(m: Source) -> str:
        if not m.stale:
            return "live"
        if weather.is_(PageStates.Offline):
            return "offline"
        if refused(m):
            return "refused"
        return "reconnecting" if seen.get() else "connecting"

    page.bind("#link", text=word, attr={"data-state": word})
    page.bind("#refused", tunnel.machine, text=refused, visible=refused)
    page.bind("#lost", visible=lambda m: m.stale and seen.get() != "")
    page.bind("#seen", text=seen)


def once_known(client: rpc.Client) -> Callable[..., Callable[[Source], object]]:
    """Makes expressions that say "–", or something else, until the queue was seen for the first time."""
    link = Source(client.machine)

    def known(expression: Callable[[Source], object], before: object = "–") -> Callable[[Source], object]:
        return lambda m: expression(m) if link.tick(ClientStates.Ready) else before

    return known


def wanted(fields: dict[str, str]) -> Wanted:
    """The form, as arguments."""
    return Wanted(fields["title"], int(fields["steps"]))


def on_or_off(state: str) -> Any:
    """For people who do not see colours."""
    return lambda m: "on" if state in m else "off"


def points(rows: list[dict[str, Any]]) -> str:
    """What the chart takes: times, how much waited, how much ended."""
    return json.dumps([[row[name] for row in rows] for name in ("id", "waiting", "ended")])


def summary(rows: list[dict[str, Any]]) -> str:
    """The chart in a sentence."""
    if not rows:
        return "No figures yet."
    ended = sum(int(row["ended"]) for row in rows)
    return f"{rows[-1]['waiting']} waiting now, {ended} ended within {len(rows)} s."
