"""What a machine can be told when it is made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

from asyncmachine.machine.errors import SchemaError, nearest
from asyncmachine.machine.relations import RECORDED
from asyncmachine.machine.rules import Resolver
from asyncmachine.machine.settings import Settings
from asyncmachine.machine.strict import STRICT
from asyncmachine.machine.tracer import Tracer
from asyncmachine.machine.verify import UnknownNames

if TYPE_CHECKING:
    from asyncmachine.machine.view import View

Relations = Literal["recorded", "strict"] | Resolver
"""A shipped resolver by name, or one of your own."""


class Options(TypedDict, total=False):
    """Keywords of `Machine(states, handlers, **options)`.

    `parent` is the machine this one belongs to: it is disposed with it. `names` fixes the order of the states.
    `unknown_names="keep"` drops relations to states that do not exist instead of raising `SchemaError`. `relations`
    picks the resolver: `recorded` (the default) or `strict`.

    A handler that takes longer than `handler_timeout` seconds (1) has its transition broken off and `Exception` added;
    at `handler_deadline` (10) an error is raised inside of it, and mutations are canceled for `handler_backoff` seconds
    (3). `eval_timeout` (1) is how long `eval` waits for its turn while another thread drains. `queue_limit` (1000) is
    how many mutations may wait. `settings` gives all of these at once; what is given beside it counts more.
    """

    id: str
    tags: Iterable[str]
    parent: View[Any] | None
    names: Iterable[str] | None
    queue_limit: int
    handler_timeout: float
    handler_deadline: float
    handler_backoff: float
    eval_timeout: float
    tracers: Iterable[Tracer]
    relations: Relations
    unknown_names: UnknownNames
    settings: Settings


DEFAULTS: Final = Settings()
RESOLVERS: Final[dict[str, Resolver]] = {"recorded": RECORDED, "strict": STRICT}
KNOWN: Final = frozenset(Options.__annotations__)


def check_options(options: Options) -> None:
    """Raises `TypeError` for a keyword that is none."""
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        hint = nearest(unknown[0], KNOWN)
        cure = f"did you mean {hint}?" if hint else f"known are {', '.join(sorted(KNOWN))}"
        raise TypeError(f"Machine has no option {unknown[0]!r}; {cure}")


def resolver_of(relations: Relations) -> Resolver:
    """The resolver that a name stands for. Raises `SchemaError` for an unknown name."""
    if not isinstance(relations, str):
        return relations
    found = RESOLVERS.get(relations)
    if found is None:
        raise SchemaError(f"relations must be 'recorded', 'strict' or a resolver, got {relations!r}")
    return found
