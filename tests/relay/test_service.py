"""A relay as a program, as far as it can be seen without one: its times, and what it warns of."""

from __future__ import annotations

import pytest

from asyncmachine_relay.config import LONGEST_DRAIN, Operation
from asyncmachine_relay.service import CLOSING, IN_TIME, PARTING, dropping, parting


@pytest.mark.parametrize("drain", [0, 0.2, 5, Operation().drain, LONGEST_DRAIN])
def test_draining_closing_and_sending_on_end_together_in_time(drain: float) -> None:
    dropped = dropping(drain)
    assert dropped >= drain + 1, "a closing handshake has a second"
    assert dropped + parting(dropped) <= IN_TIME < 9.5
    assert parting(dropped) >= PARTING
    assert parting(0.1) == 1, "who is early gives others their time"
    assert dropping(1) == 1 + CLOSING
