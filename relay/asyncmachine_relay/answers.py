"""How a refusal is told: as a response, in a list of answers, or by the close frame of a WebSocket."""

from __future__ import annotations

from html import escape
from typing import Any

from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from asyncmachine_relay.policy import Reason, Refused


def answer(refused: Refused) -> Response:
    """To a request."""
    body = {"code": refused.reason.name, "message": refused.hint}
    return JSONResponse(body, status_code=refused.reason.status, headers={"cache-control": "no-store"})


def at_the_door(refused: Refused, origin: str, *, to_a_person: bool) -> Response:
    """To whoever came by a name that is not listed; a person, who has typed it, gets a link to `origin`."""
    if not origin or not to_a_person:
        return PlainTextResponse(str(refused), status_code=refused.reason.status)
    link = escape(f"{origin}/")
    head = '<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>Not here</title>'
    body = f'<h1>Not here</h1><p>What you look for is at <a href="{link}">{link}</a>.<p>{escape(str(refused))}'
    return HTMLResponse(head + body, status_code=refused.reason.status)


def listed(refused: Refused) -> dict[str, Any]:
    """In a list, where it has no response of its own."""
    return {"status": refused.reason.status, "code": refused.reason.name, "message": refused.hint}


async def turn_away(socket: WebSocket, refused: Refused) -> None:
    """Closes a WebSocket that was accepted so that its page can read why."""
    try:
        await socket.close(refused.reason.close_code, refused.close_reason)
    except (WebSocketDisconnect, RuntimeError):
        pass  # it has left


def stopping() -> Refused:
    """What everybody is told when the relay stops."""
    return Refused(Reason.SHUTDOWN, "the relay stops; dial again")
