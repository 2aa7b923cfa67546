"""How a tunnel comes to be opened: a token first, then the upgrade that uses it up.

    POST /token {op, id, target, secret?}  →  {token, resume, expires_in}
    GET  /<op>/<id>/<target>               Sec-WebSocket-Protocol: amrpc.v1, amtok.<token>

`ammany.v1` instead of `amrpc.v1` makes a tunnel for many connections.

Who opens several tunnels may send a list, and gets a list: for each the same as if it had been asked for alone, a
refusal as {status, code, message}. That is one request instead of many, and nothing else: each is counted and judged
for itself, and has a token of its own.

`secret` is the resume secret of an earlier answer, for a page that opens its own id again. Whoever has it is the owner,
so a page must not leave it where a duplicated tab finds a copy.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, NamedTuple

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.websockets import WebSocket

from asyncmachine.rpc.transport.shares import share_of
from asyncmachine_relay.agreement import Agreement, Alone
from asyncmachine_relay.grants import EVERY_TUNNEL, TunnelGrants
from asyncmachine_relay.guard import Caller
from asyncmachine_relay.limits import Limits, PeerRate
from asyncmachine_relay.matchers import Matcher, first
from asyncmachine_relay.policy import Op, Reason, Refused, RelayConfigError, check_id, check_target
from asyncmachine_relay.tokens import Claims, Tokens

SUBPROTOCOL = "amrpc.v1"
"""One connection."""
MANY = "ammany.v1"
"""Many connections (`asyncmachine.rpc.transport.many`)."""
TOKEN_PREFIX = "amtok."  # noqa: S105 (a prefix)

MAX_WISHES = 16
"""Tokens that one request may ask for."""
SHOWN = 40
"""Characters of an id and of a target that a refusal repeats to who asked for them."""

Authorize = Callable[[Request], TunnelGrants | Awaitable[TunnelGrants | None] | None]
"""Decides what the sender of a token request may have. None: nothing."""


def own_machine(request: Request) -> TunnelGrants | None:
    """The default: programs and pages on this machine may have what the matchers offer, nobody else anything."""
    return EVERY_TUNNEL if Caller.of(request.scope).direct else None


class TokenRequest(msgspec.Struct, frozen=True):
    """Body of `POST /token`."""

    op: Op
    id: str
    target: str
    secret: str = ""


class TokenReply(msgspec.Struct, frozen=True):
    """Its answer. `expires_in` is in seconds."""

    token: str
    resume: str
    expires_in: float


Wishes = TokenRequest | Annotated[list[TokenRequest], msgspec.Meta(min_length=1, max_length=MAX_WISHES)]


class Admitted(NamedTuple):
    """A tunnel that may be opened."""

    matcher: Matcher
    claims: Claims
    many: bool


def protocol_of(offered: Sequence[str]) -> str | None:
    """The first of our subprotocols that is offered."""
    return next((name for name in offered if name in {SUBPROTOCOL, MANY}), None)


class Admission:
    """Decides; opens nothing. `matches` may be replaced at any time; tunnels that are open stay."""

    def __init__(
        self,
        matches: Mapping[Op, Sequence[Matcher]],
        authorize: Authorize,
        tokens: Tokens,
        limits: Limits,
        agreement: Agreement | None = None,
    ) -> None:
        self.matches = matches
        self._authorize = authorize
        self._tokens = tokens
        self._limits = limits
        self._agreement = agreement or Alone()
        self._asked = PeerRate(limits)
        self._opened = PeerRate(limits)
        self._decoder = msgspec.json.Decoder(Wishes)

    async def token(self, request: Request) -> TokenReply | list[TokenReply | Refused]:
        """Answers a token request: for a list of wishes with a list. Raises `Refused`, and whatever `authorize` raises.

        What is raised concerns all wishes; a refusal in the list only the one in whose place it stands.
        """
        caller = Caller.of(request.scope)
        self._count(self._asked, caller)
        self._agreement.check()  # else the token would be worth nothing
        wishes = await self._wishes(request)
        granted = self._authorize(request)
        grants = await granted if inspect.isawaitable(granted) else granted
        if grants is None:
            raise Refused(Reason.AUTH, "log in first")
        if not isinstance(grants, TunnelGrants):
            raise RelayConfigError(f"authorize must return TunnelGrants or None, got {type(grants).__name__}")
        if isinstance(wishes, TokenRequest):
            return self._issue(wishes, grants)
        replies: list[TokenReply | Refused] = []
        for wish in wishes:
            try:
                if replies:  # the first was counted before the body was read
                    self._count(self._asked, caller)
                replies.append(self._issue(wish, grants))
            except Refused as refused:
                replies.append(refused)
        return replies

    async def admit(self, op: Op, socket: WebSocket) -> Admitted:
        """Judges an upgrade and uses its token up. Raises `Refused`."""
        self._count(self._opened, Caller.of(socket.scope))
        name = check_id(socket.path_params["id"])
        target = check_target(socket.path_params["target"])
        offered = socket.scope["subprotocols"]
        tokens = [name.removeprefix(TOKEN_PREFIX) for name in offered if name.startswith(TOKEN_PREFIX)]
        if protocol_of(offered) is None or len(tokens) != 1:
            raise Refused(Reason.AUTH, f"offer the subprotocols {SUBPROTOCOL} and {TOKEN_PREFIX}<token from /token>")
        self._agreement.check()
        claims = self._tokens.redeem(tokens[0], op, name, target)
        await self._agreement.spend(claims)
        return Admitted(self._match(op, name, target), claims, many=protocol_of(offered) == MANY)

    def _issue(self, wish: TokenRequest, grants: TunnelGrants) -> TokenReply:
        check_id(wish.id)
        check_target(wish.target)
        if not grants.permits(wish.id, wish.target):
            raise Refused(Reason.FORBIDDEN, "you are not granted this id and target")
        self._match(wish.op, wish.id, wish.target)
        token, resume = self._tokens.issue(wish.op, wish.id, wish.target, grants, wish.secret)
        return TokenReply(token, resume, self._limits.token)

    def _match(self, op: Op, id: str, target: str) -> Matcher:
        match = first(self.matches[op], id, target)
        if match is None:
            asked = f"{op} for the id {_quoted(id)} and the target {_quoted(target)}"
            raise Refused(Reason.TARGET, f"nothing here answers {asked}")
        return match

    def _count(self, rate: PeerRate, caller: Caller) -> None:
        if not rate.take(share_of(caller.address), asyncio.get_running_loop().time()):
            raise Refused(Reason.LIMIT, f"more than {self._limits.opens_per_second:g} a second; wait before the next")

    async def _wishes(self, request: Request) -> TokenRequest | list[TokenRequest]:
        """The body, typed. Raises `Refused` for one that is too long, too slow, or no token request."""
        # A page of another site can send any other type without asking first.
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refused(Reason.BAD_FRAME, "the body is JSON; send content-type: application/json")
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.hello):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > self._limits.body:
                        raise Refused(Reason.TOO_LARGE, f"the body has at most {self._limits.body} bytes")
        except TimeoutError:
            raise Refused(Reason.DEADLINE, f"the body did not arrive within {self._limits.hello:g} s") from None
        except ClientDisconnect:
            raise Refused(Reason.BAD_FRAME, "the body was cut off") from None
        try:
            wishes: TokenRequest | list[TokenRequest] = self._decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            # The error would repeat what was sent, and what was sent may be a secret in the wrong place.
            what = (
                f"send {{op, id, target}} as texts, with listen or dial as op, or a list of 1 to {MAX_WISHES} of them"
            )
            raise Refused(Reason.BAD_FRAME, what) from None
        return wishes


def _quoted(text: str) -> str:
    """What somebody has sent, for a message to them."""
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}…")
