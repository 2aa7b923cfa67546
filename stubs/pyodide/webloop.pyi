import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")

class PyodideFuture(asyncio.Future[_T]):
    def then(
        self, onfulfilled: Callable[[_T], Any] | None, onrejected: Callable[[BaseException], Any] | None = ...
    ) -> Any: ...

class PyodideTask(asyncio.Task[_T]): ...

# For the types' sake. It is one of the same methods, of which those for sockets, pipes and processes raise.
class WebLoop(asyncio.BaseEventLoop):
    def __init__(self) -> None: ...
