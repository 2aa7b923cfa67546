"""The page, bound: expressions over the orchestrator's mirror, over browser1, and over the figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import asyncmachine as am
from asyncmachine.rpc.transport.tunnel import Tunnel
from asyncmachine_web.page.reads import Source, Value
from asyncmachine_web.page.ui import Page as Document
from asyncmachine_web.page.ui import UiEvent
from examples.wasm_workflow import reading
from examples.wasm_workflow.dag import FINAL, NODES
from examples.wasm_workflow.orders import Child
from examples.wasm_workflow.states import PARENTS, Orchestrator, Page, of

CHIP = "<li>{id}</li>"
SENTENCE = '<li class="{tone}"><time>{at}</time><span>{text}</span></li>'

Row = dict[str, object]


class View:
    """What the page shows. Figures come from payloads, everything else from states."""

    def __init__(self) -> None:
        self.document = Document()
        self.figures: Value[dict[str, Any]] = Value({})
        self.story: Value[list[Row]] = Value([])
        self.trouble = Value("")
        self.seen: set[str] = set()
        """The nodes that were there since the page was loaded."""

    def take(self, figures: dict[str, Any]) -> None:
        """New figures, with the sentences since the last ones. After a reconnect the story comes from its beginning."""
        lines = figures.pop("lines")
        self.figures.set(figures)
        if lines:
            older = [known for known in self.story.get() if int(str(known["id"])) < lines[0][0]]
            self.story.set([*map(sentence, reversed(lines)), *older])

    def notice(self, text: str) -> None:
        """Tells of a trouble on top of the page; an empty text ends it."""
        self.trouble.set(text)

    def on_retry(self, *tunnels: Tunnel) -> None:
        """Which tunnels to open again when somebody asks for it after a refusal."""

        def retry(_: UiEvent) -> None:
            for tunnel in tunnels:
                tunnel.retry()

        self.document.on("click", "#retry", retry)

    def bind(self, browser1: am.Machine[Page], mirror: Any) -> None:
        """Binds everything, once."""
        self.own = Source(browser1)
        self.bind_head(browser1, mirror)
        self.bind_machines(browser1, mirror)
        self.bind_result(mirror)
        self.bind_controls(mirror)
        self.document.each("#story", self.story, SENTENCE)
        self.document.bind("#silence", browser1, visible=lambda _: not self.story.get())

    def linked(self) -> bool:
        """Whether the mirror is live."""
        return self.own.is_(Page.Linked)

    def figure(self, name: str, default: Any = None) -> Any:
        """A figure of the last payload."""
        return self.figures.get().get(name, default)

    def bind_head(self, browser1: am.Machine[Page], mirror: Any) -> None:
        show = self.document
        show.bind("#link", browser1, text=connection, cls={"live": Page.Linked, "lost": is_lost})

        def reason(own: Source) -> str:
            return self.trouble.get() or (str(browser1.err) if own.is_(Page.Exception) else "")

        show.bind("#notice", browser1, visible=lambda own: reason(own) != "")
        show.bind("#reason", browser1, text=reason)
        show.bind("#phase", mirror, text=lambda flow: reading.headline(flow, self.linked()))
        show.bind("#round", mirror, text=lambda flow: reading.round_of(flow) or "–")
        show.bind("#seed", browser1, text=lambda _: self.figure("seed", "–"))
        show.bind("#restarts", browser1, text=lambda _: restarts(self.figures.get()))
        show.bind(".graph", browser1, cls={"stale": lambda own: not own.is_(Page.Linked)})

    def bind_machines(self, browser1: am.Machine[Page], mirror: Any) -> None:
        show = self.document
        show.bind("#orchestrator", mirror, attr={"data-state": reading.outcome})
        show.bind("#orchestrator .state", mirror, text=lambda flow: reading.stage(flow).capitalize())
        show.each("#orchestrator .chips", lambda flow: chips(reading.own_states(flow)), CHIP, source=mirror)
        show.each("#browser1 .chips", lambda own: chips(own.active_states()), CHIP, source=browser1)
        for node in NODES:
            self.bind_node(node, mirror)
        for selector, state in WIRES.items():
            show.bind(selector, mirror, cls={"done": state})

    def bind_node(self, node: str, mirror: Any) -> None:
        show = self.document

        def standing(flow: Source) -> str:
            # The page knows of itself that it is cut off; of the others it shows the last that it knew.
            if node not in PARENTS and not self.linked():
                return "idle"
            if flow.is_(of(node, "Ready")):
                self.seen.add(node)
            return reading.standing(flow, node, seen=node in self.seen)

        show.bind(f"#{node}", mirror, attr={"data-state": standing})
        show.bind(f"#{node} .state", mirror, text=lambda flow: standing(flow).capitalize())
        show.bind(f"#{node} .attempts", mirror, text=lambda _: self.figure("attempts", {}).get(node, 0) or "–")
        show.bind(f"#{node} .bytes", mirror, text=lambda _: size(self.figure("bytes", {}).get(node)))
        show.bind(f"#{node} .latency", mirror, text=lambda _: milliseconds(self.figure("latency", {}).get(node)))
        if node in PARENTS:
            show.each(f"#{node} .chips", lambda flow: chips(reading.states_of(flow, node)), CHIP, source=mirror)

    def bind_result(self, mirror: Any) -> None:
        show = self.document
        show.bind("#result", mirror, attr={"data-state": reading.outcome})
        show.bind("#result .state", mirror, text=lambda flow: VERDICTS[reading.outcome(flow)])
        show.bind("#checked", mirror, text=lambda _: checked(self.figures.get()))
        for node in FINAL:
            self.bind_digest(node, mirror)

    def bind_digest(self, node: str, mirror: Any) -> None:
        def judged(right: bool) -> Callable[[Source], bool]:
            return lambda _: node in self.figure("finals", {}) and (node not in self.figure("wrong")) is right

        self.document.bind(f"#digest-{node}", mirror, cls={"right": judged(True), "wrong": judged(False)})
        self.document.bind(f"#digest-{node} dd", mirror, text=lambda _: digest(self.figure("finals", {}).get(node)))

    def bind_controls(self, mirror: Any) -> None:
        """Buttons are mutations of the mirror; they are enabled while it would take them."""
        show = self.document

        def unless(state: Orchestrator) -> dict[str, Callable[[Source], bool]]:
            return {"disabled": lambda flow: not (self.linked() and flow.is_(state))}

        show.bind("#again", mirror, attr=unless(Orchestrator.NetworkReady))
        show.bind("#corrupt", mirror, attr=unless(Orchestrator.Ready) | {"aria-pressed": pressed})
        show.bind("#cut", mirror, attr=unless(Orchestrator.Ready))
        for node in PARENTS:
            show.bind(f"#{node} .kill", mirror, attr=unless(of(node, "Ready")))
        show.on("click", "#again", lambda _: mirror.add(Orchestrator.RunAgain))
        show.on("click", "#cut", lambda _: mirror.add(Orchestrator.CutConnection))
        show.on("click", "#corrupt", lambda _: mirror.toggle(Orchestrator.CorruptNext))
        show.on("click", ".kill", lambda event: mirror.add(Orchestrator.KillWorker, Child(event.data["worker"])))


WIRES: dict[str, str] = {
    "#wire-start": Orchestrator.RoundOpen,
    "#wire-1": Orchestrator.Browser1Delivered,
    "#wire-2": Orchestrator.Browser2Delivered,
    "#wire-end": Orchestrator.WorkDelivered,
}
"""Which state colours which line of the graph."""

VERDICTS = {"open": "Not yet", "delivered": "Delivered", "failed": "Given up"}


def connection(own: Source) -> str:
    """The word on the badge."""
    if own.is_(Page.Linked):
        return "live"
    if own.is_(Page.IdsTaken):
        return "open in another tab"
    if own.is_(Page.Offline):
        return "offline"
    return "reconnecting" if own.tick(Page.Linked) else "connecting"


def is_lost(own: Source) -> bool:
    """Whether there was a connection and is none now."""
    return own.tick(Page.Linked) > 0 and not own.is_(Page.Linked)


def pressed(flow: Source) -> str:
    """Whether the next result will be corrupted, as the value of an ARIA attribute."""
    return str(flow.is_(Orchestrator.CorruptNext)).lower()


def chips(states: Sequence[str]) -> Iterable[Row]:
    """Rows of state names."""
    return [{"id": state} for state in states]


def sentence(line: Sequence[Any]) -> Row:
    """A row of the story."""
    number, at, tone, text = line
    return {"id": str(number), "at": f"{at:.1f} s", "tone": tone, "text": text}


def restarts(figures: dict[str, Any]) -> str:
    """How many there were, and how many there may be."""
    return f"{figures['restarts']} of {figures['most_restarts']}" if figures else "–"


def checked(figures: dict[str, Any]) -> str:
    """Which round's digests are shown."""
    number = figures.get("finals_round", 0)
    return f"SHA-512 of the chain, round {number}" if number else "SHA-512 of the chain"


def size(count: int | None) -> str:
    """Bytes for people."""
    if count is None:
        return "–"
    return f"{count} B" if count < 1000 else f"{count / 1000:.1f} kB"


def milliseconds(seconds: float | None) -> str:
    """Seconds for people."""
    return "–" if seconds is None else f"{seconds * 1000:.0f} ms"


def digest(value: bytes | None) -> str:
    """In hex."""
    return "–" if value is None else value.hex()
