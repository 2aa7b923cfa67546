"""Everything that can be configured, as one typed record. It is the same from a file, the environment, and code.

    config = read(Path("relay.toml"))            # see `reading`
    config = Config(targets=(Target("backend", "127.0.0.1", 14000),))

Without any setting a relay listens on loopback only, lets in its own Origin only, and has no targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from typing import cast

from asyncmachine_relay.addresses import networks
from asyncmachine_relay.admission import Authorize
from asyncmachine_relay.cluster_config import Cluster
from asyncmachine_relay.headers import POLICIES
from asyncmachine_relay.limits import Limits
from asyncmachine_relay.meetings import Meeting, check_meetings
from asyncmachine_relay.policy import RelayConfigError, host, origin, several
from asyncmachine_relay.secret_files import secret_of
from asyncmachine_relay.static import StaticRoot
from asyncmachine_relay.targets import Target, check_names

DEFAULT_PORT = 12733
LONGEST_DRAIN = 8.0
"""Seconds; an operator's tools kill what has not ended 10 s after SIGTERM, and there is more to end than tunnels."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where the relay listens, and whom it believes.

    `origins` are the pages that may open tunnels; none means the relay's own address. `hosts` are further Host headers.
    `proxies` are addresses or networks whose X-Forwarded-For is believed. `authorize` names the application's function,
    as "package.module:function". `secret_file` holds the key that signs tokens; without one it is made at each start.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    move: bool = False
    """Takes another port when this one is busy."""
    insecure: bool = False
    """Listens where others can reach it, without TLS."""
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    local_names: bool = False
    """Answers to `localhost`, `127.0.0.1` and `[::1]` alike; the Origin still has to be the one that is listed."""
    proxies: tuple[str, ...] = ()
    authorize: str = ""
    secret_file: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise RelayConfigError(f"port {self.port} must be 0 (any free one) to 65535", field="port")
        for name, judged in (("hosts", host), ("origins", origin)):
            for text in several(getattr(self, name), name):
                try:
                    judged(text)
                except RelayConfigError as error:
                    raise RelayConfigError(str(error), field=name) from None
        networks(self.proxies, field="proxies")
        if self.authorize and not all(self.authorize.partition(":")):
            wrong = f"authorize {self.authorize!r} must be written as package.module:function"
            raise RelayConfigError(wrong, field="authorize")

    def load_authorize(self) -> Authorize | None:
        """The application's function, None without one. Raises `RelayConfigError` if it is not there."""
        if not self.authorize:
            return None
        module, _, name = self.authorize.partition(":")
        try:
            found = getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise RelayConfigError(f"authorize {self.authorize!r}: {error}", field="authorize") from error
        except (Exception, SystemExit) as error:  # whatever a module does while it is imported
            wrong = f"authorize {self.authorize!r}: {type(error).__name__}: {error}{_place(error)}"
            raise RelayConfigError(wrong, field="authorize") from error
        if not callable(found):
            raise RelayConfigError(f"authorize {self.authorize!r} is no function", field="authorize")
        return cast(Authorize, found)

    def load_secret(self) -> bytes | None:
        """The signing key, None without a file. Raises `RelayConfigError`."""
        return None if self.secret_file is None else secret_of(self.secret_file, "secret_file")


def _place(error: BaseException) -> str:
    """Where a module raised; a SyntaxError says so itself."""
    frame = extract_tb(error.__traceback__)[-1]
    return "" if isinstance(error, SyntaxError) else f" ({Path(frame.filename).name}, line {frame.lineno})"


@dataclass(frozen=True, kw_only=True)
class Pages:
    """What is served at `/`.

    `roots` are directories, the first that has a file wins; `mounts` maps a prefix to a directory; `csp` a prefix to
    "strict" or "pyscript". `isolation` sends COOP and COEP.
    """

    roots: tuple[Path, ...] = ()
    mounts: Mapping[str, Path] = field(default_factory=dict)
    csp: Mapping[str, str] = field(default_factory=dict)
    isolation: bool = True

    def __post_init__(self) -> None:
        for name, given in (("csp", self.csp), ("mounts", self.mounts)):
            for prefix in given:
                if not prefix.startswith("/"):
                    raise RelayConfigError(f"{name} prefix {prefix!r} must start with a slash", field=name)
        for policy in self.csp.values():
            if policy not in POLICIES:
                raise RelayConfigError(f"csp {policy!r} is no policy: {', '.join(POLICIES)}", field="csp")
        for name, paths in (("roots", self.roots), ("mounts", tuple(self.mounts.values()))):
            for path in paths:
                if not path.is_dir():
                    raise RelayConfigError(f"{path} is no directory; build it first, or leave it out", field=name)

    @property
    def static(self) -> list[StaticRoot] | None:
        """For `Relay(static=…)`."""
        mounted: list[StaticRoot] = list(self.mounts.items())
        return [*mounted, *self.roots] or None


