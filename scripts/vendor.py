"""`web/static/vendor/`: Pyodide, PyScript and the UI libraries, copied from npm's packages for the relay to serve.

Beside the larger ones lie compressed copies, which the relay sends to browsers that take them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.console import SetupError, run
from scripts.prerequisites import need_node
from scripts.step import Step, hash_files, hash_of


@dataclass(frozen=True)
class Copy:
    """Files of one folder of `node_modules/`, by pattern, into one folder of `vendor/`.

    A pattern that begins with `../` finds files of the folder above, which come to lie among the others.
    """

    target: str
    source: str
    patterns: tuple[str, ...]


# What our modules import, as `asyncmachine_web.build.runtime` has it: an offline page would keep the others too.
LIT = ("lit-html.js", "directive.js", "directive-helpers.js", "directives/repeat.js", "directives/unsafe-html.js")

COPIES = (
    # The stock pyodide-lock.json stays behind: it names packages that npm does not carry. See page_wheels.
    Copy(
        "pyodide",
        "pyodide",
        ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide.d.ts", "ffi.d.ts"),
    ),
    Copy("pyscript", "@pyscript/core/dist", ("*.js", "*.css", "../LICENSE")),
    Copy("lit-html", "lit-html", (*LIT, "*.d.ts", "directives/*.d.ts", "LICENSE")),
    Copy("signals", "@preact/signals-core/dist", ("signals-core.mjs", "signals-core.d.ts", "../LICENSE")),
    Copy("uplot", "uplot/dist", ("uPlot.esm.js", "uPlot.min.css", "uPlot.d.ts", "../LICENSE")),
)


COMPRESSOR = "web/asyncmachine_web/build/compress.py"
COMPRESS = """
import sys
from pathlib import Path
from asyncmachine_web.build import compress
path, *folders = sys.argv[1:]
compress([file for folder in folders for file in Path(folder).rglob("*") if file.is_file()], path=path)
"""


def vendor_folder(root: Path) -> Path:
    """Where everything lies that the page loads and we did not write."""
    return root / "web" / "static" / "vendor"


def vendored_libraries(root: Path) -> Step:
    """The step that copies the libraries."""
    return Step(
        "page libraries in web/static/vendor",
        vendor_folder(root),
        lambda: hash_of(
            (root / "package-lock.json").read_text(), Path(__file__).read_text(), hash_files(root, [root / COMPRESSOR])
        ),
        lambda: copy_and_compress(root),
    )


def copy_and_compress(root: Path) -> None:
    """Do both; the second in a process of its own, since it uses the packages of .venv."""
    vendor = vendor_folder(root)
    copy_all(root / "node_modules", vendor)
    folders = [vendor / copy.target for copy in COPIES]
    run([root / ".venv" / "bin" / "python", "-c", COMPRESS, need_node(root), *folders], "compressed copies", cwd=root)


def copy_all(modules: Path, vendor: Path) -> None:
    """Renew each folder; a folder is complete before it takes the old one's place."""
    for copy in COPIES:
        fresh = vendor / f"{copy.target}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        for source, name in files(modules / copy.source, copy.patterns):
            target = fresh / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        shutil.rmtree(vendor / copy.target, ignore_errors=True)
        fresh.rename(vendor / copy.target)


def files(folder: Path, patterns: tuple[str, ...]) -> Iterator[tuple[Path, Path]]:
    """Yield each file with the name it gets. Raises SetupError for a pattern that finds none.

    Types beside a module `x.mjs` must be called `x.d.mts` to be found.
    """
    for pattern in patterns:
        found = sorted(folder.glob(pattern))
        if not found:
            raise SetupError(f"{folder} has no {pattern}: its version differs from what scripts/vendor.py knows.")
        for path in found:
            name = Path(path.name) if pattern.startswith("../") else path.relative_to(folder)
            module = path.with_name(path.name.removesuffix(".d.ts") + ".mjs")
            typed_module = path.name.endswith(".d.ts") and module.exists()
            yield path, name.with_name(module.stem + ".d.mts") if typed_module else name
