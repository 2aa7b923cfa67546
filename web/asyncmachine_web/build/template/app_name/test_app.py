"""What the machines do needs no browser to be tested."""

from __future__ import annotations

import asyncmachine as am

from .backend import GuestHandlers
from .states import Guests, Name
from .worker import count_primes


def test_guests_sign_while_the_book_is_open() -> None:
    handlers = GuestHandlers()
    guests = am.Machine(Guests, handlers)
    assert guests.add(Guests.Sign, Name("Ada")).canceled
    guests.add(Guests.Open)
    assert guests.add(Guests.Sign, Name("Ada")).executed
    assert guests.add(Guests.Sign, Name(" ")).canceled
    assert handlers.newest(20) == [{"id": 0, "name": "Ada"}]
    assert guests.tick(Guests.Signed) == 1


def test_primes_are_counted() -> None:
    assert [count_primes(limit) for limit in (0, 1, 2, 3, 10, 100)] == [0, 0, 0, 1, 4, 25]