@dataclass(frozen=True, kw_only=True)
class Operation:
    """How it is run.

    `drain` is how many seconds tunnels have to leave at SIGTERM. `token_file` holds the word that lets an operator who
    is not on this machine see /metrics and send to /dbg.ws. `address_dir` is where listening REPL targets leave their
    addresses. `log` is "text" or "json". `loop` is "auto", which is uvloop where it is installed, or "asyncio".
    """

    drain: float = 8.0
    metrics: bool = True
    token_file: Path | None = None
    address_dir: Path | None = None
    log: str = "text"
    loop: str = "auto"

    def __post_init__(self) -> None:
        if not 0 <= self.drain <= LONGEST_DRAIN:
            raise RelayConfigError(f"drain {self.drain:g} must be 0 to {LONGEST_DRAIN:g} seconds", field="drain")
        if self.log not in {"text", "json"}:
            raise RelayConfigError(f'log {self.log!r} must be "text" or "json"', field="log")
        if self.loop not in {"auto", "asyncio"}:
            raise RelayConfigError(f'loop {self.loop!r} must be "auto" or "asyncio"', field="loop")

    def load_token(self) -> bytes | None:
        """The operator's word, None without a file. Raises `RelayConfigError`."""
        return None if self.token_file is None else secret_of(self.token_file, "token_file")


@dataclass(frozen=True, kw_only=True)
class Debug:
    """What pages, workers and programs send to /dbg.ws.

    `ingest` turns it on. What arrives is recorded into rotated files `<dir>/<base>-<time>.amdbg` and sent on to
    `forward`, which are addresses as "ws://localhost:6831/dbg.ws". A file ends after `interval_tx` records, `interval`
    seconds or `file_bytes`; the oldest go, so that `max_files` of `max_bytes` together are left.
    """

    ingest: bool = False
    dir: Path = Path()
    base: str = "am-dbg-dump"
    interval_tx: int = 10_000
    interval: float = 24 * 3600.0
    file_bytes: int = 64 << 20
    max_files: int = 100
    max_bytes: int = 1 << 30
    forward: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.base or set(self.base) & {"/", "\0"} or self.base.startswith("."):
            raise RelayConfigError(
                f"base {self.base!r} must be the beginning of a file name, without a slash", field="base"
            )
        for name in ("interval_tx", "interval", "file_bytes", "max_files", "max_bytes"):
            if not getattr(self, name) > 0:
                raise RelayConfigError(f"{name} {getattr(self, name)!r} must be greater than 0", field=name)
        several(self.forward, "forward")


@dataclass(frozen=True, kw_only=True)
class Config:
    """All of it. `name` makes the relay's machine `relay-<name>`; without it is `relay`."""

    name: str = ""
    server: Server = field(default_factory=Server)
    pages: Pages = field(default_factory=Pages)
    limits: Limits = field(default_factory=Limits)
    operation: Operation = field(default_factory=Operation)
    dbg: Debug = field(default_factory=Debug)
    cluster: Cluster = field(default_factory=Cluster)
    targets: tuple[Target, ...] = ()
    meetings: tuple[Meeting, ...] = ()

    def __post_init__(self) -> None:
        check_names(self.targets)
        check_meetings(self.meetings, [target.name for target in self.targets])
        if self.cluster.on and not self.server.origins:
            wrong = (
                'origins is missing: a cluster has one address for all; write origins = ["https://…"] below [server]'
            )
            raise RelayConfigError(wrong, field="cluster")
        if self.cluster.on and self.server.secret_file is None:
            wrong = "secret_file is missing: a cluster has one secret for all; write secret_file below [server]"
            raise RelayConfigError(wrong, field="cluster")

    @property
    def id(self) -> str:
        """Of the relay's machine."""
        return f"relay-{self.name}" if self.name else "relay"
