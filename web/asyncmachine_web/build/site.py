"""A page as a directory that any web server can serve at any path: `am build`, and what a back end calls at its start.

    dist/
      index.html …            the files of the page, in which RELEASE stands for the folder below
      sw.mjs                  the service worker, with the hash of each file of the release
      r-1f0c5a3b9d2e/         our modules, the runtime, the application's Python: of one release, never changed

A release is named for its content. What a page loads has that name in its address, so that files of two releases never
meet; the release before stays for pages that are still open.
"""

from __future__ import annotations

import base64
import filecmp
import hashlib
import json
import re
import shutil
import tempfile
import time
import tomllib
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from asyncmachine import AmError
from asyncmachine_web.build.compress import COPIES, compress
from asyncmachine_web.build.runtime import vendor_folder
from asyncmachine_web.build.sources import pack
from asyncmachine_web.build.static import static_folder

PLACEHOLDER = "__release__"
SOURCES = "app.zip"
WORKER = "sw.mjs"
TELLS = "const RELEASE = "
"""How the service worker begins; the release and its files follow."""

TEXTS = frozenset({".css", ".html", ".js", ".json", ".mjs", ".svg", ".toml", ".txt", ".webmanifest"})
LEFT_OUT = frozenset({*COPIES, ".gz", ".mts", ".ts"})
"""Compressed copies are made beside their files, types are for editors."""

OPTIONAL = frozenset({"pyscript", "uplot"})
"""Libraries that are part of a release only if a file of the page mentions them."""

LATER = r"vendor/(pyodide/python_stdlib\.zip|wheels/.+\.whl|[\w-]+/LICENSE)"
"""What the memory snapshot makes needless for a start: the service worker keeps it when somebody stays."""

RELEASE = re.compile(r"r-[0-9a-f]{12}")
KEPT = 2
"""Releases that stay in a directory that is built again."""
ABANDONED = 3600.0
"""Seconds after which no build is under way any more in a folder that it was made in."""


class NoSite(AmError):
    """The project says nothing, or something wrong, about its page."""


