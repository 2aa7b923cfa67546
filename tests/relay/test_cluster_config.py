"""What a cluster's settings must be, and what is said when they are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asyncmachine_relay import Cluster, RelayConfigError
from asyncmachine_relay.reading import ConfigProblems, parse, read
from asyncmachine_relay.service import check, cluster_of

ON: dict[str, Any] = {"nats": ("tls://nats.internal:4222",), "url": "https://relay-1.internal:12733"}
WHOLE = """
[server]
origins = ["https://app.example"]
secret_file = "relay.secret"
[cluster]
nats = ["nats://127.0.0.1:4222"]
url = "http://127.0.0.1:12733"
"""


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({"nats": ("10.0.0.1:4222",)}, "nats", "must be written as tls://host:4222"),
        ({"nats": ("tls://nats.internal",)}, "nats", "must be written as tls://host:4222"),
        ({"nats": ("nats://nats.internal:4222",)}, "nats", "can be read by others"),
        ({"nats": ("tls://me:word@nats.internal:4222",)}, "nats", "put the word of NATS into token_file"),
        ({"url": ""}, "nats", "url is missing"),
        ({"url": "relay-1"}, "url", "is no origin"),
        ({"url": "http://relay-1.internal"}, "url", "can be read by others"),
        ({"lease": 0.1}, "lease", "must be 0.5 to 300 seconds"),
        ({"bucket": "a b"}, "bucket", "must have 1 to 64"),
        ({"replicas": 2}, "replicas", "must be 1, 3 or 5"),
    ],
)
def test_a_mistake_has_a_cure(given: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(RelayConfigError, match=says) as error:
        Cluster(**{**ON, **given})
    assert error.value.field == field


def test_what_others_could_read_may_be_wanted() -> None:
    assert Cluster(nats=("nats://nats.internal:4222",), url="http://relay-1.internal", insecure=True).on
    assert not Cluster().on


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('origins = ["https://app.example"]\n', "origins is missing"),
        ('secret_file = "relay.secret"\n', "secret_file is missing"),
    ],
)
def test_it_has_one_address_and_one_secret(line: str, says: str) -> None:
    assert parse(WHOLE).cluster.on
    with pytest.raises(ConfigProblems, match=says):
        parse(WHOLE.replace(line, ""))


def test_the_environment_counts_here_too() -> None:
    config = parse(WHOLE, env={"AM_RELAY_CLUSTER_NATS": "nats://127.0.0.1:1, nats://127.0.0.1:2"})
    assert config.cluster.nats == ("nats://127.0.0.1:1", "nats://127.0.0.1:2")


def test_files_that_are_not_there_are_told(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text(f'{WHOLE}token_file = "absent"\n')
    assert any("absent: No such file" in what for _, what in check(read(file)))
    with pytest.raises(RelayConfigError, match="absent"):
        cluster_of(Cluster(**ON, ca_file=tmp_path / "absent.pem"))
