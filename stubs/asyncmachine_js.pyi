# What web/static/boot.mjs gives Python in a page or worker.
from collections.abc import Callable
from typing import Any, Protocol

from asyncmachine_web.page.ui import Surface

class Forked(Protocol):
    port: Any
    def connect(self) -> Any: ...
    def terminate(self) -> None: ...

class Context(Protocol):
    id: str
    main: str
    env: str
    port: Any
    def receive(self, take: Callable[[Any], object]) -> None: ...

class Tab(Protocol):
    def secret(self, id: str) -> str: ...
    def keep(self, id: str, secret: str) -> None: ...

class Ui(Protocol):
    def open(self, flush: Callable[[str], str], emit: Callable[[int, str], None]) -> Surface: ...

ui: Ui  # in a page
context: Context  # in a worker
tab: Tab
discarded: bool
base: str  # address of the folder of boot.mjs

def fork(order: str, tell: Callable[[str, str], None]) -> Forked: ...
def spare(count: int) -> None: ...
def follow(hear: Callable[[str], object]) -> None: ...
def visibility() -> str: ...
