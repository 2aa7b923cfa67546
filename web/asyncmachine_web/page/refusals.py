"""Why a page is not let in, for people: `page.bind("#refused", tunnel.machine, text=told, visible=told)`.

    told = refusal(tunnel, client)

The text says what is wrong and whether it is tried again, with a link that reloads the page if it is not: it is `Html`.
It is empty while there is nothing to tell, which is also so for the first refusals: many pass, such as that of an id
whose page before has only just gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from asyncmachine.rpc.errors import Rejected
from asyncmachine.rpc.states import ClientStates
from asyncmachine.rpc.transport.tunnel import REPEATED, Tunnel, TunnelStates
from asyncmachine_web.page.bindings import Html
from asyncmachine_web.page.reads import Source
from asyncmachine_web.page.sources import Mirrored

WHY: Final[Mapping[str, str]] = {
    "AUTH": "you have to log in first",
    "FORBIDDEN": "you may not connect here",
    "TARGET": "the server does not offer what this page asks for",
    "DUPLICATE": "this is open elsewhere, perhaps in another tab",
    "LIMIT": "the server is asked for too much just now",
    "AWAY": "the server is not ready just now",
    "UNREACHABLE": "the server cannot reach what this page asks for",
    "NO_RELAY": "something else answers where this page looks for its server",
    "VERSION": "this page and the server do not understand each other, as after an update",
}
"""By the name of the refusal."""
OTHERWISE: Final = "the server refuses it"
AGAIN: Final = Html("This is tried again every few seconds.")
NEVER: Final = Html('This is not tried again by itself: <a href="">reload the page</a> once it can work.')


def refusal(*links: Tunnel | Mirrored) -> Callable[[Source], str]:
    """An expression: what the first of these tunnels and clients that is refused has to tell."""
    tells = [_tunnel(link) if isinstance(link, Tunnel) else _client(link) for link in links]

    def told(_: Source) -> str:
        return next(filter(None, (tell() for tell in tells)), "")

    return told


def _tunnel(tunnel: Tunnel) -> Callable[[], str]:
    states = Source(tunnel.machine)

    def tell() -> str:
        states.tick(TunnelStates.ErrRefused)  # with each refusal
        gave_up, refused = states.is_(TunnelStates.GaveUp), tunnel.refused
        if refused is None or not (gave_up or tunnel.refusals >= REPEATED):
            return ""
        return words(refused.name, refused.hint, again=not gave_up)

    return tell


def _client(client: Mirrored) -> Callable[[], str]:
    """Behind the tunnel, by the server that exposes the machine."""
    states = Source(client.machine)

    def tell() -> str:
        over, error = states.is_(ClientStates.ConnRetryFailed), states.machine.err
        return words(error.code, error.message, again=False) if over and isinstance(error, Rejected) else ""

    return tell


def words(name: str, hint: str, *, again: bool) -> Html:
    """`hint` is the server's own, for whoever has to mend it."""
    told = Html("No connection: {}. {} ({}: {})")
    return told.format(WHY.get(name, OTHERWISE), AGAIN if again else NEVER, name, hint)
