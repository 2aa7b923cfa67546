"""Names of targets, looked up for `am relay check`."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event

import pytest

from asyncmachine_relay.lookups import doubtful_names, system_lookup
from asyncmachine_relay.reading import parse

KNOWN = {
    "public.test": ["93.184.215.14"],
    "mixed.test": ["93.184.215.14", "10.1.2.3"],
    "metadata.test": ["169.254.169.254"],
    "odd.test": ["93.184.215.14", "nowhere"],
}


def lookup(host: str) -> Sequence[str]:
    if host in KNOWN:
        return KNOWN[host]
    raise OSError(-2, "Name or service not known")


def doubted(host: str, further: str = "") -> str:
    """The warning about this host, empty without one."""
    found = doubtful_names(parse(f"[[targets]]\nname='a'\nhost='{host}'\nport=1\n{further}"), lookup)
    assert [where for where, _ in found] == [("targets", 0, "host")] * len(found)
    return "".join(text for _, text in found)


@pytest.mark.parametrize(
    ("host", "further", "says"),
    [
        ("absent.test", "", "is not known on this computer"),
        ("absent.test", "ops=['listen']\npublic=true", "is not known on this computer"),
        (
            "mixed.test",
            "",
            "means 10.1.2.3 here; the target resolves to a private address that its entry does not list",
        ),
        ("mixed.test", "", 'write networks = ["10.1.2.3"], or its network'),
        ("mixed.test", "networks=['10.2.0.0/16']", "means 10.1.2.3 here"),
        (
            "metadata.test",
            "networks=['169.254.0.0/16']",
            "means 169.254.169.254 here; the target resolves to an address",
        ),
        ("odd.test", "", "means nowhere here; the target's name resolves to no IP address"),
    ],
)
def test_a_name_that_leads_nowhere_or_too_far_is_doubted(host: str, further: str, says: str) -> None:
    warning = doubted(host, further)
    assert warning.startswith(f"warning: target 'a': host '{host}' ")
    assert says in warning


@pytest.mark.parametrize(
    ("host", "further"),
    [
        ("public.test", ""),
        ("mixed.test", "networks=['10.0.0.0/8']"),
        ("mixed.test", "ops=['listen']\npublic=true"),
        ("127.0.0.1", ""),
    ],
)
def test_what_may_be_reached_is_not_doubted(host: str, further: str) -> None:
    assert doubted(host, further) == ""


def test_localhost_is_known() -> None:
    assert doubtful_names(parse("[[targets]]\nname='a'\nhost='localhost'\nport=1\n"), system_lookup) == []


def test_all_names_together_have_as_long_as_one() -> None:
    """Each of the two that hang would take all the time there is; the third is known though it comes after them."""
    over = Event()

    def hanging(host: str) -> Sequence[str]:
        if host.startswith("slow"):
            over.wait()
        return KNOWN["public.test"]

    text = "".join(f"[[targets]]\nname='{name}'\nhost='{name}.test'\nport=1\n" for name in ("slow1", "slow2", "quick"))
    try:
        found = doubtful_names(parse(text), hanging, patience=0.5)
    finally:
        over.set()
    assert [text for _, text in found] == [
        f"warning: target '{name}': host '{name}.test' is not found within 0.5 s" for name in ("slow1", "slow2")
    ]
