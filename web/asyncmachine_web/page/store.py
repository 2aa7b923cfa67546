"""Where the records of a durable machine are: bytes by key, in the browser's IndexedDB.

IndexedDB and not the origin's private file system: a commit that waits for the disk takes 1.4 ms against 5.9 ms for
a file that a page can write, several pages may have it open, and a transaction is whole or not at all. (A file in a
worker takes 0.4 ms, but belongs to one worker alone, and pages would need that worker.) `bench.browser` measures it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Protocol

import asyncmachine as am
from asyncmachine_web.page.given import need
from asyncmachine_web.page.place import own


class StoreFailed(am.AmError):
    """The browser does not keep it."""

    state = "ErrStore"


class StorageFull(StoreFailed):
    """There is no room: the disk is full, or this origin has had its share."""

    state = "ErrFull"


class StorageBlocked(StoreFailed):
    """The page may not keep anything, because of the person's settings or of how it is embedded."""

    state = "ErrBlocked"


class TakenOver(StoreFailed):
    """Another page has opened the same machine since, and is the one that writes."""

    state = "ErrTakenOver"


class StoreEmptied(StoreFailed):
    """The site's data were cleared, by the person or the browser. Of the pages that are open the newest writes on."""


class ClaimedMeanwhile(StoreFailed):
    """Another page has claimed the records since they were read here: they are to be read again."""


class Store(Protocol):
    """The records of one machine. All errors are `StoreFailed`."""

    async def read(self) -> dict[str, bytes]:
        """All records, whoever has them."""

    async def claim(self) -> dict[str, bytes]:
        """Takes the records over from whoever had them at the last `read`, and reads all.

        Raises `ClaimedMeanwhile` and changes nothing if another page has them since.
        """

    def write(self, puts: Mapping[str, bytes], drops: Collection[str]) -> Awaitable[None]:
        """Begins to write at once; awaited, it is on disk. All of it is, or nothing.

        Raises `StoreEmptied` once when what it goes on from is no longer there.
        """

    def on_lost(self, lost: Callable[[], None]) -> None:
        """Calls `lost` when the browser has taken the records away: they may have been cleared."""

    def close(self) -> None:
        """Lets go of what would keep the page out of the back/forward cache; the next call takes it again."""


FAILURES: Mapping[str, Callable[[str], StoreFailed]] = {
    "QuotaExceededError": StorageFull,
    "SecurityError": StorageBlocked,
    "ReferenceError": StorageBlocked,  # there is no IndexedDB
    "TypeError": StorageBlocked,  # it is null
    "TakenOver": TakenOver,
    "Emptied": StoreEmptied,
    "ClaimedMeanwhile": ClaimedMeanwhile,
}
"""By the name of the error in JavaScript; all others are `StoreFailed`."""


class IndexedDb:
    """The store of this browser, shared by all pages of the application."""

    def __init__(self, id: str) -> None:
        need("durable.open()", "records", "base")
        from asyncmachine_js import records

        self._records = records(own(id))

    async def read(self) -> dict[str, bytes]:
        return await self._read(claim=False)

    async def claim(self) -> dict[str, bytes]:
        return await self._read(claim=True)

    async def _read(self, *, claim: bool) -> dict[str, bytes]:
        from pyodide.ffi import JsException

        try:
            found = await self._records.read(claim)
        except JsException as error:
            raise failure(error) from None
        return {key: value.to_bytes() for key, value in found}

    def write(self, puts: Mapping[str, bytes], drops: Collection[str]) -> Awaitable[None]:
        from pyodide.ffi import to_js

        return self._written(self._records.write(to_js([[key, puts[key]] for key in puts]), to_js(list(drops))))

    def on_lost(self, lost: Callable[[], None]) -> None:
        from pyodide.ffi import create_proxy

        self._records.lost = create_proxy(lost)

    def close(self) -> None:
        self._records.close()

    async def _written(self, writing: Awaitable[None]) -> None:
        from pyodide.ffi import JsException

        try:
            await writing
        except JsException as error:
            raise failure(error) from None


def failure(error: Any) -> StoreFailed:
    """What an error of JavaScript is here."""
    return FAILURES.get(error.name, StoreFailed)(f"{error.name}: {error.message}")
