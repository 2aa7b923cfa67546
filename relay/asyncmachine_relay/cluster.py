"""Agreement by means of NATS: three buckets, and one subject for each relay.

    <bucket>-nonces    used tokens; each is created, which succeeds once over all relays, and forgotten in two minutes
    <bucket>-tunnels   who holds which id (`registry`)
    <bucket>-leases    which relays live: each writes its own three times in `lease` seconds; then it is gone
    <bucket>.<relay>   "end the tunnel of this id, its owner has come to me"

While NATS is away nothing new is accepted, since neither a token nor an id can be checked; what is open goes on, calls
between relays too, since these do not pass NATS. Whoever comes back says first what it holds. Until it has listened for
one lease it takes no relay for dead: it may be the one that was deaf.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from asyncmachine_relay.agreement import Evict, Hold, Key, away
from asyncmachine_relay.cluster_config import Cluster
from asyncmachine_relay.limits import Limits
from asyncmachine_relay.policy import Op, Reason, Refused, RelayConfigError
from asyncmachine_relay.registry import Entry, Registry
from asyncmachine_relay.secret_files import secret_of
from asyncmachine_relay.tokens import Claims, Tokens

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js.kv import KeyValue

logger = logging.getLogger("asyncmachine.relay")

NONCES_KEPT = 120.0
"""Seconds. A token lives 60; the rest is for relays whose clocks disagree."""
ANSWER = 2.0
"""Seconds that NATS may take to answer."""
ENDING = 8.0
"""Seconds that another relay may take to end a tunnel whose owner has come here."""
MARGIN = 3600.0
"""Seconds that an entry outlives the longest tunnel, after which NATS forgets it in any case."""
AT_ONCE = 32
"""Entries that are said again at a time."""


class End(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What one relay asks of another."""

    op: Op
    id: str
    mark: bytes


