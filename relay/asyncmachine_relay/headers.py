"""Headers that protect a page, on every answer.

Two content policies are named. `strict` is for pages that boot Pyodide themselves: own scripts only, and WebAssembly.
`pyscript` is for pages with PyScript: it evaluates text, and fetches and starts its workers from `blob:`. Neither lets
a page load anything from elsewhere, or send anything there.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asyncmachine_relay.policy import RelayConfigError

_COMMON = "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'"

POLICIES: Mapping[str, str] = MappingProxyType(
    {
        "strict": f"{_COMMON}; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'",
        "pyscript": (
            f"{_COMMON}; script-src 'self' blob: 'unsafe-eval' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
            "connect-src 'self' blob:; style-src 'self' 'unsafe-inline'"
        ),
    }
)

_ISOLATED = {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
}
_ALWAYS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}


class ContentPolicies:
    """Which policy a path has: `csp` maps prefixes to names; the longest that fits counts, `strict` where none does.

    Raises `RelayConfigError` for an unknown name, and for a prefix that does not start with a slash.
    """

    def __init__(self, csp: Mapping[str, str]) -> None:
        for prefix, name in csp.items():
            if name not in POLICIES:
                raise RelayConfigError(f"csp[{prefix!r}]={name!r} is no policy: {', '.join(POLICIES)}")
            if not prefix.startswith("/"):
                raise RelayConfigError(f"csp prefix {prefix!r} must start with a slash")
        self._csp = sorted(csp.items(), key=lambda item: -len(item[0]))

    def at(self, path: str) -> str:
        """The content policy for a path of the site."""
        return POLICIES[next((name for prefix, name in self._csp if path.startswith(prefix)), "strict")]


class SecurityHeaders:
    """ASGI middleware. `isolation` makes pages cross-origin isolated, and keeps other sites from framing them."""

    def __init__(self, app: ASGIApp, *, policies: ContentPolicies, isolation: bool) -> None:
        self._app = app
        self._policies = policies
        fixed = {**_ALWAYS, **(_ISOLATED if isolation else {})}
        self._raw = [(name.encode(), value.encode()) for name, value in fixed.items()]
        self._names = frozenset(name for name, _ in self._raw) | {b"content-security-policy"}
        self._framing = "; frame-ancestors 'self'" if isolation else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy = self._policies.at(scope["path"]) + self._framing
                others = [header for header in message["headers"] if header[0].lower() not in self._names]
                message["headers"] = [*others, *self._raw, (b"content-security-policy", policy.encode())]
            await send(message)

        await self._app(scope, receive, send_with_headers)
