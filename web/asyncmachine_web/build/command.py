"""`am new app NAME` and `am build`."""

from __future__ import annotations

import argparse
from pathlib import Path

from asyncmachine_web.build.scaffold import new_app
from asyncmachine_web.build.site import Project, build


def configure_new(parser: argparse.ArgumentParser) -> None:
    """Adds the kinds of projects."""
    parser.description = "Make a new project: `am new app NAME`."
    kinds = parser.add_subparsers(required=True, metavar="KIND")
    app = kinds.add_parser("app", help="a page, a worker and a back end that run with one command")
    app.add_argument("name", metavar="NAME", help="of the folder and of the Python package in it")
    app.add_argument("--in", dest="parent", metavar="DIR", type=Path, default=Path(), help="where (default: here)")
    app.set_defaults(run=_new_app)


def configure_build(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a build."""
    parser.description = "Build the page of a project into a directory that any web server can serve at any path."
    parser.add_argument("project", metavar="DIR", type=Path, nargs="?", default=Path(), help="default: here")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, help="default: dist in the project")
    parser.set_defaults(run=_build)


def steps(root: Path, name: str) -> str:
    """What to do with a new project."""
    return f"""\
  cd {root}
  pip install -r requirements-dev.txt   (requirements.txt, and pytest)
  python -m {name}                      (open the printed address)
  python -m pytest"""


def _new_app(options: argparse.Namespace) -> int:
    root = new_app(options.name, options.parent)
    print(f"{root} is there. Next, best in a virtual environment (.venv) of its own:\n{steps(root, options.name)}")
    return 0


def _build(options: argparse.Namespace) -> int:
    target = options.output or options.project / "dist"
    release = build(Project.read(options.project), target)
    size = sum(path.stat().st_size for path in (target / release).rglob("*") if path.is_file())
    print(f"{target}: release {release}, {size / 1e6:.1f} MB")
    return 0
