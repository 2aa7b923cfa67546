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
    _debug: bool
    _task_factory: Any
    _current_handle: asyncio.Handle | None
    _system_exit_handler: Callable[[Any], object] | None
    _keyboard_interrupt_handler: Callable[[], object] | None

    def __init__(self) -> None: ...
    def _install_running_loop(self) -> None: ...
    def _install_asyncgen_hooks(self) -> None: ...
