"""Eight threads at one machine for as long as the night allows: nothing is lost, nobody waits for ever."""

from __future__ import annotations

import threading
from collections import Counter
from random import Random

import pytest

import asyncmachine as am
from tests.rounds import Rounds


@pytest.mark.nightly
def test_no_thread_loses_a_mutation_or_a_wait(rounds: Rounds) -> None:
    for seed in rounds:
        seen: list[tuple[int, int]] = []
        machine = am.Machine(
            {"Hit": {"multi": True}, "Other": {}},
            {"HitState": lambda e, seen=seen: seen.append((e.raw_args["thread"], e.raw_args["n"]))},
        )

        def work(thread: int, machine: am.Machine[str] = machine, seed: int = seed) -> None:
            chance = Random(seed + thread)
            for n in range(100):
                wait = machine.when_ticks("Hit", 1)
                assert machine.add("Hit", thread=thread, n=n).wait(30).executed
                wait.wait(30)
                if chance.random() < 0.2:
                    machine.toggle("Other")
                if chance.random() < 0.1:
                    machine.eval(lambda: machine.queue_len)

        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(60)
        assert Counter(seen) == Counter((thread, n) for thread in range(8) for n in range(100)), f"round {seed}"
        assert machine.queue_len == 0
