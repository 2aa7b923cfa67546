"""Which matcher a tunnel gets."""

from __future__ import annotations

import pytest

from asyncmachine_relay import Match, RelayConfigError
from asyncmachine_relay.matchers import first
from tests.relay.support import echo


def test_the_whole_id_has_to_fit_and_the_target_be_equal() -> None:
    match = Match(r"browser\d", "orchestrator", echo)
    assert match.fits("browser1", "orchestrator")
    for name, target in (
        ("browser12", "orchestrator"),
        ("xbrowser1", "orchestrator"),
        ("browser1\n", "orchestrator"),
        ("browser٣", "orchestrator"),
        ("browser1", "orchestrator2"),
        ("browser1", "Orchestrator"),
        ("browser1", "."),
    ):
        assert not match.fits(name, target)


def test_the_first_that_fits_wins() -> None:
    narrow, wide = Match("browser1", "x", echo), Match(".*", "x", echo)
    assert first([narrow, wide], "browser1", "x") is narrow
    assert first([narrow, wide], "browser2", "x") is wide
    assert first([narrow, wide], "browser1", "y") is None
    assert first([], "browser1", "x") is None


def test_an_expression_that_is_none_is_a_mistake() -> None:
    with pytest.raises(RelayConfigError, match=r"ids='browser\[' is no regular expression"):
        Match("browser[", "x", echo)


@pytest.mark.parametrize("target", ["", "x" * 256])
def test_a_target_has_a_length(target: str) -> None:
    with pytest.raises(RelayConfigError, match="must have 1 to 255 characters"):
        Match(".*", target, echo)