class NatsAgreement:
    """An `Agreement` of all relays with the same NATS, bucket and secret. `told` hears whenever `agreed` changes.

    Raises `RelayConfigError` for a word of NATS that cannot be read.
    """

    def __init__(self, config: Cluster, tokens: Tokens, limits: Limits, told: Callable[[bool], object]) -> None:
        self.relay = ""
        """This relay's name among them: a new one at each start."""
        self._config = config
        self._tokens = tokens
        self._limits = limits
        self._told = told
        self._word = None if config.token_file is None else secret_of(config.token_file, "token_file").decode()
        self._tls = config.tls() if any(server.startswith("tls:") for server in config.nats) else None
        self._agreed = False
        self._since = 0.0
        self._client: Client | None = None
        self._nonces: KeyValue
        self._nonces_since = 0.0
        self._leases: KeyValue
        self._registry: Registry | None = None
        self._owed: list[Hold] = []
        self._look = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self._working: set[asyncio.Task[None]] = set()
        self._evict: Evict

    @property
    def agreed(self) -> bool:
        return self._agreed

    def check(self) -> None:
        if not self._agreed:
            raise away()

    async def spend(self, claims: Claims) -> None:
        from nats.js.errors import KeyWrongLastSequenceError

        self.check()
        if claims.expires - self._limits.token < self._nonces_since:
            # What was used before NATS lost its memory, nobody knows.
            raise Refused(Reason.AUTH, "the token is too old to be checked; fetch a fresh one from /token")
        try:
            async with asyncio.timeout(ANSWER):
                await self._nonces.create(claims.nonce.hex(), b"")
        except KeyWrongLastSequenceError:
            raise Refused(Reason.AUTH, "the token was used; fetch a fresh one from /token") from None
        except _failures() as error:
            raise self._deaf(error) from None

    async def claim(self, claims: Claims) -> Hold:
        self.check()
        registry = self._registry
        assert registry is not None
        hold = Hold((claims.op, claims.id), claims.target, claims.owner, secrets.token_bytes(8))
        try:
            async with asyncio.timeout(ANSWER):
                before = await registry.claim(hold)
            if before is not None:
                await self._ask(before.relay, hold.key, before.mark)
                if registry.holds.get(hold.key) is not hold:
                    raise Refused(Reason.DUPLICATE, "its owner opened this id again")
        except BaseException as error:
            if isinstance(error, Refused) and not hold.revision:
                raise
            self.release(hold)  # it may have been written all the same
            if isinstance(error, _failures()):
                raise self._deaf(error) from None
            raise
        return hold

    def release(self, hold: Hold) -> None:
        registry = self._registry
        if registry is None:
            return
        if registry.holds.get(hold.key) is hold:
            del registry.holds[hold.key]
        self._owed.append(hold)
        if self._agreed:
            self._soon(self._pay())

    async def find(self, target: str, id: str) -> Entry | None:
        """Which other relay has the one who listens there. Raises `Refused` when nobody can tell."""
        self.check()
        assert self._registry is not None
        try:
            async with asyncio.timeout(ANSWER):
                return await self._registry.find(target, id)
        except _failures() as error:
            raise self._deaf(error) from None

    def start(self, evict: Evict) -> None:
        if self._keeping is None:
            self._evict = evict
            self.relay = secrets.token_hex(8)
            self._owed.clear()
            self._registry = None
            self._keeping = asyncio.get_running_loop().create_task(self._keep(), name="agreement")

    def renew(self) -> None:
        """Says everything again, as after a change of the secret."""
        self._set(agreed=False)
        self._look.set()

    async def stop(self) -> None:
        keeping, self._keeping = self._keeping, None
        if keeping is None:
            return
        keeping.cancel()
        try:
            await asyncio.wait({keeping})
            with suppress(Exception):  # whatever goes wrong now, the lease says it too
                await self._say_goodbye()
        finally:  # also for who does not wait for the goodbye
            self._set(agreed=False)
            for task in self._working:
                task.cancel()
            if self._working:
                await asyncio.wait(self._working)
            if self._client is not None:
                await self._client.close()
                self._client = None

    async def _say_goodbye(self) -> None:
        if self._agreed:
            async with asyncio.timeout(ANSWER):
                if self._registry is not None:
                    self._owed += self._registry.holds.values()  # of tunnels that have not ended in time
                await self._pay()
                await self._leases.delete(self.relay)

    # Being heard

    async def _keep(self) -> None:
        """Connects, and says again and again that this relay lives."""
        try:
            await self._connect()
        except Exception:
            logger.exception("this relay cannot agree with others, and accepts nothing until it is started again")
            return
        while True:
            self._look.clear()
            try:
                async with asyncio.timeout(max(1.0, self._config.lease / 3)):
                    await self._say()
            except Refused as error:
                self._deaf(error)
            except _failures() as error:
                self._deaf(error)
            except RelayConfigError:
                logger.exception("the relays do not have the same settings; this one accepts nothing")
                self._set(agreed=False)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._config.lease / 3):
                    await self._look.wait()

    async def _connect(self) -> None:
        from nats.aio.client import Client

        async def note(error: Exception) -> None:
            if not self._agreed:
                logger.info("NATS: %s", str(error) or type(error).__name__)

        async def cut() -> None:
            self._deaf(ConnectionError("NATS is away"))

        async def back() -> None:
            self._look.set()

        client = self._client = Client()
        await client.connect(
            list(self._config.nats),
            error_cb=note,
            disconnected_cb=cut,
            reconnected_cb=back,
            max_reconnect_attempts=-1,
            reconnect_time_wait=min(1, self._config.lease / 10),  # type: ignore[arg-type]
            connect_timeout=ANSWER,  # type: ignore[arg-type]
            ping_interval=self._config.lease / 3,  # type: ignore[arg-type]
            name=f"relay {self.relay}",
            token=self._word,
            tls=self._tls,
        )
        await client.subscribe(f"{self._config.bucket}.{self.relay}", cb=self._asked)

    async def _say(self) -> None:
        """That this relay lives; and what it holds, if it could not be heard for a while."""
        registry = self._registry
        if registry is None or not self._agreed:
            registry = await self._open(registry)
        await self._leases.put(self.relay, self._config.url.encode())
        if not self._agreed:
            self._since = asyncio.get_running_loop().time()
            holds = list(registry.holds.values())
            for at in range(0, len(holds), AT_ONCE):
                await asyncio.gather(*(self._confirm(registry, hold) for hold in holds[at : at + AT_ONCE]))
            self._registry = registry
            self._set(agreed=True)
        await self._pay()

    async def _confirm(self, registry: Registry, hold: Hold) -> None:
        if not await registry.confirm(hold):
            # Its owner, or after our lease anybody, has opened it at another relay.
            self._soon(self._evict(hold.key, hold.mark))

    async def _open(self, before: Registry | None) -> Registry:
        """The buckets, which the first relay makes. They may be new ones, if NATS has lost the old."""
        self._nonces, self._nonces_since = await self._bucket("nonces", NONCES_KEPT)
        self._leases, _ = await self._bucket("leases", self._config.lease)
        tunnels, _ = await self._bucket("tunnels", self._limits.lifetime + MARGIN)
        registry = Registry(tunnels, self._tokens, relay=self.relay, url=self._config.url, is_dead=self._is_dead)
        if before is not None:
            registry.holds = before.holds
        return registry

    async def _bucket(self, name: str, seconds: float) -> tuple[KeyValue, float]:
        """A bucket, and since when it is there (Unix time)."""
        from nats.js.api import KeyValueConfig, StorageType
        from nats.js.errors import BadRequestError, BucketNotFoundError

        assert self._client is not None
        full = f"{self._config.bucket}-{name}"
        stream = self._client.jetstream(timeout=ANSWER)
        settings = KeyValueConfig(
            bucket=full, ttl=seconds, storage=StorageType.FILE, replicas=self._config.replicas, direct=False
        )
        try:
            found = await stream.key_value(full)
        except BucketNotFoundError:
            try:
                found = await stream.create_key_value(settings)
            except BadRequestError:  # another relay was faster
                found = await stream.key_value(full)
        status = await found.status()
        kept, made = status.ttl, status.stream_info.created
        if kept is None or abs(kept - seconds) > 0.001:
            raise RelayConfigError(
                f"bucket {full} keeps its entries for {kept} s, and this relay needs {seconds:g} s: "
                "give all relays the same lease and lifetime, or another bucket"
            )
        return found, time.time() if made is None else made.timestamp()

    async def _is_dead(self, relay: str) -> bool:
        from nats.js.errors import KeyNotFoundError

        if asyncio.get_running_loop().time() - self._since < self._config.lease:
            return False
        try:
            await self._leases.get(relay)
        except KeyNotFoundError:
            return True
        return False

    async def _pay(self) -> None:
        """Removes the entries of what was given back."""
        registry = self._registry
        while self._owed and registry is not None:
            hold = self._owed.pop()
            try:
                await registry.free(hold)
            except BaseException:
                self._owed.append(hold)
                raise

    def _deaf(self, error: BaseException) -> Refused:
        if self._agreed:
            logger.warning("the relays cannot agree, nothing new is accepted: %s", str(error) or type(error).__name__)
            self._set(agreed=False)
            self._look.set()
        return away()

    def _set(self, *, agreed: bool) -> None:
        if agreed is not self._agreed:
            self._agreed = agreed
            self._told(agreed)

    # One relay to another

    async def _ask(self, relay: str, key: Key, mark: bytes) -> None:
        """Asks for the end of a tunnel, and waits for it. Who cannot hear has to find out by itself."""
        from nats.errors import NoRespondersError
        from nats.errors import TimeoutError as NoAnswerError

        assert self._client is not None
        body = self._tokens.seal(msgspec.msgpack.encode(End(key[0], key[1], mark)), b"end " + relay.encode())
        try:
            await self._client.request(f"{self._config.bucket}.{relay}", body, timeout=ENDING)
        except (NoRespondersError, NoAnswerError):
            logger.warning("relay %s does not answer; what it still carries of %s ends when it does", relay, key)

    async def _asked(self, message: Msg) -> None:
        try:
            body = self._tokens.unseal(message.data, b"end " + self.relay.encode())
            asked = msgspec.msgpack.decode(body, type=End)
        except (Refused, msgspec.MsgspecError):
            logger.warning("something that no relay of ours has said")
            return
        self._soon(self._answer(message, asked))

    async def _answer(self, message: Msg, asked: End) -> None:
        await self._evict((asked.op, asked.id), asked.mark)
        with suppress(*_failures()):
            await message.respond(b"")

    def _soon(self, work: Any) -> None:
        task = asyncio.ensure_future(_guarded(work))
        self._working.add(task)
        task.add_done_callback(self._working.discard)


async def _guarded(work: Any) -> None:
    try:
        await work
    except _failures():
        pass  # it is tried again when NATS is back


def _failures() -> tuple[type[Exception], ...]:
    """What a call of NATS raises when it is away, or its answer does not come."""
    from nats.errors import Error

    return (Error, OSError, TimeoutError)
