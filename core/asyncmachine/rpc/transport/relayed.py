"""Tunnels of a native program through a relay: of a tool, a worker behind a firewall, a test that plays a page.

    relay = Relayed("https://app.example/", headers={"Authorization": "Bearer k3y"})
    client = rpc.Client(relay.dial("tool-7", "backend"), schema=Backend)     # calls a target
    server.listen(relay.listen("printer-1", "peers"))                        # waits to be called there

What a tunnel is and how it stands is in `tunnel`. The headers are what the relay's `authorize` sees; a program has no
cookies and no page, so it names the relay's own Origin. Needs the `websockets` package.
"""

from __future__ import annotations

import asyncio
import ssl as tls
import time
from collections.abc import Mapping, MutableMapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from asyncmachine.machine.view import View
from asyncmachine.rpc.transport import NotOpened, Transport, websocket
from asyncmachine.rpc.transport.addresses import AddressError
from asyncmachine.rpc.transport.tunnel import TIMEOUT, Op, Tunnel
from asyncmachine.rpc.transport.tunnel_tokens import Tokens

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from urllib.error import HTTPError

LONGEST_ANSWER: Final = 256 << 10
"""Bytes of the longest answer to a request for tokens that is read. Sixteen tokens have some 10,000."""
OURS: Final = frozenset({"content-length", "content-type", "host", "origin"})
"""Headers that are not the caller's."""


class Relayed:
    """A relay, by the address at which pages have it: `https://app.example/`, or a path there.

    `origin` is named instead of the address's own, where the relay lists another. `ssl` holds the certificates; without
    one the system's authorities are trusted. `secrets` keeps the proofs of whose the ids are: give a mapping that
    outlives the program, and one that is started again has its ids at once, even while the relay thinks that they are
    taken. Raises `AddressError` for a URL that is none, and for `http://` to another computer unless it is `insecure`:
    whoever listens there could use the tokens.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        origin: str = "",
        ssl: tls.SSLContext | None = None,
        secrets: MutableMapping[str, str] | None = None,
        insecure: bool = False,
    ) -> None:
        self.url, own = _read(url, insecure=insecure)
        self.named = "the URL"
        self.origin = origin or own
        self.tokens = Tokens(self.post)
        self._headers = {**(headers or {})}
        if foreign := OURS & {name.lower() for name in self._headers}:
            raise AddressError(f"headers: {min(foreign)} is not yours to give; the Origin has a parameter of its own")
        if ssl is not None and not self.url.startswith("https"):
            raise AddressError(f"{url!r} is not encrypted, so a context for TLS has no place: use https://")
        self._ssl = ssl
        self._secrets: MutableMapping[str, str] = {} if secrets is None else secrets

    def dial(self, id: str, target: str, *, many: bool = False, parent: View[Any] | None = None) -> Tunnel:
        """A tunnel that calls `target`. With `many` it is one for many connections: hand what it opens to `many.Many`.

        `parent` is the machine below which the tunnel's own appears in a debugger.
        """
        return self._tunnel("dial", id, target, many, parent)

    def listen(self, id: str, target: str, *, many: bool = False, parent: View[Any] | None = None) -> Tunnel:
        """A tunnel that waits to be called by `target`."""
        return self._tunnel("listen", id, target, many, parent)

    def _tunnel(self, op: Op, id: str, target: str, many: bool, parent: View[Any] | None) -> Tunnel:
        return Tunnel(op, id, target, self, many=many, parent=parent)

    async def post(self, path: str, body: str) -> tuple[int, str]:
        """Status and text of the answer. Raises `TransportClosed` when there is none within 3 s."""
        url = self.url + path
        try:
            async with asyncio.timeout(TIMEOUT):
                return await asyncio.to_thread(self._post, url, body.encode())
        except (OSError, ValueError) as error:
            raise NotOpened(f"{url}: {str(error) or 'no answer'}") from error

    async def connect(self, path: str, subprotocols: tuple[str, ...]) -> Transport:
        """An open WebSocket. Raises `TransportClosed`."""
        secure: dict[str, Any] = {} if self._ssl is None else {"ssl": self._ssl}
        return await websocket.connect(
            "ws" + self.url.removeprefix("http") + path,  # https becomes wss
            subprotocols=subprotocols,
            headers=self._headers,
            timeout=TIMEOUT,
            origin=self.origin,
            **secure,
        )

    def secret(self, id: str) -> str:
        """The resume secret of an id, empty for none."""
        return self._secrets.get(id, "")

    def keep(self, id: str, secret: str) -> None:
        """Keeps it for the next opening."""
        self._secrets[id] = secret

    def _post(self, url: str, body: bytes) -> tuple[int, str]:
        """Runs in a thread: the standard library's HTTP waits. Raises `OSError`."""
        from http.client import HTTPException
        from urllib.error import HTTPError
        from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

        class Stay(HTTPRedirectHandler):
            """Elsewhere would get the credentials too."""

            def redirect_request(self, *_: Any) -> None:
                return None

        headers = {**self._headers, "Content-Type": "application/json", "Origin": self.origin}
        request = Request(url, body, headers, method="POST")  # noqa: S310 (the scheme is known)
        opener = build_opener(ProxyHandler({}), HTTPSHandler(context=self._ssl), Stay)
        try:
            with opener.open(request, timeout=TIMEOUT) as answer:
                return _read_answer(answer)
        except HTTPError as error:
            with error:
                return _read_answer(error)
        except HTTPException as error:
            raise ConnectionError(f"no HTTP: {error!r}") from error


def _read(url: str, *, insecure: bool) -> tuple[str, str]:
    """The URL of the relay, which ends with a slash, and its Origin."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise AddressError(f"{url!r}: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise AddressError(f"{url!r}: expected the address at which pages have the relay, as https://app.example/")
    if parts.query or parts.fragment or parts.username is not None:
        raise AddressError(f"{url!r}: an address has no query, fragment or user; credentials go into headers")
    if parts.scheme == "http" and not insecure and not _is_this_computer(parts.hostname):
        raise AddressError(f"{url!r}: tokens would cross the network in the clear: use https://, or insecure=True")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown = "" if port is None or port == {"http": 80, "https": 443}[parts.scheme] else f":{port}"
    origin = f"{parts.scheme}://{host}{shown}"
    return f"{origin}{parts.path.rstrip('/')}/", origin


def _is_this_computer(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read_answer(answer: HTTPResponse | HTTPError) -> tuple[int, str]:
    """Status and text. Raises `OSError` for an answer that is too long, or comes too slowly."""
    begin = time.monotonic()
    body = bytearray()
    while chunk := answer.read1(LONGEST_ANSWER):
        body += chunk
        if len(body) > LONGEST_ANSWER or time.monotonic() - begin > TIMEOUT:
            raise ConnectionError("the answer is too long, or too slow, for one of a relay")
    return answer.status or 0, body.decode(errors="replace")
