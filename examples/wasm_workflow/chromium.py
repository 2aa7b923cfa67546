"""Chromium without a window: opens a page, keeps what its console says, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory

from asyncmachine import AmError

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")

NO_STACK_SCAN = (
    "--enable-features=StackScanMaxFramePointerToStackEndGap:StackScanMaxFramePointerToStackEndGapThresholdMB/1"
    ",HeapProfilerReporting:stable-probability/0.0/nonstable-probability/0.0"
    ",GwpAsanMalloc:ProcessSamplingProbability/0.0,GwpAsanPartitionAlloc:ProcessSamplingProbability/0.0"
    ",CDPScreenshotNewSurface,SkipListAccountsWithoutGaiaCookies"
)
"""In about one start of a hundred Debian's Chromium 156 notes who allocates memory (its heap profiler, or GWP-ASan).
Its renderer then dies in any Python that a promise can suspend: it looks for callers beyond the end of such a stack.
So it may look no further than a megabyte, and neither is turned on. The last two are Playwright's own, whose switch
this one replaces.
"""

NO_BROWSER_UI = (
    "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup"
    ",AvoidUnnecessaryBeforeUnloadCheckSync,DestroyProfileOnBrowserClose,HttpsUpgrades"
    ",HttpsFirstBalancedModeAutoEnable,LensOverlay,MediaRouter,PaintHolding,ThirdPartyStoragePartitioning"
    ",AvoidCorsURLLoaderRestartOnRedirect,OptimizationHints,NetworkTimeServiceQuerying,AimEnabled,PreconnectToSearch"
)
"""Beside every window Chromium 156 starts two renderers for what its address bar would show: 0.8 s of processor time
that nobody sees, more than a small page takes. After these two stand Playwright's own, whose switch this one replaces.
"""

SWITCHES = (NO_STACK_SCAN, NO_BROWSER_UI)

FLAGS = (
    *SWITCHES,
    "--headless=new",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--enable-logging=stderr",
)

KEPT_LINES = 20

_CONSOLE = re.compile(r"\[.*:CONSOLE[^\]]*\] (.*)")


class NoChromium(AmError):
    """There is no browser to open the page with."""


class Chromium:
    """A browser that runs. `console` has the last lines that the page wrote."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.console: deque[str] = deque(maxlen=KEPT_LINES)

    async def read(self) -> None:
        """Reads what it says until it ends."""
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            found = _CONSOLE.match(line.decode(errors="replace").rstrip())
            if found:
                self.console.append(found[1])


def find() -> str:
    """The browser's path. Raises `NoChromium`."""
    for name in NAMES:
        path = shutil.which(name)
        if path:
            return path
    raise NoChromium("Chromium is not installed: `apt-get install chromium` on Debian, or open the page in any browser")


@asynccontextmanager
async def opened(address: str) -> AsyncIterator[Chromium]:
    """Opens the address. Raises `NoChromium`. The browser and its profile are gone at the end."""
    path = find()
    root = ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()
    with TemporaryDirectory(prefix="wasm-workflow-", ignore_cleanup_errors=True) as folder:
        process = await asyncio.create_subprocess_exec(
            path,
            *FLAGS,
            *root,
            f"--user-data-dir={folder}/profile",
            address,
            env={**os.environ, "TMPDIR": folder},  # it is killed in the end, so it cannot tidy up itself
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 20,
            start_new_session=True,
        )
        chromium = Chromium(process)
        reader = asyncio.create_task(chromium.read())
        try:
            yield chromium
        finally:
            # The browser is a family of processes: all of them are in the session that was started for it.
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            await process.wait()
            await reader
