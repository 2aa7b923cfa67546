"""Wheels for the page: ours, made of what is installed, and the lock file by which Pyodide finds them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from email.parser import Parser
from importlib.metadata import Distribution, distribution
from pathlib import Path

from asyncmachine import AmError

NAME = "asyncmachine"
LOCK = "pyodide-lock.json"
_TIME = (1980, 1, 1, 0, 0, 0)  # the same files make the same bytes
_LOCAL = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
"""What an installer adds."""


class NoWheel(AmError):
    """There is no wheel of ours to be had."""


def own_wheel(folder: Path) -> Path:
    """Write the wheel that this package was installed from into the folder. Raises NoWheel in a checkout."""
    found = distribution(NAME)
    files = dict(sorted(_installed(found)))
    if f"{NAME}/__init__.py" not in files:
        raise NoWheel(f"{NAME} runs from a checkout: its wheel is made by `make setup`")
    info = f"{NAME}-{found.version}.dist-info"
    lines = [f"{name},sha256={_urlsafe(data)},{len(data)}" for name, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()
    digest = hashlib.sha256(files[f"{info}/RECORD"]).hexdigest()[:12]
    target = folder / f"{NAME}-{found.version}-0{digest}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _TIME), data, zipfile.ZIP_DEFLATED)
    return target


def _installed(found: Distribution) -> Iterator[tuple[str, bytes]]:
    for file in found.files or ():
        if file.parts[0] != ".." and "__pycache__" not in file.parts and file.name not in _LOCAL:
            yield file.as_posix(), file.read_binary()


def _urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def write_lock(folder: Path, info: dict[str, str], wheels: Iterable[Path]) -> Path:
    """Write the lock that names these wheels. `info` is that of Pyodide's own lock."""
    entries = {str(entry["name"]): entry for entry in map(lock_entry, wheels)}
    target = folder / LOCK
    target.write_text(json.dumps({"info": info, "packages": entries}, indent=1, sort_keys=True) + "\n")
    return target


def lock_entry(wheel: Path) -> dict[str, object]:
    """Describe a wheel the way Pyodide's loader wants it, from what the wheel says of itself."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata_file = next(name for name in names if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        metadata = Parser().parsestr(archive.read(metadata_file).decode())
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    return {
        "name": metadata["Name"].lower(),
        "version": metadata["Version"],
        "file_name": wheel.name,
        "install_dir": "site",
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "package_type": "package",
        "imports": sorted({name.split("/")[0] for name in names if re.fullmatch(r"[^/]+/__init__\.py", name)}),
        "depends": sorted(re.split(r"[^\w.-]", line, maxsplit=1)[0].lower() for line in required),
        "unvendored_tests": False,
    }
