"""Find a Python that is new enough, outside of any virtual environment, and run `scripts.setup` with it.

This file must be understood by the Pythons that it turns away, so its syntax is old on purpose.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

NEEDED = (3, 11)
NEWER = ["python3.{}".format(minor) for minor in range(20, NEEDED[1] - 1, -1)]
PLACES = ["/usr/bin/python3", "/usr/local/bin/python3"]
DEBIAN_CURE = ["apt-get", "install", "-y", "python3", "python3-venv"]


def candidates() -> "list[str]":
    """Pythons to try, best first: the one that runs this, then those on PATH, then where systems keep theirs."""
    base = str(Path(sys.base_prefix) / "bin" / "python3")
    own = sys.executable if sys.prefix == sys.base_prefix else base
    found = [own, *map(shutil.which, NEWER), *PLACES]
    return [path for path in found if path and Path(path).exists()]


def version_of(python: str) -> "tuple[int, int]":
    """Return (major, minor) of the program, or (0, 0) if it does not run."""
    ask = "import sys; print(sys.version_info[0], sys.version_info[1])"
    try:
        answer = subprocess.check_output([python, "-c", ask], stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return (0, 0)
    major, minor = answer.decode().split()
    return (int(major), int(minor))


def choose(pythons: "list[str]", version: "Callable[[str], tuple[int, int]]" = version_of) -> "str | None":
    """Return the first program that is new enough, or None."""
    for python in pythons:
        if version(python) >= NEEDED:
            return python
    return None


def complaint(found: "tuple[int, int]") -> str:
    """Say what is missing and which command cures it. `found` is (major, minor) of the best there is."""
    return (
        "asyncmachine needs Python {}.{} or newer; this one is {}.{}.\n"
        "Install one (Debian 12 and later: {}),\n"
        "or name one that is installed: make PYTHON=/path/to/python3.12 ...".format(
            NEEDED[0], NEEDED[1], found[0], found[1], " ".join(DEBIAN_CURE)
        )
    )


def main() -> None:
    """Replace this process by the setup, run by a Python that will do."""
    python = choose(candidates())
    if python is None and os.geteuid() == 0 and shutil.which("apt-get"):
        sys.stderr.write("Python is too old here: installing Debian's\n")
        subprocess.call(["apt-get", "update"])
        subprocess.call(DEBIAN_CURE)
        python = choose(candidates())
    if python is None:
        sys.exit(complaint(sys.version_info[:2]))
    os.chdir(str(Path(__file__).resolve().parent.parent))
    os.execv(python, [python, "-m", "scripts.setup", *sys.argv[1:]])


if __name__ == "__main__":
    main()
