"""The relay: a Starlette app that serves a page, and tunnels from that page into this process or to TCP targets.

    relay = Relay(static=Path("web/static"), listen=[Match(r"browser[1-4]", target="orchestrator", serve=fn)])
    relay = Relay.of(read(Path("relay.toml")))

    /token, /dial/…, /listen/…, /leg/…     tokens and tunnels (`opening`), the first three below each mount too
    /healthz, /readyz, /metrics, /dbg.ws   for operators (`operation`)
    /…                                     static files (`static`)

Every request passes the `guard` first. Run it with `RelayServer`, or hand `relay.app` to an ASGI server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount

import asyncmachine as am
from asyncmachine.machine.view import View
from asyncmachine.telemetry.dbg.recorder import Recorder
from asyncmachine_relay.address_files import AddressFiles
from asyncmachine_relay.addresses import networks
from asyncmachine_relay.admission import Admission, Authorize, own_machine
from asyncmachine_relay.agreement import Agreement, Alone
from asyncmachine_relay.answers import stopping
from asyncmachine_relay.bridging import Bridges, matchers_of
from asyncmachine_relay.cluster import NatsAgreement
from asyncmachine_relay.cluster_config import Cluster
from asyncmachine_relay.config import Config
from asyncmachine_relay.guard import Guard
from asyncmachine_relay.headers import ContentPolicies, SecurityHeaders
from asyncmachine_relay.ingest import Ingest
from asyncmachine_relay.legs import Legs
from asyncmachine_relay.limits import Limits
from asyncmachine_relay.matchers import Match, Matcher
from asyncmachine_relay.meetings import Meeting, Waiting, check_meetings
from asyncmachine_relay.meetings import matchers_of as matchers_of_meetings
from asyncmachine_relay.notes import Notes
from asyncmachine_relay.opening import Opening
from asyncmachine_relay.operation import Operation
from asyncmachine_relay.operators import Operator
from asyncmachine_relay.policy import Door, Op, RelayConfigError, origin, several
from asyncmachine_relay.resolving import Resolve, system_resolver
from asyncmachine_relay.states import RelayStates
from asyncmachine_relay.static import StaticRoot, StaticSite, prefixes_of
from asyncmachine_relay.targets import Target, check_names
from asyncmachine_relay.tokens import Tokens
from asyncmachine_relay.tunnels import Tunnels

logger = logging.getLogger("asyncmachine.relay")


class Relay:
    """All settings have a safe default: own origin only, this machine only, no targets.

    `static` is a directory or a list of `StaticRoot`, of which the first that has a file wins. `origins` are the pages
    that may open tunnels; None means the relay's own address, which `RelayServer` tells it. `hosts` are further Host
    headers to answer to, `local_names` adds those that mean this machine. `listen` and `dial` are answered by this
    process, `targets` by others over TCP, `meetings` by pages that listen; they are tried in this order. `authorize`
    decides who gets a token. `secret` signs tokens: None is a random one, so that tokens do not outlive the process.
    `cluster` are the other relays behind the same address; then `origins` and `secret` must be given, the same to all.
    `proxies` are addresses and networks whose X-Forwarded-For is believed. `operator` is the word that lets an operator
    in from elsewhere. `address_dir` is for the addresses of REPLs. `isolation` sends COOP and COEP; `csp` maps path
    prefixes to content policies (`headers`). `recorder` takes the debug stream; whoever made it runs it. `resolve`
    finds the addresses of a target.

    `machine` has `RelayStates`; it is created with `parent`, and disposed with it or by `dispose`.
    """

    def __init__(
        self,
        static: StaticRoot | Sequence[StaticRoot] | None = None,
        *,
        origins: Iterable[str] | None = None,
        hosts: Iterable[str] = (),
        local_names: bool = False,
        listen: Iterable[Match] = (),
        dial: Iterable[Match] = (),
        targets: Iterable[Target] = (),
        meetings: Iterable[Meeting] = (),
        cluster: Cluster | None = None,
        authorize: Authorize = own_machine,
        secret: bytes | None = None,
        proxies: Iterable[str] = (),
        operator: bytes | None = None,
        limits: Limits | None = None,
        address_dir: Path | None = None,
        isolation: bool = True,
        csp: Mapping[str, str] | None = None,
        metrics: bool = True,
        recorder: Recorder | None = None,
        resolve: Resolve = system_resolver,
        id: str = "relay",
        parent: View[Any] | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.proxies = networks(proxies, field="proxies")
        self.machine: am.Machine[RelayStates] = am.Machine(RelayStates, id=id, tags=("relay",), parent=parent)
        self._notes = Notes(self.machine)
        self.counts = self._notes.counts
        self._tokens = Tokens(secret, self.limits)
        self._legs = self._other_relays(cluster, known=secret is not None and origins is not None)
        self._agreement: Agreement = Alone() if self._legs is None else self._legs.agreement
        self._hosts = (
            *several(hosts, "hosts"),
            *(() if self._legs is None else [urlsplit(self._legs.cluster.url).netloc]),
        )
        self.tunnels = Tunnels(
            self.limits,
            self.machine,
            up=self._notes.up,
            down=self._notes.down,
            agreement=self._agreement,
        )
        self._local_names = local_names
        self._own_only = origins is None
        self._door = Door.of(origins or (), self._hosts)
        self._files = None if address_dir is None else AddressFiles(address_dir)
        self._bridges = Bridges(self.limits, self._files, resolve)
        self._own: dict[Op, tuple[Match, ...]] = {Op.LISTEN: tuple(listen), Op.DIAL: tuple(dial)}
        self._waiting = Waiting()
        meetings = tuple(meetings)
        matchers = self._matchers(targets, meetings)
        self._admission = Admission(matchers, authorize, self._tokens, self.limits, self._agreement)
        self._opening = Opening(
            self._admission,
            self.tunnels,
            self._notes,
            self.limits,
            legs=self._legs,
            meetings=meetings,
            waiting=self._waiting,
        )
        self._ingest = None if recorder is None else Ingest(recorder, self.machine, self.limits)
        self._operation = Operation(
            Operator(operator),
            self.machine,
            self.tunnels,
            self._agreement,
            self._notes,
            ingest=self._ingest,
            metrics=metrics,
        )
        roots = _roots(static)
        self.app = Starlette(
            routes=[*self._opening.routes(prefixes_of(roots)), *self._operation.routes(), *_site(roots)],
            middleware=[
                Middleware(SecurityHeaders, policies=ContentPolicies(csp or {}), isolation=isolation),
                Middleware(Guard, door=lambda: self._door, note=self._notes.refused, proxies=self.proxies),
            ],
            lifespan=self._lifespan,
        )

    @classmethod
    def of(cls, config: Config, **code: Any) -> Self:
        """A relay with these settings; `code` are those that only a program can give (`listen`, `dial`, `parent`, …).

        Raises `RelayConfigError` for files and functions that are not there.
        """
        server, operation = config.server, config.operation
        settings: dict[str, Any] = {
            "static": config.pages.static,
            "origins": server.origins or None,
            "hosts": server.hosts,
            "local_names": server.local_names,
            "targets": config.targets,
            "meetings": config.meetings,
            "cluster": config.cluster,
            "authorize": server.load_authorize() or own_machine,
            "secret": server.load_secret(),
            "proxies": server.proxies,
            "operator": operation.load_token(),
            "limits": config.limits,
            "address_dir": operation.address_dir,
            "isolation": config.pages.isolation,
            "csp": config.pages.csp,
            "metrics": operation.metrics,
            "id": config.id,
        }
        return cls(**{**settings, **code})

    # Life

    def starting(self) -> None:
        """A listener is about to open."""
        self._set_stopping(False)
        self.tunnels.reopen()
        if self._files is not None:
            for name in self._files.sweep():
                logger.info("removed %s, which a relay left behind", name)
        self.machine.add([RelayStates.Start, RelayStates.HttpStarting])
        self._agreement.start(self.tunnels.evict)

    def ready(self, address: str = "") -> None:
        """A listener is open at `address`, an origin; without `origins` that is the one page that may come in."""
        if self._own_only and address:
            self._door = Door.of([origin(address)], (*self._hosts, *self._names_at(address)))
        self.machine.add(RelayStates.HttpReady)

    def reload(self, config: Config) -> None:
        """Takes over targets, meetings, the signing secret and the operator's word; open tunnels stay as they are.

        Tokens of before are taken as long as one lives. Raises `RelayConfigError`, and then nothing has changed.
        """
        matchers = self._matchers(config.targets, config.meetings)
        secret, word = config.server.load_secret(), config.operation.load_token()
        self._admission.matches, self._opening.meetings = matchers, config.meetings
        if secret is not None:
            self._tokens.rotate(secret)
            if self._legs is not None:
                self._legs.agreement.renew()
        self._operation.operator = Operator(word)

    async def drain(self, seconds: float) -> None:
        """Refuses new tunnels and lets the open ones leave; returns when all have, or the time is over."""
        self._set_stopping(True)
        self.machine.add(RelayStates.Draining)
        self.tunnels.go_away(seconds)
        try:
            async with asyncio.timeout(seconds):
                await self.tunnels.emptied()
        except TimeoutError:
            logger.info("%d tunnels did not leave within %g s", len(self.tunnels), seconds)

    async def stop(self) -> None:
        """Refuses new tunnels and closes all that are open with 1001; returns when their matchers have ended.

        Whoever cancels it waits for no tunnel any more; their ids are given back all the same.
        """
        self._set_stopping(True)
        try:
            await self.tunnels.close_all(stopping())
            if self._ingest is not None:
                await self._ingest.close_all(stopping())
        finally:
            await self._agreement.stop()
        self.machine.remove([RelayStates.Draining, RelayStates.HttpReady, RelayStates.HttpStarting])

    def dispose(self) -> None:
        """Ends the relay's machine. Call `stop` first."""
        self.machine.dispose()

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """For an ASGI server of another's; `RelayServer` does this itself, around its listener."""
        self.starting()
        self.ready()
        yield
        await self.stop()

    def _set_stopping(self, now: bool) -> None:
        self._opening.stopping = self._operation.stopping = now

    def _names_at(self, address: str) -> list[str]:
        port = urlsplit(address).port or 80
        names = ("localhost", "127.0.0.1", "[::1]") if self._local_names else ()
        return [name if port == 80 else f"{name}:{port}" for name in names]

    def _matchers(self, targets: Iterable[Target], meetings: Iterable[Meeting]) -> dict[Op, tuple[Matcher, ...]]:
        """Own matchers first, then the targets, then meetings. Raises `RelayConfigError`."""
        targets, meetings = tuple(targets), tuple(meetings)
        check_names(targets)
        check_meetings(meetings, [target.name for target in targets])
        further = matchers_of(targets, self._bridges)
        pages = matchers_of_meetings(meetings, self._waiting, None if self._legs is None else self._legs.call)
        return {op: (*self._own[op], *further[op], *pages[op]) for op in Op}

    def _other_relays(self, cluster: Cluster | None, *, known: bool) -> Legs | None:
        """The way to them, None when there are none. Raises `RelayConfigError`."""
        if cluster is None or not cluster.on:
            return None
        if not known:
            raise RelayConfigError("relays of a cluster need origins and a secret, and all the same ones")

        def told(agreed: bool) -> None:
            (self.machine.add if agreed else self.machine.remove)(RelayStates.Agreed)

        agreement = NatsAgreement(cluster, self._tokens, self.limits, told)
        return Legs(cluster, agreement, self._tokens, self.limits, self.proxies, lambda: min(self._door.origins))


def _roots(static: StaticRoot | Sequence[StaticRoot] | None) -> Sequence[StaticRoot]:
    if static is None:
        return ()
    return static if isinstance(static, Sequence) and not isinstance(static, str | tuple) else [static]


def _site(roots: Sequence[StaticRoot]) -> list[BaseRoute]:
    """Everything that is no other route."""
    return [Mount("/", StaticSite(roots))] if roots else []
