"""What must not be committed is found; forbidden texts are put together here, for this file is looked at as well."""

from __future__ import annotations

import pytest

from scripts.tree_rules import LARGEST, problems


@pytest.mark.parametrize(
    "line",
    [
        "see https://" + "pypi" + ".org/project/x",
        "https://registry." + "npmjs" + ".org/x",
        "pip install --index" + "-url=https://mirror/simple",
        "pip install --find" + "-links wheels",
        '      "resol' + 'ved": "https://somewhere/x.tgz",',
        "registry" + "=https://somewhere",
        "open('/wor" + "k/main/x')",
        "cd /ro" + "ot/x",
        "/ho" + "me/ann/project/",
    ],
)
def test_addresses_and_machine_paths_are_found(line: str) -> None:
    (problem,) = problems("file", b"first\n" + line.encode() + b"\n")
    assert problem.startswith("file:2: ")


@pytest.mark.parametrize(
    "line",
    ["pip install msgspec==0.22.0", "./work/done", "the root/of/it", "network/home/", '"resolved": 3', "tests/work/a"],
)
def test_other_text_is_fine(line: str) -> None:
    assert list(problems("file", line.encode())) == []


def test_large_files_are_found_and_binary_ones_not_read() -> None:
    path = ("/wor" + "k/x").encode()
    (problem,) = problems("data", b"\0" + path + b" " * LARGEST)
    assert "1,500,000" in problem
