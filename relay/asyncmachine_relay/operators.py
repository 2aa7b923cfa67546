"""Who may operate the relay: programs on this machine, and whoever knows the operator's word."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Scope

from asyncmachine_relay.guard import Caller
from asyncmachine_relay.policy import Reason, Refused

_BEARER = "bearer "
_SUBPROTOCOL = "amtok."


@dataclass(frozen=True)
class Operator:
    """`word` is None when nobody from elsewhere may."""

    word: bytes | None = None

    def check(self, scope: Scope) -> None:
        """Raises `Refused` unless the caller is on this machine or gives the word.

        Programs send it as `Authorization: Bearer <word>`, pages as the WebSocket subprotocol `amtok.<word>`.
        """
        if Caller.of(scope).direct:
            return
        given = [
            text[len(_BEARER) :]
            for text in Headers(scope=scope).getlist("authorization")
            if text.lower().startswith(_BEARER)
        ]
        given += [
            text.removeprefix(_SUBPROTOCOL) for text in scope.get("subprotocols", ()) if text.startswith(_SUBPROTOCOL)
        ]
        if self.word is None or len(given) != 1 or not hmac.compare_digest(given[0].encode(), self.word):
            raise Refused(Reason.AUTH, "this is for operators: ask from this machine, or give the operator's token")
