"""What a page loads and we did not write: in a checkout what `make setup` vendored, else got once into a cache.

Libraries come from npm and native wheels from Python's index, through the ordinary clients, by the versions and hashes
that are pinned in `npm/` (the same that the checkout uses). The cache is shared by all projects; one of its folders is
complete or not there, and holds what one version of this package needs. Whoever makes a new one removes those that no
process has used for a month.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from asyncmachine import AmError
from asyncmachine.helpers.file_locks import share, take
from asyncmachine_web.build.compress import compress, possible
from asyncmachine_web.build.snapshot import snapshot
from asyncmachine_web.build.static import static_folder
from asyncmachine_web.build.wheels import LOCK, own_wheel, write_lock

PINS = Path(__file__).parent / "npm"

LIT = (
    "lit-html.js",
    "directive.js",
    "directive-helpers.js",
    "directives/repeat.js",
    "directives/unsafe-html.js",
)
"""What `kinds.mjs` imports, and what these import; `scripts/vendor.py` copies the same."""

LIBRARIES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("pyodide", "pyodide", ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip")),
    ("pyscript", "@pyscript/core/dist", ("*.js", "*.css", "../LICENSE")),
    ("lit-html", "lit-html", (*LIT, "LICENSE")),
    ("signals", "@preact/signals-core/dist", ("signals-core.mjs", "../LICENSE")),
    ("uplot", "uplot/dist", ("uPlot.esm.js", "uPlot.min.css", "../LICENSE")),
)
"""Folder in `vendor/`, folder in `node_modules/`, patterns of files (`../`: of the folder above)."""

MARK = "used"
"""A file in each folder of the cache: shared by the processes that use it, and changed when the last of them came."""

UNUSED = 30 * 86_400.0
"""Seconds after which a folder that nobody uses is removed."""

KEY = re.compile(r"[0-9a-f]{16}")


class NoRuntime(AmError):
    """The runtime could not be got, with the reason and the cure."""


@dataclass(frozen=True)
class Pinned:
    """A wheel that pip gets for Pyodide."""

    name: str
    version: str
    sha256: str


def vendor_folder() -> Path:
    """The folder to be served as `vendor/` beside our static files; the first call may take minutes.

    Raises NoRuntime when it cannot be got.
    """
    own = static_folder() / "vendor"
    if (own / "pyodide" / "pyodide.mjs").is_file():
        return own
    home = cache_folder() / key()
    if not _use(home):
        _fill(home)
        _use(home)
        _remove_unused(home.parent)
    return home / "vendor"


def cache_folder() -> Path:
    """Where all projects share what was got: `$AM_CACHE`, or the user's cache folder."""
    chosen = os.environ.get("AM_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "asyncmachine"


def key() -> str:
    """Changes with every file of this package, with every pin, and with the kinds of copies that can be made."""
    digest = hashlib.sha256(" ".join(possible()).encode())
    home = Path(__file__).parents[2]
    for package in ("asyncmachine", "asyncmachine_web"):
        for path in sorted((home / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(home).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


_in_use: set[Path] = set()


def _use(home: Path) -> bool:
    """Whether it is there. Then nobody removes it while this process lives, nor in the month after."""
    vendor = home / "vendor"
    if home in _in_use and vendor.is_dir():
        return True
    try:
        mark = os.open(home / MARK, os.O_WRONLY | os.O_CREAT)
    except OSError:  # it is not there; or nobody may write to the cache, and so nobody removes it
        return vendor.is_dir()
    share(mark)  # waits for whoever is removing it
    if not vendor.is_dir():
        os.close(mark)
        return False
    os.utime(home / MARK)
    _in_use.add(home)
    return True


def _remove_unused(cache: Path) -> None:
    for mark in cache.glob(f"*/{MARK}"):
        if KEY.fullmatch(mark.parent.name) and mark.stat().st_mtime < time.time() - UNUSED:
            file = os.open(mark, os.O_RDONLY)
            if take(file):
                with tempfile.TemporaryDirectory(dir=cache, prefix=".removing-", ignore_cleanup_errors=True) as away:
                    mark.parent.rename(Path(away) / "home")  # at once: a folder is complete or not there
            os.close(file)


def _fill(home: Path) -> None:
    """Make all of it beside its place, then put it there at once."""
    home.parent.mkdir(parents=True, exist_ok=True)
    _tell("Getting the page's runtime. This is done once, and takes a minute or two: the libraries by npm and pip …")
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".making-") as made:
        static = Path(made) / "static"
        shutil.copytree(static_folder(), static)
        vendor = static / "vendor"
        modules = _npm(Path(made) / "npm")
        _copy(modules, vendor)
        _wheels(modules, vendor / "wheels")
        (vendor / "snapshot").mkdir()
        _tell("… a snapshot of Python, ready to start …")
        snapshot(static)
        _tell("… compressed copies.")
        compress([path for path in vendor.rglob("*") if path.is_file()])
        try:
            static.rename(home)
        except OSError:
            if not home.is_dir():  # another process was faster
                raise


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _npm(folder: Path) -> Path:
    """Install exactly what the lock says; the path of `node_modules`."""
    folder.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(PINS / name, folder / name)
    _run(["npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress"], folder, "npm 11")
    return folder / "node_modules"


def _copy(modules: Path, vendor: Path) -> None:
    for target, source, patterns in LIBRARIES:
        for pattern in patterns:
            for path in (modules / source).glob(pattern):
                name = path.name if pattern.startswith("../") else path.relative_to(modules / source)
                place = vendor / target / name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place)


def _wheels(modules: Path, folder: Path) -> None:
    """Ours, and the pinned ones for this Pyodide."""
    folder.mkdir()
    info: dict[str, str] = json.loads((modules / "pyodide" / LOCK).read_text())["info"]
    platform, python = f"pyemscripten_{info['abi_version']}_{info['arch']}", ".".join(info["python"].split(".")[:2])
    for pinned in pins():
        wanted = folder / "wanted.txt"
        wanted.write_text(f"{pinned.name}=={pinned.version} --hash=sha256:{pinned.sha256}\n")
        options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--dest", str(folder), "-r", str(wanted)]
        kind = ["--platform", platform, "--python-version", python]
        _run([sys.executable, "-m", "pip", "download", "--quiet", *options, *kind], folder, "pip")
        wanted.unlink()
    own_wheel(folder)
    write_lock(folder, info, sorted(folder.glob("*.whl")))


def pins() -> list[Pinned]:
    """The wheels that `npm/wheels.json` names."""
    return [Pinned(**entry) for entry in json.loads((PINS / "wheels.json").read_text())]


def _run(command: list[str], folder: Path, tool: str) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise NoRuntime(f"{command[0]} is not installed; the page's runtime is got with {tool}") from error
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout).strip().splitlines()
        raise NoRuntime(f"{' '.join(command[:3])} failed: {' '.join(lines[-3:])}") from error
