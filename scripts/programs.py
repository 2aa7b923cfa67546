"""Programs that a few tests need and most machines lack: nginx and Caddy (`PROXIES=1`), Firefox ESR (`FIREFOX=1`).

Installed in CI and where the variable says so; elsewhere their tests are skipped, and say so. Debian never starts them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROGRAMS = {"PROXIES": ("nginx", "caddy"), "FIREFOX": ("firefox-esr",)}
"""By the variable that asks for them. Each has the name of its Debian package."""
POLICY = Path("/usr/sbin/policy-rc.d")
"""While this says 101, an installed service is not started."""


def wanted(environ: dict[str, str]) -> list[str]:
    """What this run is to install if it is missing."""
    asked = {name for name, value in environ.items() if value.lower() not in {"", "0", "no", "false"}}
    return [program for name, programs in PROGRAMS.items() if asked & {"CI", name} for program in programs]


def missing(programs: list[str]) -> list[str]:
    """Those that are not there. Debian keeps nginx where only root's PATH leads."""
    return [name for name in programs if shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None]


def main() -> int:
    """Installs what is wanted and missing, where that is possible; else says why not. Never fails."""
    names = missing(wanted(dict(os.environ)))
    if not names:
        return 0
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"{' and '.join(names)} not installed, which takes root and apt; their tests are skipped")
        return 0
    before = POLICY.exists()
    if not before:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        subprocess.run(["apt-get", "update", "-q"], check=False, stdout=subprocess.DEVNULL)
        command = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *names]
        if subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode:
            print(f"apt could not install {' and '.join(names)}; their tests are skipped")
    finally:
        if not before:
            POLICY.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
