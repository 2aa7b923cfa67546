"""What a memory snapshot has in memory: run once, before it is taken, under node.

Modules are there already when a page asks for them. It need not find, compile and run them, nor download the archives
that they come from: the standard library's, and our wheel, which stands on the path as it is. A native package cannot
be part of a snapshot, and neither can what imports it: of these modules the compiled code is kept. Of a package that
cannot run, the modules that can have run; they are handed out with it. Nothing that runs here may hold on to anything
of JavaScript's.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import linecache
import marshal
import sys
import zipimport
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final, cast
from zipfile import ZipFile

STANDARD: Final = (
    *("asyncio", "base64", "contextlib", "copy", "dataclasses", "datetime", "decimal", "enum", "functools", "hashlib"),
    *("heapq", "html", "importlib.metadata", "inspect", "io", "itertools", "json", "logging", "math", "numbers"),
    *("pathlib", "random", "re", "secrets", "shutil", "string", "struct", "tarfile", "textwrap", "time", "traceback"),
    *("types", "typing", "urllib.parse", "uuid", "weakref", "zipfile"),
)
"""Of the standard library: what Pyodide, PyScript, msgspec and we use, and what applications often do."""

OURS: Final = ("asyncmachine/", "asyncmachine_web/page/")
"""What of our wheel is meant for pages."""

NATIVE: Final = ("msgspec",)

LIBRARY: Final = "/lib/python314.zip"
"""Where the standard library is found."""


class CompiledFinder(MetaPathFinder):
    """Finds modules whose code is there, each until it is run."""

    def __init__(self, wheel: str) -> None:
        self.wheel = wheel
        self.found: dict[str, tuple[str, bytes]] = {}
        """File and marshalled code by name."""
        self.made: dict[str, dict[str, ModuleType]] = {}
        """By package, modules in it that have run already."""

    def add(self, name: str, file: str, code: CodeType) -> None:
        self.found[name] = file, marshal.dumps(code)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        found = self.found.get(fullname)
        if found is None:
            return None
        return spec_from_file_location(fullname, found[0], loader=CompiledLoader(self, fullname))

    def hand_out(self, package: ModuleType) -> None:
        """What has run of a package that is about to run: as if it had been imported just now."""
        made = self.made.pop(package.__name__, {})
        sys.modules.update(made)
        for name, module in made.items():
            above, _, tail = name.rpartition(".")
            setattr(sys.modules[above], tail, module)


class CompiledLoader(SourceFileLoader):
    """Runs the code that is there."""

    def __init__(self, finder: CompiledFinder, name: str) -> None:
        file, self._code = finder.found[name]
        super().__init__(name, file)
        self._finder = finder

    def exec_module(self, module: ModuleType) -> None:
        self._finder.found.pop(module.__name__, None)
        self._finder.hand_out(module)
        super().exec_module(module)

    def get_code(self, fullname: str) -> CodeType:
        return cast(CodeType, marshal.loads(self._code))  # noqa: S302

    def get_data(self, path: str) -> bytes:
        if path.startswith(self._finder.wheel):
            return zipimport.zipimporter(self._finder.wheel).get_data(path)
        return super().get_data(path)


def preload(wheel: str) -> None:
    """`wheel` is the path of ours; native packages are installed."""
    for name in STANDARD:
        importlib.import_module(name)
    finder = CompiledFinder(wheel)
    for package in NATIVE:
        for name, path in _modules(package):
            finder.add(name, str(path), compile(path.read_bytes(), str(path), "exec", dont_inherit=True))
        sys.modules[package] = None  # type: ignore[assignment]  # that none of it runs
    barred = set(NATIVE)
    hollow: dict[str, str] = {}
    with ZipFile(wheel) as archive, _compiled_once():
        for file in sorted(archive.namelist()):
            if file.startswith(OURS) and file.endswith(".py"):
                name = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
                with _standing_in(hollow if _is_within(name, hollow) else {}):
                    imported = _imported(name)
                if not imported:
                    finder.add(name, f"{wheel}/{file}", _code_of(name, wheel))
                    barred.add(name)
                    sys.modules[name] = None  # type: ignore[assignment]  # what asks for it fails at once
                    if file.endswith("/__init__.py"):
                        hollow[name] = f"{wheel}/{file.removesuffix('/__init__.py')}"
    for name in barred:
        del sys.modules[name]
    for name in [name for name in sys.modules if _is_within(name, hollow)]:
        package = max((package for package in hollow if _is_within(name, [package])), key=len)
        finder.made.setdefault(package, {})[name] = sys.modules.pop(name)
    sys.meta_path.insert(0, finder)
    _keep({LIBRARY, wheel})
    _show_no_lines_of((LIBRARY, wheel))
    gc.collect()
    gc.freeze()  # none of it ever goes: a page's garbage collector would look through all of it, while it starts too


def _imported(name: str) -> bool:
    before = set(sys.modules)
    try:
        importlib.import_module(name)
    except ImportError:
        for half in set(sys.modules) - before:
            del sys.modules[half]
        return False
    return True


def _is_within(name: str, packages: Iterable[str]) -> bool:
    return any(name.startswith(f"{package}.") for package in packages)


def _code_of(name: str, wheel: str) -> CodeType:
    """As it was compiled when the import was tried."""
    folder, _, _ = f"{wheel}/{name.replace('.', '/')}".rpartition("/")
    return zipimport.zipimporter(folder).get_code(name)


@contextmanager
def _standing_in(packages: Mapping[str, str]) -> Iterator[None]:
    """Empty packages by name, in which modules are found by the path of their folder. No module may keep one."""
    for name, folder in packages.items():
        stand_in = ModuleType(name)
        stand_in.__path__ = [folder]
        sys.modules[name] = stand_in
    yield
    for name in packages:
        sys.modules[name] = None  # type: ignore[assignment]


@contextmanager
def _compiled_once() -> Iterator[None]:
    """What fails for a native package takes others with it: these are run anew, and need not be compiled anew, too."""
    get_code = zipimport.zipimporter.get_code
    known: dict[tuple[str, str], CodeType] = {}

    def remembered(importer: zipimport.zipimporter, fullname: str) -> CodeType:
        key = importer.archive, fullname
        if key not in known:
            known[key] = get_code(importer, fullname)
        return known[key]

    zipimport.zipimporter.get_code = remembered  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        zipimport.zipimporter.get_code = get_code  # type: ignore[method-assign]


def _modules(package: str) -> Iterator[tuple[str, Path]]:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    for file in Path(spec.origin).parent.glob("*.py"):
        yield package if file.stem == "__init__" else f"{package}.{file.stem}", file


def _keep(archives: set[str]) -> None:
    """These never change: what is in them need not be read again after a package was installed."""
    forget = zipimport.zipimporter.invalidate_caches

    def invalidate_caches(importer: zipimport.zipimporter) -> None:
        if importer.archive not in archives:
            forget(importer)

    zipimport.zipimporter.invalidate_caches = invalidate_caches  # type: ignore[assignment, method-assign]


def _show_no_lines_of(archives: tuple[str, ...]) -> None:
    """In tracebacks: one alone would download an archive while all else stands still, for as long as a network that is
    just failing takes to say so, and again for the next error. File and line are told anyway.
    """
    known = linecache.lazycache

    def lazycache(filename: str, module_globals: dict[str, object]) -> bool:
        return not filename.startswith(archives) and known(filename, module_globals)

    linecache.lazycache = lazycache
