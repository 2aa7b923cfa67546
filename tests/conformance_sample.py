"""A scenario line with a bit of everything, for tests of the conformance runner, and ways to spoil it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from tests.conformance.check import Verdict, check
from tests.conformance.load import Json, Line

SCENARIO: Json = {
    "id": "planted",
    "category": "planted",
    "states": ["A", "B", "M", "Exception"],
    "schema": {"A": {}, "B": {"remove": ["A"]}, "M": {"multi": True}},
    "bind": "listed",
    "handlers": {
        "AState": {"do": "mutate", "on": [1], "mutations": [{"op": "add", "states": ["M"]}]},
        "BEnter": {"do": "veto", "on": [2]},
        "MEnd": {"do": "log"},
    },
    "order": "exact",
    "ops": [
        {"op": "add", "states": ["A"]},
        {"op": "when_not", "states": ["A"], "sub": "s1"},
        {"op": "can_add", "states": ["B"]},
        {"op": "set", "states": ["B"]},
        {"op": "add_err", "err": "out of luck"},
        {"op": "remove", "states": ["A", "M"]},
    ],
    "results": [
        {
            "result": "executed",
            "n": 0,
            "time": [1, 0, 1, 0],
            "active": ["M", "A"],
            "qtick": 3,
            "tx": [
                {
                    "type": "add",
                    "called": ["A"],
                    "qtick": 2,
                    "accepted": True,
                    "target": ["A"],
                    "enters": ["A"],
                    "after": [1, 0, 0, 0],
                    "log": ["AState", {"op": "add", "states": ["M"], "result": "queued", "n": 3}],
                },
                {
                    "type": "add",
                    "called": ["M"],
                    "qtick": 3,
                    "accepted": True,
                    "target": ["M", "A"],
                    "enters": ["M"],
                    "after": [1, 0, 1, 0],
                },
            ],
        },
        {"result": "-", "time": [1, 0, 1, 0], "active": ["M", "A"], "qtick": 3, "tx": []},
        {
            "result": "executed",
            "n": 0,
            "time": [1, 0, 1, 0],
            "active": ["M", "A"],
            "qtick": 3,
            "tx": [
                {
                    "type": "add",
                    "called": ["B"],
                    "check": True,
                    "accepted": True,
                    "target": ["B", "M"],
                    "enters": ["B"],
                    "exits": ["A"],
                    "after": [1, 0, 1, 0],
                    "log": ["BEnter"],
                }
            ],
        },
        {
            "result": "canceled",
            "n": 1,
            "time": [1, 0, 1, 0],
            "active": ["M", "A"],
            "qtick": 4,
            "tx": [
                {
                    "type": "set",
                    "called": ["B"],
                    "qtick": 4,
                    "accepted": False,
                    "target": ["B"],
                    "enters": ["B"],
                    "exits": ["M", "A"],
                    "after": [1, 0, 1, 0],
                    "log": ["BEnter"],
                }
            ],
        },
        {
            "result": "executed",
            "n": 0,
            "time": [1, 0, 1, 1],
            "active": ["Exception", "M", "A"],
            "qtick": 5,
            "err": "out of luck",
            "tx": [
                {
                    "type": "add",
                    "called": ["Exception"],
                    "qtick": 5,
                    "accepted": True,
                    "target": ["Exception", "M", "A"],
                    "enters": ["Exception"],
                    "after": [1, 0, 1, 1],
                }
            ],
        },
        {
            "result": "executed",
            "n": 0,
            "time": [2, 0, 2, 1],
            "active": ["Exception"],
            "qtick": 6,
            "err": "out of luck",
            "resolved": ["s1"],
            "tx": [
                {
                    "type": "remove",
                    "called": ["A", "M"],
                    "qtick": 6,
                    "accepted": True,
                    "target": ["Exception"],
                    "exits": ["M", "A"],
                    "after": [2, 0, 2, 1],
                    "log": ["MEnd"],
                }
            ],
        },
    ],
}


def scenario(**changes: Any) -> Json:
    """A copy of the scenario with other top-level fields."""
    return {**copy.deepcopy(SCENARIO), **changes}


def verdict(data: Json) -> Verdict:
    return check(Line("here:1", data))


def planted(path: str, value: object, line: Json = SCENARIO) -> Json:
    """A copy of the line in which the field at the path has the value; without the field if the value is None."""
    data = copy.deepcopy(line)
    *way, last = steps(path)
    found: Any = data
    for step in way:
        found = found[step]
    if value is None:
        del found[last]
    else:
        found[last] = value
    return data


def steps(path: str) -> list[Any]:
    """`results[0].tx` as the keys and indexes that lead there."""
    return [int(part) if part.isdigit() else part for part in path.replace("[", ".").replace("]", "").split(".")]


def leaves(value: object, path: str) -> list[str]:
    """The paths to all fields below; a list of anything but objects is one field."""
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item, f"{path}.{key}")]
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return [leaf for index, item in enumerate(value) for leaf in leaves(item, f"{path}[{index}]")]
    return [path]


def value_at(data: Json, path: str) -> Any:
    found: Any = data
    for step in steps(path):
        found = found[step]
    return found


def altered(value: object) -> object:
    """Another value of the same kind."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return value + "x"
        case list():
            return [*value, "Zed"]
    raise AssertionError(f"no other value for {value!r}")


def written(path: Path, *lines: Json, pack: Any = None) -> Path:
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    path.write_bytes(pack(content) if pack else content)
    return path
