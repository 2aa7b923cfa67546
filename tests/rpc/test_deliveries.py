"""Payloads until their fate is known."""

from __future__ import annotations

import pytest

from asyncmachine import Outcome
from asyncmachine.rpc.deliveries import MAX_KEPT, MAX_KEPT_BYTES, REMEMBERED, Inbox, Kept, Known, Outbox
from asyncmachine.rpc.errors import CallRefused, Code, DeliveryFailed, TooLarge
from asyncmachine.rpc.remote_result import Delivery


def kept(token: bytes, frame: bytes = b"frame", destination: str = "") -> Kept:
    return Kept(token, "name", frame, destination, Delivery(lambda error: None, None))


def test_payloads_are_kept_in_order_until_they_are_settled() -> None:
    outbox = Outbox()
    first, second = kept(b"1"), kept(b"2")
    outbox.keep(first)
    outbox.keep(second)
    assert list(outbox.of("anybody")) == [first, second]
    outbox.settle(b"1")
    assert first.result.outcome is Outcome.EXECUTED
    assert list(outbox.of("anybody")) == [second]
    outbox.settle(b"1", DeliveryFailed(Code.REFUSED, "too late"))
    assert first.result.outcome is Outcome.EXECUTED
    outbox.settle(b"2", DeliveryFailed(Code.REFUSED, "no"))
    with pytest.raises(DeliveryFailed, match="REFUSED: no"):
        second.result.wait(0)
    assert len(outbox) == 0


def test_a_destination_is_the_only_client_that_may_have_it() -> None:
    outbox = Outbox()
    mine, anybody = kept(b"1", destination="me"), kept(b"2")
    outbox.keep(mine)
    outbox.keep(anybody)
    assert list(outbox.of("me")) == [mine, anybody]
    assert list(outbox.of("you")) == [anybody]


def test_room_is_bounded_in_number_and_bytes() -> None:
    outbox = Outbox()
    for n in range(MAX_KEPT):
        outbox.keep(kept(b"%d" % n))
    with pytest.raises(TooLarge, match="1024"):
        outbox.keep(kept(b"more"))
    outbox.settle(b"0")
    outbox.keep(kept(b"more"))

    full = Outbox()
    frame = bytes(1 << 20)
    for n in range(MAX_KEPT_BYTES // len(frame)):
        full.keep(kept(b"%d" % n, frame))
    with pytest.raises(TooLarge, match=str(MAX_KEPT_BYTES)):
        full.keep(kept(b"more", b"x"))


def test_a_client_gives_each_payload_to_its_consumer_once() -> None:
    inbox = Inbox()
    assert inbox.receive(b"1") is Known.NEW
    assert inbox.receive(b"1") is Known.PENDING
    inbox.settle(b"1")
    assert inbox.receive(b"1") is Known.CONSUMED
    assert inbox.receive(b"1") is Known.CONSUMED, "however often it comes"


def test_a_refusal_is_remembered_with_its_reason() -> None:
    inbox = Inbox()
    assert inbox.receive(b"1") is Known.NEW
    inbox.settle(b"1", CallRefused(Code.REFUSED, "no" * 1000))
    assert inbox.receive(b"1") is Known.REFUSED
    refused = inbox.refusal(b"1")
    assert refused is not None
    assert (refused.code, len(refused.message)) == (Code.REFUSED, 255)
    for n in range(REMEMBERED):  # what is announced and refused was never received
        inbox.settle(b"%d" % (n + 2), CallRefused(Code.TOO_LARGE, "too large"))
    assert inbox.known(b"1") is Known.NEW, "the oldest one is forgotten"


def test_the_last_tokens_are_remembered() -> None:
    inbox = Inbox()
    for n in range(REMEMBERED):
        inbox.receive(b"%d" % n)
        inbox.settle(b"%d" % n)
    assert inbox.receive(b"0") is Known.CONSUMED
    inbox.receive(b"one more")
    assert inbox.receive(b"0") is Known.CONSUMED, "it was used last"
    assert inbox.receive(b"1") is Known.NEW, "the oldest one is forgotten"
