"""A store in memory, which fails where a test wants it to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

from asyncmachine_web.page.store import ClaimedMeanwhile, StoreEmptied, StoreFailed, TakenOver


class Disk:
    """What outlives machines. `failure` is raised by whatever is asked for; while `held`, nothing is committed."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}
        self.owner: Opened | None = None
        self.failure: StoreFailed | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.commits = 0
        self.handed: list[dict[str, bytes]] = []
        """What was put by each write, committed or not."""

    def clear(self) -> None:
        """As the person does who clears the site's data: pages that have it open hear of it."""
        self.entries.clear()
        owner, self.owner = self.owner, None
        if owner is not None:
            owner.lost()

    def opened(self) -> Opened:
        return Opened(self)


class Opened:
    """One page's store on the disk."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._seen: Opened | None = None
        self.lost: Callable[[], None] = lambda: None

    async def read(self) -> dict[str, bytes]:
        if self._disk.failure is not None:
            raise self._disk.failure
        self._seen = self._disk.owner
        return dict(self._disk.entries)

    async def claim(self) -> dict[str, bytes]:
        if self._disk.failure is not None:
            raise self._disk.failure
        if self._disk.owner is not self._seen:
            raise ClaimedMeanwhile("another page has it since")
        self._disk.owner = self
        return dict(self._disk.entries)

    def write(self, puts: Mapping[str, bytes], drops: Collection[str]) -> Awaitable[None]:
        self._disk.handed.append(dict(puts))
        return asyncio.ensure_future(self._write(dict(puts), tuple(drops)))

    async def _write(self, puts: dict[str, bytes], drops: tuple[str, ...]) -> None:
        await self._disk.open.wait()
        if self._disk.failure is not None:
            raise self._disk.failure
        if self._disk.owner is None:
            self._disk.owner = self
            raise StoreEmptied("it was cleared")
        if self._disk.owner is not self:
            raise TakenOver("another page has it")
        for key in drops:
            self._disk.entries.pop(key, None)
        self._disk.entries.update(puts)
        self._disk.commits += 1

    def on_lost(self, lost: Callable[[], None]) -> None:
        self.lost = lost

    def close(self) -> None:
        pass
