"""nginx and Caddy for `tests/relay/test_proxies.py`: installed in CI and with `PROXIES=1`, never started by Debian."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROGRAMS = ("nginx", "caddy")
POLICY = Path("/usr/sbin/policy-rc.d")
"""While this says 101, an installed service is not started."""


def wanted(environ: dict[str, str]) -> bool:
    """Whether this run is one that installs them."""
    return any(environ.get(name, "").lower() not in {"", "0", "no", "false"} for name in ("CI", "PROXIES"))


def missing() -> list[str]:
    """Those that are not there. Debian keeps nginx where only root's PATH leads."""
    return [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None]


def main() -> int:
    """Installs what is missing, if that is wanted and possible; else says why not. Never fails."""
    names = missing()
    if not names or not wanted(dict(os.environ)):
        return 0
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"proxies: {' and '.join(names)} not installed, which takes root and apt; their tests are skipped")
        return 0
    before = POLICY.exists()
    if not before:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        subprocess.run(["apt-get", "update", "-q"], check=False, stdout=subprocess.DEVNULL)
        command = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *names]
        if subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode:
            print(f"proxies: apt could not install {' and '.join(names)}; their tests are skipped")
    finally:
        if not before:
            POLICY.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
