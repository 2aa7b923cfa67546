"""What is read from which machine. A client stands for its mirror, and tells whether that is stale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast
from weakref import WeakValueDictionary

from asyncmachine_web.page.bindings import BindingError
from asyncmachine_web.page.reads import Source

if TYPE_CHECKING:
    from asyncmachine.machine.view import View


class Mirrored(Protocol):
    """What a page needs of an `rpc.Client`."""

    machine: Any
    """Has `Ready` while the mirror follows its source, and `SourceAway` while that, a mirror too, is cut off."""
    netmach: Any


Shown: TypeAlias = "View[Any] | Mirrored"


@dataclass(eq=False)
class Ageing:
    """The binding that tells whether a mirror is stale."""

    id: int
    bindings: set[int] = field(default_factory=set)
    """Those that show something of the mirror. It ends with the last of them."""


class Sources:
    """One source for each machine, for as long as a binding has it. `default` is what None stands for."""

    def __init__(self, default: Shown | None) -> None:
        self._default = default
        self._of: WeakValueDictionary[View[Any], Source] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._of)

    def parts(self, shown: Shown | None) -> tuple[View[Any] | None, View[Any] | None]:
        """What is read, and for a mirror the machine that tells whether it is live: a client stands for its mirror."""
        shown = shown if shown is not None else self._default
        mirror = getattr(shown, "netmach", None)
        return (cast("View[Any]", shown), None) if mirror is None else (mirror, cast(Mirrored, shown).machine)

    def machine_of(self, shown: Shown | None) -> View[Any]:
        """Raises BindingError if there is none."""
        machine, _ = self.parts(shown)
        if machine is None:
            raise BindingError("no machine to bind to: give Page(machine) or source=machine")
        return machine

    def source(self, shown: Shown | None) -> Source | None:
        """The one that bindings share. None without a machine, which is enough for a `Value`."""
        machine, link = self.parts(shown)
        if machine is None:
            return None
        source = self._of.get(machine)
        if source is None:
            source = self._of[machine] = Source(machine, stale=self.staleness(link))
        return source

    def staleness(self, link: View[Any] | None) -> Callable[[], bool]:
        """Tells, whenever it is called, if the connection of a mirror is gone, or one behind that."""

        def stale() -> bool:
            source = self.source(link)
            if source is None or not source.is_("Ready"):
                return True
            return source.machine.has("SourceAway") and source.is_("SourceAway")

        return (lambda: False) if link is None else stale
