"""Tokens: one tunnel, once, now; and the resume secret."""

from __future__ import annotations

import base64
import hmac
import string

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import asyncmachine as am
from asyncmachine_relay import Limits, Op, Reason, Refused, RelayConfigError, TunnelGrants
from asyncmachine_relay import tokens as module
from asyncmachine_relay.tokens import Claims, Tokens

GRANTS = TunnelGrants(ids=("browser1",), targets=("orchestrator",), mutate=("Foo",), rights=("x",), subject="Ann")
SECRET = b"0123456789abcdef"
BASE64URL = string.ascii_letters + string.digits + "-_"


class Clock:
    """Unix time that the test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def tokens(clock: Clock | None = None, secret: bytes | None = SECRET) -> Tokens:
    return Tokens(secret, Limits(), clock=clock or Clock())


def issue(issuer: Tokens, resume: str = "", op: Op = Op.DIAL, id: str = "browser1") -> tuple[str, str]:
    return issuer.issue(op, id, "orchestrator", GRANTS, resume)


def redeem(issuer: Tokens, token: str) -> Claims:
    return issuer.redeem(token, Op.DIAL, "browser1", "orchestrator")


def refusal(issuer: Tokens, token: str) -> str:
    with pytest.raises(Refused) as refused:
        redeem(issuer, token)
    assert refused.value.reason is Reason.AUTH
    return refused.value.hint.partition(";")[0]


def test_a_token_brings_its_claims() -> None:
    claims = redeem(issuer := tokens(), issue(issuer)[0])
    assert (claims.op, claims.id, claims.target, claims.grants) == (Op.DIAL, "browser1", "orchestrator", GRANTS)


def test_a_token_opens_one_tunnel() -> None:
    issuer = tokens()
    token, _ = issue(issuer)
    redeem(issuer, token)
    assert refusal(issuer, token) == "the token was used"


@pytest.mark.parametrize(
    ("op", "id", "target"),
    [(Op.LISTEN, "browser1", "orchestrator"), (Op.DIAL, "browser2", "orchestrator"), (Op.DIAL, "browser1", "other")],
)
def test_a_token_is_of_one_tunnel(op: Op, id: str, target: str) -> None:
    issuer = tokens()
    token, _ = issue(issuer)
    with pytest.raises(Refused, match="the token is of another tunnel"):
        issuer.redeem(token, op, id, target)
    redeem(issuer, token)  # a wrong try did not use it up


def test_a_token_lives_a_minute() -> None:
    clock = Clock()
    issuer = tokens(clock)
    token, _ = issue(issuer)
    clock.now += 60
    assert refusal(issuer, token) == "the token has expired"


def test_a_token_of_a_clock_that_runs_ahead_is_refused() -> None:
    """Its nonce would have to be remembered for longer than a minute."""
    ahead, behind = Clock(), Clock()
    ahead.now += 3600
    assert refusal(tokens(behind), issue(tokens(ahead))[0]) == "the token is of the future"


def test_relays_with_one_secret_take_each_others_tokens_and_others_do_not() -> None:
    token, _ = issue(tokens())
    redeem(tokens(), token)
    assert refusal(tokens(secret=b"another secret !"), token) == "the token is not of this relay"
    assert refusal(tokens(secret=None), token) == "the token is not of this relay"


def test_no_token() -> None:
    assert refusal(tokens(), "") == "no token"


@settings(deadline=None)
@given(st.text(max_size=200))
@example("=")
@example("A" * 4097)
@example("A" * 43)
def test_noise_is_no_token(text: str) -> None:
    if text:
        assert refusal(tokens(), text) in {"the token is malformed", "the token is not of this relay"}


@settings(deadline=None)
@given(st.data())
def test_a_changed_token_is_no_token(data: st.DataObject) -> None:
    issuer = tokens()
    token, _ = issue(issuer)
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from(BASE64URL))
    changed = token[:place] + letter + token[place + 1 :]
    if changed != token:
        assert refusal(issuer, changed) in {"the token is malformed", "the token is not of this relay"}


@pytest.mark.parametrize("change", ["{}=", "{}==", "{} ", " {}", "{}\n", "{}.", "{}A"])
def test_one_token_is_written_one_way(change: str) -> None:
    issuer = tokens()
    token, _ = issue(issuer)
    assert refusal(issuer, change.format(token)) in {"the token is malformed", "the token is not of this relay"}


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_what_was_signed_by_mistake_is_still_decoded_with_bounds(body: bytes) -> None:
    issuer = tokens()
    signed = body + hmac.digest(issuer._keys.token, body, "sha256")
    assert refusal(issuer, base64.urlsafe_b64encode(signed).rstrip(b"=").decode()) == "the token is malformed"


def test_a_refusal_does_not_show_the_token() -> None:
    issuer = tokens()
    body = msgspec.msgpack.encode(["dial", "browser1", "a secret of the application"])
    signed = body + hmac.digest(issuer._keys.token, body, "sha256")
    with pytest.raises(Refused) as refused:
        redeem(issuer, base64.urlsafe_b64encode(signed).rstrip(b"=").decode())
    assert "secret of" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_used_tokens_are_forgotten_when_they_have_expired() -> None:
    clock = Clock()
    issuer = tokens(clock)
    for _ in range(5):
        redeem(issuer, issue(issuer)[0])
        clock.now += 20
    assert len(issuer._spent) == 3


def test_a_relay_that_cannot_remember_more_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NONCES", 2)
    issuer = tokens()
    redeem(issuer, issue(issuer)[0])
    redeem(issuer, issue(issuer)[0])
    with pytest.raises(Refused, match="LIMIT: too many tunnels were opened just now"):
        redeem(issuer, issue(issuer)[0])


def test_the_resume_secret_keeps_the_owner() -> None:
    issuer = tokens()
    first, resume = issue(issuer)
    again, same = issue(issuer, resume)
    stranger, other = issue(issuer)
    assert same == resume != other
    assert redeem(issuer, first).owner == redeem(issuer, again).owner != redeem(issuer, stranger).owner


def test_one_resume_secret_serves_both_ops_of_an_id() -> None:
    issuer = tokens()
    _, resume = issue(issuer)
    assert issue(issuer, resume, op=Op.LISTEN)[1] == resume


@pytest.mark.parametrize("resume", ["guessed", "A" * 43, "", "é", "A" * 5000])
def test_a_made_up_resume_secret_earns_a_new_one(resume: str) -> None:
    assert issue(tokens(), resume)[1] != resume


def test_a_resume_secret_is_of_one_id_and_one_relay() -> None:
    issuer = tokens()
    _, resume = issue(issuer)
    assert issue(issuer, resume, id="browser2")[1] != resume
    assert issue(tokens(secret=None), resume)[1] != resume


def test_the_token_does_not_hold_the_resume_secret() -> None:
    token, resume = issue(tokens())
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert base64.urlsafe_b64decode(resume + "=" * (-len(resume) % 4)) not in raw
    assert resume not in token


def test_a_short_secret_is_a_mistake() -> None:
    with pytest.raises(RelayConfigError, match="secret has 15 bytes: at least 16"):
        tokens(secret=b"x" * 15)
    issuer = tokens()
    token, _ = issue(issuer)
    with pytest.raises(RelayConfigError, match="secret has 0 bytes: at least 16"):
        issuer.rotate(b"")
    redeem(issuer, token)


def test_grants_that_do_not_fit_into_a_header_are_a_mistake() -> None:
    with pytest.raises(RelayConfigError, match="make a token of"):
        tokens().issue(Op.DIAL, "browser1", "orchestrator", TunnelGrants(rights=("x" * 4000,)))


@pytest.mark.parametrize(
    ("ids", "targets", "permitted"),
    [
        (("browser1",), ("orchestrator",), True),
        (("browser*",), ("*",), True),
        (("browser?",), ("*",), True),
        (("*",), ("*",), True),
        (("browser",), ("*",), False),
        (("Browser1",), ("*",), False),
        (("*",), (), False),
        ((), ("*",), False),
    ],
)
def test_grants_name_ids_and_targets(ids: tuple[str, ...], targets: tuple[str, ...], permitted: bool) -> None:
    assert TunnelGrants(ids=ids, targets=targets).permits("browser1", "orchestrator") is permitted


@pytest.mark.parametrize("field", ["ids", "targets", "rights", "mutate", "read", "payload"])
def test_a_text_in_place_of_patterns_is_refused_with_the_cure(field: str) -> None:
    with pytest.raises(am.InvalidArgs, match=rf"{field} takes several texts .*: write \('page-\*',\)"):
        TunnelGrants(**{field: "page-*"})  # type: ignore[arg-type]


def test_a_dot_in_a_granted_id_is_a_dot() -> None:
    assert not TunnelGrants(ids=("a.b",), targets=("*",)).permits("axb", "t")


def test_a_bracket_in_a_grant_is_a_bracket() -> None:
    assert not TunnelGrants(ids=("[a-z]*",), targets=("*",)).permits("bob", "t")
    assert not TunnelGrants(ids=("*",), targets=("[!x]*",)).permits("bob", "orchestrator")
    assert TunnelGrants(ids=("*",), targets=("[::1]:*",)).permits("bob", "[::1]:14000")
