"""How relays behind one address find each other. Set it in all of them, with the same values but for `url`."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from asyncmachine_relay.policy import RelayConfigError, origin, several

_BUCKET = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_NATS = {"nats", "tls"}


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """`nats` are the servers, of which one is enough; none turns all of this off.

    `url` is where other relays reach this one, an origin: `https`, or `http` on loopback. `lease` is for how many
    seconds a relay counts as alive after it was last heard of. `bucket` is how the names of the buckets begin,
    `replicas` how many servers keep each of them when they are made. `token_file` holds the word that NATS wants.
    `ca_file` verifies NATS and the other relays, instead of the system's authorities. `insecure` allows `nats` and
    `http` off loopback: the network between the relays is theirs alone.

    Raises `RelayConfigError`.
    """

    nats: tuple[str, ...] = ()
    url: str = ""
    lease: float = 10.0
    bucket: str = "am-relay"
    replicas: int = 1
    token_file: Path | None = None
    ca_file: Path | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        if not 0.5 <= self.lease <= 300:
            raise RelayConfigError(f"lease {self.lease:g} must be 0.5 to 300 seconds", field="lease")
        if not _BUCKET.fullmatch(self.bucket):
            raise RelayConfigError(f"bucket {self.bucket!r} must have 1 to 64 of A-Z a-z 0-9 _ -", field="bucket")
        if self.replicas not in {1, 3, 5}:
            raise RelayConfigError(f"replicas {self.replicas} must be 1, 3 or 5", field="replicas")
        for server in several(self.nats, "nats"):
            self._check_server(server)
        if self.url:
            self._check_url()
        if self.nats and not self.url:
            raise RelayConfigError("url is missing: where other relays reach this one", field="nats", needs=("url",))

    @property
    def on(self) -> bool:
        """Whether there are other relays."""
        return bool(self.nats)

    def tls(self) -> ssl.SSLContext:
        """What NATS and other relays are verified with. Raises `RelayConfigError`."""
        try:
            return ssl.create_default_context(cafile=None if self.ca_file is None else str(self.ca_file))
        except (OSError, ssl.SSLError) as error:
            raise RelayConfigError(f"ca_file {self.ca_file}: {error}", field="ca_file") from error

    def _check_server(self, server: str) -> None:
        try:
            parts = urlsplit(server)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in _NATS or not parts.hostname or port is None or parts.path.strip("/"):
            raise RelayConfigError(f"nats {server!r} must be written as tls://host:4222", field="nats")
        if parts.username or parts.password:
            raise RelayConfigError("nats: no secrets here; put the word of NATS into token_file", field="nats")
        if parts.scheme == "nats" and not self._may_be_plain(parts.hostname):
            wrong = f"nats {server!r} can be read by others: use tls://, or insecure = true"
            raise RelayConfigError(wrong, field="nats", needs=("insecure",))

    def _check_url(self) -> None:
        try:
            name = origin(self.url)
        except RelayConfigError as error:
            raise RelayConfigError(str(error), field="url") from None
        if name.startswith("http:") and not self._may_be_plain(urlsplit(name).hostname or ""):
            wrong = f"url {self.url!r} can be read by others: use https://, or insecure = true"
            raise RelayConfigError(wrong, field="url", needs=("insecure",))

    def _may_be_plain(self, host: str) -> bool:
        try:
            return self.insecure or host == "localhost" or ip_address(host).is_loopback
        except ValueError:
            return False
