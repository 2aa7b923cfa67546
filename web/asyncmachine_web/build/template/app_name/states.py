"""The states of the three machines. Read this first."""

from __future__ import annotations

from dataclasses import dataclass

import asyncmachine as am
from asyncmachine import rpc


class Guests(rpc.StateSource):
    """On the server: a guest book."""

    Open = am.state()
    Sign = am.state(multi=True, require=Open)
    Signed = am.state(multi=True)


@dataclass(frozen=True)
class Name(am.Args, state="Sign", prefix="app_name"):
    """Comes with `Sign`."""

    text: str


class Primes(rpc.StateSource):
    """In a worker: counts primes."""

    Count = am.state(multi=True)
    Counted = am.state(multi=True)


class Shown(rpc.Consumer):
    """In the page: takes what the others send, and lives as long as the page."""

    Ready = am.state()
