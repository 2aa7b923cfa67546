"""Large payloads in parts: what goes, what has come, and what is no part of it."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmachine.rpc import messages as m
from asyncmachine.rpc.chunks import CHUNK, STEP, WINDOW, Parcel, Partial, Transfer
from asyncmachine.rpc.errors import PeerFault

DATA = bytes(range(256)) * 40


def wanted(parcel: Parcel, received: int = 0) -> Transfer:
    """A transfer that the client has asked for."""
    transfer = Transfer(parcel)
    transfer.check(received)
    transfer.told(received)
    return transfer


def all_of(transfer: Transfer) -> list[m.Chunk]:
    """What may go now."""
    chunks = []
    while (chunk := transfer.next()) is not None:
        transfer.sent(chunk)
        chunks.append(chunk)
    return chunks


def announced(data: bytes = DATA) -> Partial:
    return Partial(m.Payload(b"t", "name", size=len(data)))


def test_a_parcel_goes_in_parts_of_which_the_last_has_the_digest() -> None:
    chunks = all_of(wanted(Parcel(b"t", DATA, 3000)))
    assert [(chunk.offset, len(chunk.data)) for chunk in chunks] == [
        (0, 3000),
        (3000, 3000),
        (6000, 3000),
        (9000, 1240),
    ]
    assert [len(chunk.sha256) for chunk in chunks] == [0, 0, 0, 32]
    assert chunks[-1].sha256 == sha256(DATA).digest()
    assert b"".join(chunk.data for chunk in chunks) == DATA


def test_nothing_goes_before_it_is_wanted() -> None:
    assert Transfer(Parcel(b"t", DATA)).next() is None


def test_no_more_than_a_window_is_on_its_way() -> None:
    parcel = Parcel(b"t", bytes(4 * WINDOW))
    transfer = wanted(parcel)
    assert len(all_of(transfer)) * CHUNK == WINDOW
    transfer.told(CHUNK)
    assert [chunk.offset for chunk in all_of(transfer)] == [WINDOW]
    assert not transfer.is_sent


@pytest.mark.parametrize("chunk", [1000, CHUNK, m.LARGEST_CHUNK - 1, m.LARGEST_CHUNK])
def test_a_sender_never_waits_for_what_the_receiver_does_not_tell(chunk: int) -> None:
    data = bytes(5 * WINDOW + 17)
    transfer, partial = wanted(Parcel(b"t", data, chunk)), announced(data)
    while not transfer.is_sent:
        went = all_of(transfer)
        assert went, "both wait for the other"
        for each in went:
            partial.check(each)
            partial.take(each)
            if partial.is_due:
                transfer.told(partial.tells())
    assert partial.is_intact(sha256(data).digest())


def test_a_second_client_may_be_anywhere_in_it() -> None:
    parcel = Parcel(b"t", DATA, 3000)
    first, second = wanted(parcel), wanted(parcel)
    for transfer in (first, first, second):
        chunk = transfer.next()
        assert chunk is not None
        transfer.sent(chunk)
    assert all_of(first)[-1].sha256 == all_of(second)[-1].sha256 == sha256(DATA).digest()
    again = wanted(parcel, 9001)
    assert [(chunk.offset, chunk.data) for chunk in all_of(again)] == [(9001, DATA[9001:])]


def test_a_client_cannot_have_what_was_not_sent() -> None:
    parcel = Parcel(b"t", DATA, 3000)
    with pytest.raises(PeerFault, match="1 bytes of a payload are acknowledged, of 0 to 0"):
        Transfer(parcel).check(1)
    transfer = wanted(parcel)
    all_of(transfer)
    transfer.told(3000)
    for received in (2999, len(DATA) + 1):
        with pytest.raises(PeerFault, match="acknowledged"):
            transfer.check(received)
    transfer.check(3000)
    with pytest.raises(PeerFault, match="acknowledged"):
        Transfer(parcel).check(len(DATA))  # who has all of it does not ask for more


@pytest.mark.parametrize(
    ("chunk", "complaint"),
    [
        (m.Chunk(b"t", 0, b"x"), "begins at byte 0, 10 have come"),
        (m.Chunk(b"t", 11, b"x"), "begins at byte 11, 10 have come"),
        (m.Chunk(b"t", 10, bytes(91), bytes(32)), "ends at byte 101 of a payload of 100"),
        (m.Chunk(b"t", 10, bytes(90)), "a digest of 0 bytes"),
        (m.Chunk(b"t", 10, bytes(90), bytes(31)), "a digest of 31 bytes"),
        (m.Chunk(b"t", 10, bytes(89), bytes(32)), "a digest of 32 bytes"),
    ],
)
def test_what_is_not_the_next_part_is_a_fault(chunk: m.Chunk, complaint: str) -> None:
    partial = announced(bytes(100))
    partial.take(m.Chunk(b"t", 0, bytes(10)))
    with pytest.raises(PeerFault, match=complaint):
        partial.check(chunk)


def test_data_that_were_changed_are_noticed() -> None:
    partial = announced(b"data")
    assert partial.take(m.Chunk(b"t", 0, b"dada"))
    assert not partial.is_intact(sha256(b"data").digest())


def test_a_receiver_tells_how_far_it_has_come_now_and_then() -> None:
    partial = announced(bytes(4 * STEP))
    told = []
    for offset in range(0, 3 * STEP, CHUNK):
        partial.take(m.Chunk(b"t", offset, bytes(CHUNK)))
        if partial.is_due:
            told.append(partial.tells())
    assert told == [STEP, 2 * STEP, 3 * STEP]


@given(
    st.binary(min_size=1, max_size=3000),
    st.integers(1, 500),
    st.lists(st.integers(0, 8), max_size=30),
)
def test_whatever_is_cut_where_the_data_arrive_as_they_were(data: bytes, chunk: int, cuts: list[int]) -> None:
    parcel, partial, done = Parcel(b"t", data, chunk), announced(data), False
    for after in [*cuts, 3001]:
        transfer = wanted(parcel, partial.tells())
        for _ in range(after):
            found = transfer.next()
            if found is None or done:
                break
            transfer.sent(found)
            partial.check(found)
            done = partial.take(found)
            if done:
                assert partial.is_intact(found.sha256)
        if done:
            break
    assert done
    assert partial.data == data