@dataclass(frozen=True)
class Project:
    """What `[tool.asyncmachine.page]` in a project's pyproject.toml says."""

    root: Path
    packages: tuple[str, ...]
    """Python that the page and its workers load: packages or files, from the root."""
    folder: str = "page"
    """Where the page's own files are, from the root."""
    leave_out: tuple[str, ...] = ()
    """What of the packages is the server's alone: see `sources.pack`."""

    @classmethod
    def read(cls, root: Path) -> Project:
        """Raises NoSite."""
        path = root / "pyproject.toml"
        try:
            told = tomllib.loads(path.read_text(encoding="utf-8"))
            said = msgspec.convert(told["tool"]["asyncmachine"]["page"], Told)
        except FileNotFoundError:
            raise NoSite(f"there is no {path}; run this in the project's folder, or make one with `am new`") from None
        except OSError as error:
            raise NoSite(f"{path} cannot be read: {error.strerror}") from None
        except (KeyError, TypeError):
            raise NoSite(f'{path} needs [tool.asyncmachine.page] with packages = ["…"]') from None
        except msgspec.ValidationError as error:
            raise NoSite(f"{path}: {error} in [tool.asyncmachine.page], {KEYS}") from None
        except ValueError as error:  # of TOML, and of the encoding
            raise NoSite(f"{path} cannot be read: {error}") from None
        return cls(root, said.packages, said.folder, said.leave_out)


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That table: names of packages or files, a folder, and patterns of files."""

    packages: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    folder: str = "page"
    leave_out: tuple[str, ...] = ()


KEYS = f"which has {', '.join(Told.__struct_fields__)}"


def build(project: Project, target: Path, *, at_once: bool = False) -> str:
    """Build the page into the folder; the name of the release. Pages that are open keep what they have.

    They ask before they change over, or do so `at_once`: in development a reload shows what was edited.

    Raises NoSite, NoSources, NoRuntime and NodeFailed; the folder is then as it was.
    """
    page = project.root / project.folder
    if not (page / "index.html").is_file():
        raise NoSite(f"there is no index.html in {page}")
    if (page / WORKER).exists():
        raise NoSite(f"{page / WORKER}: the build writes a file of that name, the service worker; call yours otherwise")
    _check_target(project, target)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NoSite(f"{target} cannot be made a folder: {error.strerror}") from None
    _sweep(target)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as made:
        sources = pack(project.root, project.packages, Path(made) / SOURCES, leave_out=project.leave_out)
        left_out = {name for name in OPTIONAL if not _mentions(page, f"vendor/{name}/")}
        parts = {**_ours(left_out), SOURCES: sources}
        own = {path.relative_to(page).as_posix(): path for path in sorted(page.rglob("*")) if path.is_file()}
        release = f"r-{_hash_of({**parts, **{f'/{name}': path for name, path in own.items()}})}"
        site = Path(made) / "site"
        _lay_out(site / release, parts)
        for name, path in own.items():
            _write(site / name, _named(path, release))
        _write_worker(site, release, at_once=at_once)
        compress(
            [path for path in site.rglob("*") if path.is_file() and not path.with_name(f"{path.name}.br").exists()]
        )
        _put(site, target, release)
    return release


def _check_target(project: Project, target: Path) -> None:
    """Raises NoSite for a folder in which the build would write over what it is made from."""
    place, page = target.resolve(), (project.root / project.folder).resolve()
    sources = [page, *((project.root / name).resolve() for name in project.packages)]
    if page in place.parents or any(place in (source, *source.parents) for source in sources):
        raise NoSite(f"{target} has files that the page is built from: build it into a folder of its own, as dist")


def _sweep(target: Path) -> None:
    """Removes what builds have left that were killed."""
    for path in target.parent.glob(f".{target.name}-*"):
        with suppress(OSError):  # somebody else's
            if path.is_dir() and time.time() - path.stat().st_mtime > ABANDONED:
                shutil.rmtree(path)


def _ours(left_out: Collection[str]) -> dict[str, Path]:
    """Our modules and the runtime without some folders, by their path in the release."""
    static, vendor = static_folder(), vendor_folder()
    found = {path.name: path for path in static.glob("*.mjs") if path.name != WORKER}
    for path in sorted(vendor.rglob("*")):
        name = path.relative_to(vendor)
        hidden = any(part.startswith(".") for part in name.parts)
        wanted = not hidden and path.suffix not in LEFT_OUT and name.parts[0] not in left_out
        if wanted and path.is_file():
            found[f"vendor/{name.as_posix()}"] = path
    return found


def _mentions(page: Path, text: str) -> bool:
    return any(text in path.read_text(errors="replace") for path in page.rglob("*") if path.suffix in TEXTS)


def _hash_of(files: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        digest.update(f"{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _lay_out(folder: Path, files: Mapping[str, Path]) -> None:
    """Copy files, and the compressed copies that are there already."""
    for name, path in files.items():
        _write(folder / name, path.read_bytes())
        for ending in COPIES:
            copy = path.with_name(f"{path.name}{ending}")
            if copy.is_file() and copy.stat().st_mtime >= path.stat().st_mtime:
                _write(folder / f"{name}{ending}", copy.read_bytes())


def _named(path: Path, release: str) -> bytes:
    data = path.read_bytes()
    return data.replace(PLACEHOLDER.encode(), release.encode()) if path.suffix in TEXTS else data


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _write_worker(site: Path, release: str, *, at_once: bool) -> None:
    files = {path.relative_to(site).as_posix(): _integrity(path) for path in _served(site)}
    later = [name for name in files if re.fullmatch(rf"{release}/{LATER}", name)]
    told = json.dumps({"version": release, "atOnce": at_once, "later": later, "files": files}, indent=1, sort_keys=True)
    code = (static_folder() / WORKER).read_text()
    (site / WORKER).write_text(f"{TELLS}{told};\n\n{code}")


def _served(site: Path) -> Iterator[Path]:
    """What visitors may ask for. Web servers keep hidden files back, and use some themselves."""
    for path in sorted(site.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(site).parts if part != ".well-known")
        if path.is_file() and path.suffix not in LEFT_OUT and not hidden:
            yield path


def _integrity(path: Path) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()}"


def _put(site: Path, target: Path, release: str) -> None:
    """The release first, then the page that names it, the service worker last."""
    place = target / release
    if not place.is_dir():
        (site / release).rename(place)
    else:
        _repair(place, site / release)
    place.touch()  # the newest, also when it was here before
    names = [path.relative_to(site) for path in sorted(site.rglob("*")) if path.is_file()]
    own = [name for name in names if name.parts[0] != release]
    _drop_old(target, set(own))
    for name in sorted(own, key=lambda name: (name.name.startswith(WORKER), name)):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).replace(target / name)
    found = [path for path in target.iterdir() if RELEASE.fullmatch(path.name) and path.is_dir()]
    older = sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
    for path in older[KEPT:]:
        shutil.rmtree(path)


def _repair(place: Path, made: Path) -> None:
    """A release that is there already may have lost something, or have been changed by hand."""
    for file in made.rglob("*"):
        there = place / file.relative_to(made)
        if file.is_file() and not (there.is_file() and filecmp.cmp(file, there, shallow=False)):
            there.parent.mkdir(parents=True, exist_ok=True)
            file.replace(there)


def _drop_old(target: Path, own: Collection[Path]) -> None:
    """What the build before made of the page and this one does not: files that are gone, copies of what is small now.

    Nothing else: a directory may have files of somebody else.
    """
    for file in {*own, *_made_before(target)}:
        for name in (file, *(file.with_name(f"{file.name}{ending}") for ending in COPIES)):
            if name not in own and (target / name).is_file():
                (target / name).unlink()
                for folder in list(name.parents)[:-1]:
                    if not any((target / folder).iterdir()):
                        (target / folder).rmdir()


def _made_before(target: Path) -> list[Path]:
    """The page's own files, as the service worker there has them."""
    try:
        told, _ = json.JSONDecoder().raw_decode((target / WORKER).read_text().removeprefix(TELLS))
        names = [Path(name) for name in told["files"]]
    except (FileNotFoundError, UnicodeDecodeError, ValueError, TypeError, KeyError):
        return []
    return [name for name in names if name.parts and not {"/", ".."} & {*name.parts} and name.parts[0][:2] != "r-"]
