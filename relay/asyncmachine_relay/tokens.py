"""Tokens: proof that the application let this peer open this one tunnel, now, once.

A token is `base64url(claims ‖ HMAC-SHA256(claims))`. It says which tunnel (op, id, target), until when, what the peer
may do, and who owns the id. It opens one tunnel; its nonce is remembered until the token would have expired anyway.

The *resume secret* lets whoever opened an id open it again while the old tunnel still seems to live, as after a change
of network. It is sealed to the id. The token carries only its digest, and the tunnel keeps that for its lifetime: a
second opener with another one is told the id is taken. Nothing of it is stored, so it works across relays that share
the secret.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import msgspec

from asyncmachine_relay.grants import TunnelGrants
from asyncmachine_relay.limits import Limits
from asyncmachine_relay.policy import Op, Reason, Refused, RelayConfigError

MIN_SECRET = 16
"""Bytes a configured secret must have at least."""
MAX_TOKEN = 4096
"""Characters; a longer one is not even decoded."""
MAX_NONCES = 100_000
"""Nonces remembered at a time. Beyond that nothing opens: a relay that forgets one would accept a token twice."""

_MAC = hashlib.sha256().digest_size
_RESUME_NONCE = 16
_RESUME_MAC = 16
_OWNER = 16
_RESUME_SIZE = _RESUME_NONCE + _RESUME_MAC
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_STANDARD = bytes.maketrans(b"-_", b"+/")


class Claims(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a token says. `expires` is Unix time in seconds; `owner` the digest of the resume secret."""

    op: Op
    id: str
    target: str
    expires: float
    nonce: bytes
    owner: bytes
    grants: TunnelGrants


class _Keys(NamedTuple):
    """Made of one secret, so that what is signed for one purpose is worth nothing for the others."""

    token: bytes
    resume: bytes
    relays: bytes

    @classmethod
    def of(cls, secret: bytes) -> _Keys:
        if len(secret) < MIN_SECRET:
            raise RelayConfigError(f"secret has {len(secret)} bytes: at least {MIN_SECRET}, or None for a random one")
        return cls(
            hmac.digest(secret, b"asyncmachine relay token 1", "sha256"),
            hmac.digest(secret, b"asyncmachine relay resume 1", "sha256"),
            hmac.digest(secret, b"asyncmachine relay relays 1", "sha256"),
        )


