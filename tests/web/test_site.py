"""A built page: what its directory has, how a release is named, and what stays of the one before."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from asyncmachine_tools.main import main
from asyncmachine_web.build import Project, build, new_app, site
from asyncmachine_web.build.scaffold import NoProject
from asyncmachine_web.build.site import NoSite
from asyncmachine_web.build.wheels import lock_entry


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A page of two files, and a runtime of three."""
    vendor = tmp_path / "vendor"
    for name in ("pyodide/pyodide.mjs", "pyscript/core.js", "pyodide/types.d.ts", ".stamp"):
        (vendor / name).parent.mkdir(parents=True, exist_ok=True)
        (vendor / name).write_text(name)
    monkeypatch.setattr(site, "vendor_folder", lambda: vendor)
    root = tmp_path / "project"
    (root / "page" / "deep").mkdir(parents=True)
    (root / "app").mkdir()
    (root / "app" / "__init__.py").write_text("")
    (root / "page" / "index.html").write_text('<script src="__release__/boot.mjs"></script>')
    (root / "page" / "deep" / "raw.png").write_bytes(b"__release__")
    (root / "pyproject.toml").write_text('[tool.asyncmachine.page]\npackages = ["app"]\n')
    return Project.read(root)


def told(target: Path) -> dict[str, Any]:
    """What the service worker says of the release."""
    found = re.match(r"const RELEASE = (\{.*?\n\});\n", (target / "sw.mjs").read_text(), re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


def test_a_release_is_named_for_its_content(project: Project, tmp_path: Path) -> None:
    first = build(project, tmp_path / "one")
    assert build(project, tmp_path / "two") == first
    assert re.fullmatch(r"r-[0-9a-f]{12}", first)
    (project.root / "app" / "__init__.py").write_text("x = 1")
    second = build(project, tmp_path / "one")
    assert second != first
    assert (tmp_path / "one" / "index.html").read_text() == f'<script src="{second}/boot.mjs"></script>'
    assert (tmp_path / "one" / "deep" / "raw.png").read_bytes() == b"__release__"


def test_every_file_of_a_release_has_its_hash_in_the_service_worker(project: Project, tmp_path: Path) -> None:
    target = tmp_path / "dist"
    release = build(project, target)
    files = told(target)["files"]
    served = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert set(files) == {name for name in served if not name.endswith((".br", ".zst"))} - {"sw.mjs"}
    for name, integrity in files.items():
        digest = base64.b64encode(hashlib.sha256((target / name).read_bytes()).digest()).decode()
        assert integrity == f"sha256-{digest}"
    own = {name.removeprefix(f"{release}/") for name in files if name.startswith(release)}
    assert {"boot.mjs", "ui.mjs", "pwa.mjs", "app.zip", "vendor/pyodide/pyodide.mjs"} <= own
    assert not own & {"sw.mjs", "vendor/pyscript/core.js", "vendor/pyodide/types.d.ts", "vendor/.stamp"}
    assert told(target)["version"] == release


def test_a_library_is_there_when_the_page_mentions_it(project: Project, tmp_path: Path) -> None:
    page = project.root / "page" / "index.html"
    page.write_text(page.read_text() + '<script src="__release__/vendor/pyscript/core.js"></script>')
    release = build(project, tmp_path / "dist")
    assert (tmp_path / "dist" / release / "vendor" / "pyscript" / "core.js").is_file()


def test_the_release_before_stays_and_older_ones_go(project: Project, tmp_path: Path) -> None:
    releases = []
    for number in range(4):
        (project.root / "app" / "__init__.py").write_text(f"x = {number}")
        releases.append(build(project, tmp_path / "dist"))
    left = {path.name for path in (tmp_path / "dist").glob("r-*")}
    assert left == set(releases[-2:])
    (project.root / "app" / "__init__.py").write_text("x = 2")
    assert build(project, tmp_path / "dist") == releases[2]  # back to the one before
    assert {path.name for path in (tmp_path / "dist").glob("r-*")} == set(releases[-2:])
    (project.root / "app" / "__init__.py").write_text("x = 9")
    newest = build(project, tmp_path / "dist")
    assert {path.name for path in (tmp_path / "dist").glob("r-*")} == {releases[2], newest}


def test_what_a_build_no_longer_makes_goes(project: Project, tmp_path: Path) -> None:
    """A page that is deleted, and the compressed copy of a file that is too small for one by now."""
    page, target = project.root / "page", tmp_path / "dist"
    (page / "deep" / "gone.html").write_text("<p>old</p>" * 200)
    (page / "extra.css").write_text("p { color: red }\n" * 200)
    (page / "alone" / "in").mkdir(parents=True)
    (page / "alone" / "in" / "folder.txt").write_text("old")
    build(project, target)
    assert {"deep/gone.html", "deep/gone.html.br", "extra.css.br"} <= outside(target)
    (target / "robots.txt").write_text("not made by a build")
    (target / "deep" / "own.html.br").write_text("nor this")
    shutil.rmtree(page / "alone")
    (page / "deep" / "gone.html").unlink()
    (page / "extra.css").write_text("/* new */")
    (page / "alone").write_text("a file, where a folder was")
    build(project, target)
    made = {"index.html", "sw.mjs", "sw.mjs.br", "extra.css", "deep/raw.png", "alone"}
    assert outside(target) == {*made, "robots.txt", "deep/own.html.br"}
    (page / "alone").unlink()
    (page / "deep" / "raw.png").unlink()
    (target / "deep" / "own.html.br").unlink()
    build(project, target)
    assert outside(target) == {*made, "robots.txt"} - {"alone", "deep/raw.png"}
    assert not (target / "deep").exists(), "no empty folder stays"


def outside(target: Path) -> set[str]:
    """What a built directory has beside its releases."""
    names = {path.relative_to(target) for path in target.rglob("*") if path.is_file()}
    return {name.as_posix() for name in names if not name.parts[0].startswith("r-")}


FOREIGN = ("", "../out.txt", "mine/../../out.txt", "mine", "/mine.html", "r-0/mine.html")
OTHER = f"const RELEASE = {json.dumps({'files': dict.fromkeys(FOREIGN, '')})};"
"""A worker that names files which no page of a project is made of."""


@pytest.mark.parametrize("worker", [None, "", "const RELEASE = {;", OTHER])
def test_a_directory_that_no_build_made_loses_nothing(project: Project, tmp_path: Path, worker: str | None) -> None:
    target = tmp_path / "dist"
    target.mkdir()
    for name in ("mine.html", "mine/mine.html", "r-0/mine.html"):
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).write_text("mine")
    (tmp_path / "out.txt").write_text("not even inside")
    if worker is not None:
        (target / "sw.mjs").write_text(worker)
    build(project, target)
    assert {"mine.html", "mine/mine.html"} <= outside(target)
    assert (target / "r-0" / "mine.html").exists()
    assert (tmp_path / "out.txt").exists()


