"""The tab: Bar, served to the server through a tunnel; the mirror of Foo through another; and what is shown."""

from __future__ import annotations

from itertools import count
from secrets import token_hex

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine_web.page import relay
from asyncmachine_web.page.forms import MESSAGES
from asyncmachine_web.page.lifecycle import lifecycle
from asyncmachine_web.page.refusals import refusal
from asyncmachine_web.page.ui import Fields, Page, Source
from examples.wasm.chat import BarHandlers
from examples.wasm.states import Bar, Foo, Typed

LINE = '<li class="{kind}"><b>{author}</b> <span>{text}</span></li>'
KEPT = 200
ALLOWED = rpc.Grants(mutate=(Bar.Msg,))
"""What the server may do here."""


def chat() -> None:
    """Called once, by the page's script."""
    name = token_hex(6)  # 48 bits: of ten thousand tabs two are called alike once in five million chats
    page = Page()
    lines = page.value([{"id": 0, "kind": "news", "author": "", "text": f"You are browser-bar-{name}."}])
    numbers = count(1)

    def show(author: str, text: str, kind: str = "said") -> None:
        own = kind == "said" and author == bar.id
        row = {"id": next(numbers), "kind": "own" if own else kind, "author": "you" if own else author, "text": text}
        lines.update(lambda old: [*old, row][-KEPT:])

    calling = relay.dial(f"browser-foo-{name}", "foo")
    foo = rpc.Client(calling, Foo, id=f"browser-foo-{name}")
    handlers = BarHandlers(show, lambda e, said: foo.netmach.add(Foo.Msg, said, e=e))
    bar = am.Machine(Bar, handlers, id=f"browser-bar-{name}")
    server = rpc.Server(bar, name=bar.id, push_interval=0.001, allow=lambda *_: ALLOWED)

    # A mirror's final handlers run here, when the mirror has changed.
    foo.netmach.bind({"BoredState": lambda _: show("server-foo", "is bored", "news")})
    am.pipes.bind_ready(foo.machine, bar, Bar.Ready)
    bar.add(Bar.Start)
    called = relay.listen(bar.id, "bar")
    server.listen(called)
    foo.start()
    for redials in (foo.retry_now, server.retry_now):
        lifecycle().on_wake(redials)

    refused = refusal(calling, called, foo)

    def word(m: Source) -> str:
        return "refused" if refused(m) else "reconnecting" if m.stale else "live"

    page.bind("#link", foo, text=word, cls={"on": lambda m: word(m) == "live"})
    page.bind("#refused", bar, text=refused, visible=refused)
    page.bind("#bored", foo, cls={"on": Foo.Bored})
    page.bind("#heard", foo, text=lambda m: m.count(Foo.Msg))
    page.bind("#sent", bar, text=lambda m: m.count(Bar.SubmitMsg))
    page.each("#lines", lines, LINE)
    page.form("#say", "SubmitMsg", args=typed, messages={"refused": MESSAGES["unsent"]}, source=bar)
    page.bind("#say button", foo, attr={"aria-disabled": lambda m: m.stale})


def typed(fields: Fields) -> Typed:
    """The form, as arguments."""
    if not fields["text"].strip():
        raise am.AmError("there is nothing to say")
    return Typed(fields["text"])
