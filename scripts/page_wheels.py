"""`web/static/vendor/wheels/`: the Python packages of the page, with the lock file Pyodide finds them by.

Pyodide's stock lock names hundreds of packages that npm does not carry. Ours names what is here: the
project's wheel, made anew whenever a source changed, and the few wheels it needs. The project's wheel
carries a piece of its hash in its name (as the build tag), so no cache can hand out an old one.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path

from scripts.console import SetupError, pip, run
from scripts.step import Step, hash_files, hash_of, replace_text
from scripts.vendor import vendor_folder

# msgspec carries the wire; with micropip a page may install wheels of its own.
FOREIGN = ("msgspec", "micropip")
LOCK = "pyodide-lock.json"
WHEELS = "wheels"


def page_wheels(root: Path) -> Step:
    """The step that fills `vendor/wheels/`."""
    home = vendor_folder(root) / WHEELS
    return Step("page wheels in web/static/vendor/wheels", home, lambda: inputs(root), lambda: make(root, home))


def inputs(root: Path) -> str:
    """Hash of all that the wheels and the lock depend on."""
    return hash_of(
        hash_files(root, sources(root)),
        (root / "constraints.txt").read_text(),
        (root / "package-lock.json").read_text(),
        Path(__file__).read_text(),
    )


def sources(root: Path) -> Iterator[Path]:
    """Yield the files that go into the project's wheel or decide what does."""
    wheel = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    left_out = {root / excluded.strip("/") for excluded in wheel["exclude"]}
    yield from (root / name for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"))
    for folder in (root / included.strip("/") for included in wheel["include"]):
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and left_out.isdisjoint((path, *path.parents)):
                yield path


def make(root: Path, home: Path) -> None:
    """Fetch and build what is missing, then let the lock name it, then remove what the lock no longer names."""
    home.mkdir(parents=True, exist_ok=True)
    info = json.loads((root / "node_modules" / "pyodide" / LOCK).read_text())["info"]
    wheels = [build(root, home), *(fetch(root, home, name, info) for name in FOREIGN)]
    packages = {str(entry["name"]): entry for entry in map(lock_entry, wheels)}
    replace_text(home / LOCK, json.dumps({"info": info, "packages": packages}, indent=1, sort_keys=True) + "\n")
    for old in set(home.glob("*.whl")) - set(wheels):
        old.unlink()


def build(root: Path, home: Path) -> Path:
    """Build the project's wheel and name it for its content."""
    with tempfile.TemporaryDirectory(dir=home, prefix=".build-") as folder:
        python = root / ".venv" / "bin" / "python"
        run([python, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], "project's wheel", cwd=root)
        (wheel,) = Path(folder).glob("*.whl")
        name, version, tags = wheel.name.split("-", 2)
        target = home / f"{name}-{version}-0{sha256(wheel)[:12]}-{tags}"
        wheel.replace(target)
    return target


def fetch(root: Path, home: Path, name: str, info: dict[str, str]) -> Path:
    """Return the pinned wheel of a package for this Pyodide, downloading it if it is not there."""
    version = pinned(root / "constraints.txt", name)
    for present in home.glob(f"{name}-{version}-*.whl"):
        return present
    platform = f"pyemscripten_{info['abi_version']}_{info['arch']}"
    python = ".".join(info["python"].split(".")[:2])
    with tempfile.TemporaryDirectory(dir=home, prefix=".fetch-") as folder:
        download = [*pip(root), "download", "--no-deps", "--only-binary=:all:", "--progress-bar=off", "--dest", folder]
        kind = ["--platform", platform, "--python-version", python]
        run([*download, *kind, f"{name}=={version}"], f"{name} for Pyodide", cwd=root)
        (wheel,) = Path(folder).glob("*.whl")
        return wheel.replace(home / wheel.name)


def pinned(constraints: Path, name: str) -> str:
    """Return the version that constraints.txt gives a package."""
    found = re.search(rf"^{re.escape(name)}==(\S+)$", constraints.read_text(), re.MULTILINE)
    if found is None:
        raise SetupError(f"{constraints.name} has no line `{name}==…`, which the page's wheels need.")
    return found[1]


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
        "sha256": sha256(wheel),
        "package_type": "package",
        "imports": sorted({name.split("/")[0] for name in names if re.fullmatch(r"[^/]+/__init__\.py", name)}),
        "depends": sorted(re.split(r"[^\w.-]", line, maxsplit=1)[0].lower() for line in required),
        "unvendored_tests": False,
    }


def sha256(path: Path) -> str:
    """Hash a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
