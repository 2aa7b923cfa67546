"""What certificates say of a peer, and how somebody learns that his own was not accepted.

The server of a TLS connection tells the reason of a refusal with an alert. asyncio closes the socket without sending
it, so that the client could not tell a refusal from a network that fails: here it is sent.
"""

from __future__ import annotations

import asyncio
import socket
import ssl as tls
from contextlib import suppress
from typing import Any, Final

from asyncmachine.rpc.transport import CertificateRefused, NotOpened, TransportClosed, in_words

LINGER: Final = 1.0
"""Seconds that somebody who was refused has to read why, and to hang up."""

ALERTS: Final = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "a certificate is required, and this side has none",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it may require a certificate, and this side has none that fits",
    "TLSV1_ALERT_UNKNOWN_CA": "the certificate of this side is of an authority that is not known there",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the certificate of this side is not valid",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the certificate of this side has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "the certificate of this side was revoked",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the certificate of this side is not accepted",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "the certificate of this side is of a kind that is not accepted",
    "TLSV1_ALERT_ACCESS_DENIED": "the certificate of this side gives no access",
}
"""Alerts as OpenSSL names them, and what they mean to whoever gets one."""


def refusal(error: BaseException | None) -> str:
    """Why the other side does not accept this side's certificate; empty for any other error."""
    reason = error.reason if isinstance(error, tls.SSLError) else None
    return ALERTS.get(reason or "", "")


def ended_by(address: str, error: Exception) -> TransportClosed:
    """What a failure to connect becomes."""
    if why := refusal(error):
        return CertificateRefused(reason=f"{address}: {why}")
    return NotOpened(f"{address}: {in_words(error)}")


def names_in(certificate: Any) -> tuple[str, ...]:
    """The alternative names of a certificate and its common name. Only verified certificates have contents."""
    if not certificate:
        return ()
    names = [str(name) for _, name in certificate.get("subjectAltName", ())]
    subject = [pair for pairs in certificate.get("subject", ()) for pair in pairs]
    return tuple(dict.fromkeys((*names, *(str(value) for key, value in subject if key == "commonName"))))


class Judge:
    """Stands for the context of a server while one client shakes hands, and keeps what that one has to be told."""

    def __init__(self, context: tls.SSLContext, connected: socket.socket) -> None:
        self._context = context
        self._alert = b""
        # asyncio closes its own socket when the handshake fails.
        self._socket = connected.dup()

    def wrap_bio(self, incoming: tls.MemoryBIO, outgoing: tls.MemoryBIO, **settings: Any) -> tls.SSLObject:
        """As a context does it."""
        made = self._context.wrap_bio(incoming, outgoing, **settings)
        shake = made.do_handshake

        def do_handshake() -> None:
            try:
                shake()
            except (tls.SSLWantReadError, tls.SSLWantWriteError):
                raise
            except tls.SSLError:
                self._alert = outgoing.read()
                raise
            del made.do_handshake  # it is used once, and holds on to all of this

        made.do_handshake = do_handshake  # type: ignore[method-assign]
        return made

    async def tell(self) -> None:
        """Sends the alert. What still comes is thrown away: a socket that is closed before would take it back."""
        loop = asyncio.get_running_loop()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(LINGER):
                await loop.sock_sendall(self._socket, self._alert)
                self._socket.shutdown(socket.SHUT_WR)
                while await loop.sock_recv(self._socket, 4096):
                    pass

    def close(self) -> None:
        """Lets the socket go."""
        self._socket.close()
