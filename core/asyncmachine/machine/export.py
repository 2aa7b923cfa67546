"""A machine's time as plain data, to be kept and given to a machine of the same schema later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from asyncmachine.machine.errors import SchemaError


@dataclass(frozen=True, slots=True)
class Export:
    """Ticks by position, with the names they belong to. `machine_tick` counts how often the machine was restored."""

    id: str
    state_names: tuple[str, ...]
    time: tuple[int, ...]
    queue_tick: int
    machine_tick: int

    def to_dict(self) -> dict[str, Any]:
        """The fields as lists, texts and ints."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Export:
        """The record of `to_dict`. Raises `SchemaError` for anything that does not fit."""
        try:
            found = cls(
                id=str(data["id"]),
                state_names=tuple(map(str, data["state_names"])),
                time=tuple(map(int, data["time"])),
                queue_tick=int(data["queue_tick"]),
                machine_tick=int(data["machine_tick"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SchemaError(f"not an exported machine: {error!r}") from error
        if len(found.state_names) != len(found.time):
            raise SchemaError(f"export has {len(found.state_names)} names and {len(found.time)} ticks")
        if any(tick < 0 for tick in found.time) or found.queue_tick < 1 or found.machine_tick < 0:
            raise SchemaError("export has ticks below zero")
        return found