def test_folders_that_are_named_nearly_like_a_release_are_somebody_elses(project: Project, tmp_path: Path) -> None:
    target = tmp_path / "dist"
    (target / "r-notes").mkdir(parents=True)
    (target / "r-notes" / "keep.txt").write_text("mine")
    (target / "r-000000000000").write_text("a file")
    for number in range(4):
        (project.root / "app" / "__init__.py").write_text(f"x = {number}")
        build(project, target)
    assert (target / "r-notes" / "keep.txt").read_text() == "mine"
    assert (target / "r-000000000000").is_file()


def test_a_release_that_was_damaged_is_made_whole_by_the_next_build(project: Project, tmp_path: Path) -> None:
    target = tmp_path / "dist"
    release = target / build(project, target)
    whole = {path: path.read_bytes() for path in release.rglob("*") if path.is_file()}
    (release / "app.zip").write_bytes(b"PK")
    (release / "kinds.mjs").unlink()
    shutil.rmtree(release / "vendor")
    assert target / build(project, target) == release
    assert {path: path.read_bytes() for path in release.rglob("*") if path.is_file()} == whole


def test_hidden_files_are_copied_and_not_asked_for_by_the_service_worker(project: Project, tmp_path: Path) -> None:
    """A web server keeps them back, and a service worker that misses one of its files is never installed."""
    for name in (".htaccess", ".well-known/assetlinks.json", "deep/.cache/x.txt"):
        path = project.root / "page" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    target = tmp_path / "dist"
    build(project, target)
    assert (target / ".htaccess").is_file()
    asked = {name for name in told(target)["files"] if "/." in f"/{name}"}
    assert asked == {".well-known/assetlinks.json"}