class Tokens:
    """Issues and redeems. `clock` is Unix time: several relays with one secret must agree on it.

    Raises `RelayConfigError` for a secret that is too short.
    """

    def __init__(self, secret: bytes | None, limits: Limits, *, clock: Callable[[], float] = time.time) -> None:
        self._keys = _Keys.of(secrets.token_bytes(32) if secret is None else secret)
        self._old: _Keys | None = None
        self._old_until = 0.0
        self._limits = limits
        self._clock = clock
        self._spent: OrderedDict[bytes, float] = OrderedDict()
        self._decoder = msgspec.msgpack.Decoder(Claims)
        self._encoder = msgspec.msgpack.Encoder()

    def rotate(self, secret: bytes) -> None:
        """Signs with another secret from now on. What the one of before signed is taken for another minute.

        Raises `RelayConfigError` for a secret that is too short; the one of before stays.
        """
        keys = _Keys.of(secret)
        if keys != self._keys:
            self._old, self._keys = self._keys, keys
            self._old_until = self._clock() + 60

    @property
    def now(self) -> float:
        """Unix time, as tokens have it."""
        return self._clock()

    def issue(self, op: Op, id: str, target: str, grants: TunnelGrants, resume: str = "") -> tuple[str, str]:
        """A token and the resume secret that goes with it: the given one if it is of this id, else a new one.

        A foreign or stale secret is no error. It earns nothing: while the id is taken, the tunnel is refused.
        """
        if not self._is_resume(id, resume):
            nonce = secrets.token_bytes(_RESUME_NONCE)
            resume = _text(nonce + _resume_mac(self._keys, id, nonce))
        claims = Claims(
            op, id, target, self._clock() + self._limits.token, secrets.token_bytes(12), _digest(resume), grants
        )
        body = self._encoder.encode(claims)
        token = _text(body + _mac(self._keys.token, body))
        if len(token) > MAX_TOKEN:
            raise RelayConfigError(f"the grants for {id!r} make a token of {len(token)} characters, {MAX_TOKEN} fit")
        return token, resume

    def redeem(self, token: str, op: Op, id: str, target: str) -> Claims:
        """Uses a token up. Raises `Refused` when it is missing, not ours, too old, used, or of another tunnel."""
        claims = self._read(token)
        ours = f"{claims.op}\0{claims.id}\0{claims.target}".encode()
        if not hmac.compare_digest(ours, f"{op}\0{id}\0{target}".encode()):
            raise _refused("the token is of another tunnel")
        self._use(claims)
        return claims

    def seal(self, body: bytes, purpose: bytes) -> bytes:
        """What one relay says to others, such that only a relay with the same secret can have said it."""
        return body + _mac(self._keys.relays, purpose + b"\0" + body)

    def unseal(self, sealed: bytes, purpose: bytes) -> bytes:
        """The body again. Raises `Refused` when no relay with our secret has sealed it for this purpose."""
        body, mac = sealed[:-_MAC], sealed[-_MAC:]
        given = purpose + b"\0" + body
        if not any(hmac.compare_digest(mac, _mac(keys.relays, given)) for keys in self._valid()):
            raise Refused(Reason.AUTH, "not of a relay with this secret")
        return body

    def issue_leg(self, claims: Claims, relay: str) -> str:
        """A token with which one relay opens a tunnel at another, `relay`, on behalf of a caller."""
        return _text(self.seal(self._encoder.encode(claims), b"leg " + relay.encode()))

    def redeem_leg(self, token: str, relay: str) -> Claims:
        """Uses such a token up. Raises `Refused` when it is not of a relay, not for this one, too old, or used."""
        try:
            claims = self._decoder.decode(self.unseal(_bytes(token), b"leg " + relay.encode()))
        except (ValueError, msgspec.MsgspecError):
            raise _refused("the token is malformed") from None
        self._use(claims)
        return claims

    def _read(self, token: str) -> Claims:
        if not token:
            raise _refused("no token")
        try:
            raw = _bytes(token)
            body, mac = raw[:-_MAC], raw[-_MAC:]
            if not any(hmac.compare_digest(mac, _mac(keys.token, body)) for keys in self._valid()):
                raise _refused("the token is not of this relay")
            return self._decoder.decode(body)
        except (ValueError, msgspec.MsgspecError):
            # From None: the cause would show parts of the token to whoever prints the traceback.
            raise _refused("the token is malformed") from None

    def _use(self, claims: Claims) -> None:
        now = self._clock()
        if claims.expires <= now:
            raise _refused("the token has expired")
        if claims.expires > now + 60:
            raise _refused("the token is of the future; set the relays' clocks")
        self._spend(claims.nonce, now)

    def _spend(self, nonce: bytes, now: float) -> None:
        spent = self._spent
        while spent and next(iter(spent.values())) <= now:
            spent.popitem(last=False)
        if nonce in spent:
            raise _refused("the token was used")
        if len(spent) >= MAX_NONCES:
            raise Refused(Reason.LIMIT, "too many tunnels were opened just now; try again in a minute")
        # No token outlives 60 s, so this order of insertion is also the order in which nonces may be forgotten.
        spent[nonce] = now + 60

    def _is_resume(self, id: str, resume: str) -> bool:
        try:
            raw = _bytes(resume)
        except ValueError:
            return False
        nonce, mac = raw[:_RESUME_NONCE], raw[_RESUME_NONCE:]
        return len(raw) == _RESUME_SIZE and any(
            hmac.compare_digest(mac, _resume_mac(keys, id, nonce)) for keys in self._valid()
        )

    def _valid(self) -> list[_Keys]:
        if self._old is not None and self._clock() < self._old_until:
            return [self._keys, self._old]
        self._old = None
        return [self._keys]


def _mac(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA256."""
    mac = _keyed(key).copy()
    mac.update(data)
    return mac.digest()


@lru_cache(maxsize=16)
def _keyed(key: bytes) -> hmac.HMAC:
    # Looking the algorithm up and taking the key in is most of the work for a token.
    return hmac.new(key, digestmod="sha256")


def _resume_mac(keys: _Keys, id: str, nonce: bytes) -> bytes:
    return _mac(keys.resume, nonce + id.encode())[:_RESUME_MAC]


def _refused(what: str) -> Refused:
    return Refused(Reason.AUTH, f"{what}; fetch a fresh one from /token")


def _digest(resume: str) -> bytes:
    return hashlib.sha256(resume.encode()).digest()[:_OWNER]


def _text(raw: bytes) -> str:
    return b2a_base64(raw, newline=False).translate(_URL_SAFE).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    """Raises ValueError unless the text is base64url without padding, written the one way it can be."""
    if len(text) > MAX_TOKEN or not text.isascii():
        raise ValueError("no base64url")
    try:
        raw = a2b_base64((text + "=" * (-len(text) % 4)).encode().translate(_STANDARD))
    except Base64Error as error:
        raise ValueError("no base64url") from error
    # The decoder skips foreign letters and ignores spare bits: many texts for one token.
    if _text(raw) != text:
        raise ValueError("no base64url")
    return raw