def test_a_page_with_a_service_worker_of_its_own_is_refused(project: Project, tmp_path: Path) -> None:
    (project.root / "page" / "sw.mjs").write_text("")
    with pytest.raises(NoSite, match=r"sw\.mjs: the build writes a file of that name"):
        build(project, tmp_path / "dist")
    assert not (tmp_path / "dist").exists()


def test_a_build_that_fails_leaves_the_directory_as_it_was(project: Project, tmp_path: Path) -> None:
    target = tmp_path / "dist"
    build(project, target)
    before = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    (project.root / "page" / "index.html").unlink()
    with pytest.raises(NoSite, match=r"no index\.html"):
        build(project, target)
    assert {path: path.read_bytes() for path in target.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("text", [None, "", "[tool.asyncmachine.page]\n", "["])
def test_a_project_that_says_nothing_of_its_page_is_told_what_to_write(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(NoSite, match=r"pyproject\.toml"):
        Project.read(tmp_path)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("packages = []", "length >= 1"),
        ('packages = "app"', "Expected `array`"),
        ("packages = [1]", "Expected `str`"),
        ('packages = ["app"]\nfodler = "page"', "unknown field `fodler`"),
        ('packages = ["app"]\nfolder = 1', "Expected `str`"),
    ],
    ids=["nothing", "a text", "a number", "a slip", "no folder"],
)
def test_what_a_project_says_wrongly_of_its_page_is_told(tmp_path: Path, line: str, why: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.asyncmachine.page]\n{line}\n")
    with pytest.raises(NoSite, match=why):
        Project.read(tmp_path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"\xe9", "pyproject.toml cannot be read: 'utf-8' codec"),
        (b"[tool]", "pyproject.toml needs [tool.asyncmachine.page]"),
        (
            b"[tool.asyncmachine.page]\npackages = ['app']\nfoldr = 'page'",
            "unknown field `foldr` in [tool",
        ),
    ],
    ids=["Latin-1", "no table", "a slip"],
)
def test_the_command_tells_it_in_one_line(
    tmp_path: Path, text: bytes, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_bytes(text)
    assert main(["build", str(tmp_path)]) != 0
    error = capsys.readouterr().err
    assert why in error
    assert "Traceback" not in error


def test_a_target_that_is_a_file_is_told(project: Project, tmp_path: Path) -> None:
    (tmp_path / "dist").write_text("mine")
    with pytest.raises(NoSite, match="dist cannot be made a folder: File exists"):
        build(project, tmp_path / "dist")


@pytest.mark.parametrize("place", ["page", "page/out", ".", "..", "app"])
def test_nothing_is_built_over_what_it_is_built_from(project: Project, place: str) -> None:
    before = {path: path.read_bytes() for path in project.root.rglob("*") if path.is_file()}
    with pytest.raises(NoSite, match="build it into a folder of its own"):
        build(project, project.root / place)
    assert {path: path.read_bytes() for path in project.root.rglob("*") if path.is_file()} == before


def test_what_a_build_left_that_was_killed_is_gone_an_hour_later(project: Project, tmp_path: Path) -> None:
    old, young = tmp_path / ".dist-abandone", tmp_path / ".dist-underway"
    for path in (old, young):
        (path / "site").mkdir(parents=True)
    os.utime(old, (time.time() - 3700, time.time() - 3700))
    build(project, tmp_path / "dist")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == [young.name]


def test_a_page_may_have_files_in_any_encoding(project: Project, tmp_path: Path) -> None:
    (project.root / "page" / "old.css").write_bytes(b"/* caf\xe9 */")
    build(project, tmp_path / "dist")
    assert (tmp_path / "dist" / "old.css").read_bytes() == b"/* caf\xe9 */"


def test_a_new_project_keeps_its_servers_code_to_itself(project: Project, tmp_path: Path) -> None:
    mine = Project.read(new_app("mine", tmp_path))
    release = build(mine, tmp_path / "dist")
    with zipfile.ZipFile(tmp_path / "dist" / release / "app.zip") as archive:
        assert sorted(archive.namelist()) == [f"mine/{name}.py" for name in ("__init__", "page", "states", "worker")]


@pytest.mark.parametrize("name", ["", "1up", "My", "my-app", "a/b", "..", "é"])
def test_a_name_that_is_no_package_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(NoProject, match="cannot be a Python package"):
        new_app(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_keyword_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(NoProject, match="'class' is a word of Python itself, and cannot be a package"):
        new_app("class", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    ["json", "test", "page", "js", "msgspec", "asyncmachine", "micropip", "pyscript", "pyodide_js", "asyncmachine_js"],
)
def test_a_name_that_would_hide_something_the_project_needs_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(NoProject, match=f"'{name}' is the name of something"):
        new_app(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_already_stays(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(NoProject, match="is there already"):
        new_app("mine", tmp_path)
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_new_project_has_its_name_everywhere_and_the_wheel_it_was_made_by(tmp_path: Path) -> None:
    root = new_app("my_app", tmp_path)
    texts = {path: path.read_text() for path in root.rglob("*") if path.is_file() and path.suffix != ".whl"}
    assert not [path for path, text in texts.items() if "app_name" in text or "App Title" in text]
    assert "<title>My app</title>" in texts[root / "page" / "index.html"]
    (wheel,) = (root / "wheels").iterdir()
    assert texts[root / "requirements.txt"] == f"./wheels/{wheel.name}[relay]\n"
    assert lock_entry(wheel)["name"] == "asyncmachine"
    assert Project.read(root).packages == ("my_app",)


def test_what_a_new_projects_readme_names_is_there(tmp_path: Path) -> None:
    """Whoever has the wheel has no documents of ours beside it."""
    root = new_app("shop_app", tmp_path)
    readme = (root / "README.md").read_text()
    named = re.findall(r"`([\w./]+(?:/|\.\w+))`", readme)
    assert "shop_app/page.py" in named
    assert [name for name in named if not (root / name).exists()] == []


def test_the_comments_of_a_new_projects_readme_stand_in_one_column_whatever_its_name(tmp_path: Path) -> None:
    for name in ("my_app", "a_much_longer_name"):
        readme = (new_app(name, tmp_path) / "README.md").read_text()
        commands = readme.partition("```sh\n")[2].partition("```")[0].splitlines()
        assert {line.index("#") for line in commands if "#" in line} == {0}


def test_a_new_projects_readme_says_that_nobody_records(tmp_path: Path) -> None:
    assert "The server records nothing" in (new_app("my_app", tmp_path) / "README.md").read_text()


def test_a_new_project_says_what_is_next_and_keeps_its_environment_out_of_git(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "app", "my_app", "--in", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    for step in (
        f"cd {tmp_path / 'my_app'}",
        "pip install -r requirements-dev.txt",
        "python -m my_app",
        "python -m pytest",
    ):
        assert f"\n  {step}" in told
    assert (tmp_path / "my_app" / "requirements-dev.txt").read_text().splitlines() == [
        "-r requirements.txt",
        "pytest>=9",
    ]
    assert {"/dist/", "/.venv/", ".pytest_cache/"} <= {*(tmp_path / "my_app" / ".gitignore").read_text().splitlines()}
