"""Static files: what is served, as what, for how long, and what never is."""

from __future__ import annotations

import errno
import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import brotli  # type: ignore[import-untyped]
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.staticfiles import StaticFiles

from asyncmachine_relay import Relay, RelayConfigError
from asyncmachine_relay.headers import POLICIES
from asyncmachine_relay.static import accepted, media_type
from tests.relay.support import http, parse, raw, running

SECRET = b"nobody may read this"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A site, and a secret beside it."""
    base = tmp_path_factory.mktemp("static")
    root = base / "site"
    (root / "app").mkdir(parents=True)
    (base / "secret.txt").write_bytes(SECRET)
    (base / "site-secret").mkdir()
    (base / "site-secret" / "secret.txt").write_bytes(SECRET)
    (root / ".env").write_bytes(SECRET)
    (root / ".git").mkdir()
    (root / ".git" / "config").write_bytes(SECRET)
    (root / "leak.txt").symlink_to(base / "secret.txt")
    (root / "leak").symlink_to(base)
    (root / "loop").symlink_to(root / "loop")
    (root / "index.html").write_text("<title>root</title>")
    (root / "app" / "index.html").write_text("<title>app</title>")
    (root / "main.mjs").write_text("export const one = 1;\n" * 200)
    (root / "app.0123456789ab.js").write_text("1")
    (root / "unreadable.txt").write_text("x")
    (root / "with space é.txt").write_text("found")
    for name in (
        "x.wasm",
        "x.whl",
        "x.json",
        "x.toml",
        "x.py",
        "x.css",
        "x.svg",
        "x.unknown",
        "x.js.map",
        "x.webmanifest",
    ):
        (root / name).write_bytes(b"1")
    yield root
    (root / "loop").unlink()


async def test_an_index_is_served_for_its_directory(site: Path) -> None:
    async with running(static=site) as run:
        assert (await http(run)).body == b"<title>root</title>"
        assert (await http(run, "/app/")).body == b"<title>app</title>"
        answer = await http(run, "/app")
        assert (answer.status, answer.headers["location"]) == (307, f"{run.origin}/app/")


async def test_types_are_those_that_browsers_need(site: Path) -> None:
    wanted = {
        "main.mjs": "text/javascript; charset=utf-8",
        "app.0123456789ab.js": "text/javascript; charset=utf-8",
        "x.wasm": "application/wasm",
        "x.whl": "application/zip",
        "x.json": "application/json",
        "x.js.map": "application/json",
        "x.toml": "application/toml",
        "x.py": "text/x-python; charset=utf-8",
        "x.css": "text/css; charset=utf-8",
        "x.svg": "image/svg+xml",
        "x.webmanifest": "application/manifest+json",
        "x.unknown": "application/octet-stream",
        "": "text/html; charset=utf-8",
    }
    async with running(static=site) as run:
        for name, kind in wanted.items():
            answer = await http(run, f"/{name}")
            assert (answer.status, answer.headers["content-type"]) == (200, kind), name
            assert answer.headers["x-content-type-options"] == "nosniff"


def test_types_do_not_depend_on_the_case_of_an_ending() -> None:
    assert media_type("X.WASM") == "application/wasm"


async def test_an_unchanged_file_is_not_sent_again(site: Path) -> None:
    async with running(static=site) as run:
        answer = await http(run, "/main.mjs")
        assert answer.headers["cache-control"] == "no-cache"
        again = await http(run, "/main.mjs", headers=[("if-none-match", answer.headers["etag"])])
        assert (again.status, again.body) == (304, b"")
        assert again.headers["etag"] == answer.headers["etag"]
        assert (await http(run, "/main.mjs", headers=[("if-none-match", '"other"')])).status == 200


async def test_a_hashed_name_is_kept_for_ever(site: Path) -> None:
    async with running(static=site) as run:
        assert "immutable" in (await http(run, "/app.0123456789ab.js")).headers["cache-control"]


async def test_compressed_copies_are_sent_to_those_who_take_them(tmp_path: Path) -> None:
    body = b"const x = 1;\n" * 500
    (tmp_path / "a.mjs").write_bytes(body)
    (tmp_path / "a.mjs.br").write_bytes(brotli.compress(body))
    (tmp_path / "a.mjs.gz").write_bytes(gzip.compress(body))
    (tmp_path / "a.mjs.zst").write_bytes(zstandard.compress(body))
    async with running(static=tmp_path) as run:
        etags = set()
        for header, encoding, unpack in (
            ("gzip, deflate, br, zstd", "zstd", zstandard.decompress),
            ("gzip, deflate, br", "br", brotli.decompress),
            ("gzip", "gzip", gzip.decompress),
            ("br;q=0, gzip;q=0.5", "gzip", gzip.decompress),
            ("identity", None, bytes),
            ("", None, bytes),
        ):
            answer = await http(run, "/a.mjs", headers=[("accept-encoding", header)])
            assert answer.headers.get("content-encoding") == encoding
            assert unpack(answer.body) == body
            assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
            assert answer.headers["vary"] == "accept-encoding"
            etags.add(answer.headers["etag"])
        assert len(etags) == 4
        (tmp_path / "b.mjs").write_bytes(body)
        assert (await http(run, "/b.mjs", headers=[("accept-encoding", "br, gzip")])).body == body
        answer = await http(run, "/a.mjs", headers=[("accept-encoding", "br"), ("range", "bytes=0-9")])
        assert (answer.status, answer.body) == (206, brotli.compress(body)[:10])


async def test_a_copy_of_an_earlier_build_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "a.mjs").write_text("new")
    (tmp_path / "a.mjs.br").write_bytes(brotli.compress(b"old"))
    os.utime(tmp_path / "a.mjs.br", (1, 1))
    async with running(static=tmp_path) as run:
        assert (await http(run, "/a.mjs", headers=[("accept-encoding", "br")])).body == b"new"


async def test_a_copy_that_is_a_symlink_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "a.mjs").write_text("mine")
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "site" / "a.mjs.br").symlink_to(tmp_path / "secret")
    async with running(static=tmp_path / "site") as run:
        assert (await http(run, "/a.mjs", headers=[("accept-encoding", "br")])).body == b"mine"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("gzip, br", {"gzip", "br"}),
        ("GZIP;q=1.0", {"gzip"}),
        ("br;q=0", set()),
        ("br; q=0.000, gzip", {"gzip"}),
        ("br;q=0.1", {"br"}),
        ("", {""}),
    ],
)
def test_accepted_encodings(header: str, found: set[str]) -> None:
    assert accepted(header) == found


async def test_the_first_root_that_has_a_file_wins(site: Path, tmp_path: Path) -> None:
    (tmp_path / "main.mjs").write_text("mine")
    async with running(static=[tmp_path, site]) as run:
        assert (await http(run, "/main.mjs")).body == b"mine"
        assert (await http(run, "/x.css")).body == b"1"
        assert (await http(run, "/")).body == b"<title>root</title>"


async def test_a_root_may_stand_for_a_part_of_the_site(site: Path, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    async with running(static=[("/app/", tmp_path), site]) as run:
        assert (await http(run, "/app/")).body == b"mine"
        assert (await http(run, "/")).body == b"<title>root</title>"
        assert (await http(run, "/app/main.mjs")).status == 404
        assert (await http(run, "/apple")).status == 404


def test_a_root_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(RelayConfigError, match="missing' is no directory; build it first"):
        Relay(static=tmp_path / "missing")


async def test_no_static_root_means_no_files() -> None:
    async with running() as run:
        assert (await http(run, "/")).status == 404


TRAVERSALS = [
    "/../secret.txt",
    "/%2e%2e/secret.txt",
    "/..%2fsecret.txt",
    "/%2e%2e%2fsecret.txt",
    "/app/../../secret.txt",
    "/app/%2e%2e/%2e%2e/secret.txt",
    "/../site-secret/secret.txt",
    "/....//secret.txt",
    "//etc/passwd",
    "/%2fetc/passwd",
    "/%5c..%5csecret.txt",
    "/..\\secret.txt",
    "/%252e%252e/secret.txt",
    "/%c0%ae%c0%ae/secret.txt",
    "/main.mjs%00.html",
    "/%00",
    "/" + "x" * 5000,
    "/" + "../" * 40 + "etc/passwd",
    "/leak.txt",
    "/leak/secret.txt",
    "/loop",
    "/loop/x",
    "/.env",
    "/.git/config",
    "/app/../.env",
    "/main.mjs/../../secret.txt",
    "/main.mjs/x",
]


async def test_nothing_outside_of_the_site_is_served(site: Path) -> None:
    async with running(static=[("/app/", site / "app"), site]) as run:
        for path in TRAVERSALS:
            answer = await http(run, path)
            assert answer.status == 404, (path, answer)
            assert SECRET not in answer.body


async def test_an_absolute_address_in_the_request_line_is_no_way_out(site: Path) -> None:
    async with running(static=site) as run:
        for target in ("http://evil.example/../secret.txt", f"{run.origin}/../secret.txt", "*", "secret.txt"):
            answer = await raw(run, f"GET {target} HTTP/1.1\r\nhost: {run.host}\r\nconnection: close\r\n\r\n".encode())
            assert parse(answer).status in {400, 404}
            assert SECRET not in answer


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.lists(
            st.one_of(
                st.sampled_from(
                    ["..", ".", "", "app", "leak", "secret.txt", "site-secret", ".env", "%2e%2e", "\\", "etc"]
                ),
                st.text(max_size=6),
            ),
            max_size=6,
        ),
        min_size=5,
        max_size=10,
    )
)
async def test_whatever_the_path_nothing_outside_is_served(site: Path, paths: list[list[str]]) -> None:
    async with running(static=site) as run:
        for parts in paths:
            path = "/" + "/".join(quote(part.encode(errors="replace").decode(), safe="%\\.") for part in parts)
            answer = await http(run, path)
            assert answer.status in {200, 307, 404}, path
            assert SECRET not in answer.body


async def test_names_are_decoded_once(site: Path) -> None:
    async with running(static=site) as run:
        assert (await http(run, "/with%20space%20%C3%A9.txt")).body == b"found"
        assert unquote("/with%2520space") == "/with%20space"
        assert (await http(run, "/with%2520space%20%C3%A9.txt")).status == 404


async def test_a_file_that_cannot_be_read_is_not_there(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: StaticFiles, path: str) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(StaticFiles, "lookup_path", denied)
    async with running(static=site) as run:
        assert (await http(run, "/unreadable.txt")).status == 404


async def test_a_disk_that_fails_is_not_passed_off_as_a_missing_file(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: StaticFiles, path: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(StaticFiles, "lookup_path", broken)
    async with running(static=site) as run:
        assert (await http(run, "/main.mjs")).status == 500


async def test_files_are_only_read(site: Path) -> None:
    async with running(static=site) as run:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            answer = await http(run, "/main.mjs", method=method, headers=[("origin", run.origin)])
            assert answer.status == 405
        head = await http(run, "/main.mjs", method="HEAD")
        assert (head.status, head.body) == (200, b"")


async def test_ten_thousand_ranges_are_not_sent(site: Path) -> None:
    async with running(static=site) as run:
        size = (site / "main.mjs").stat().st_size
        for ranges in (["0-1"] * 2_500, [f"{n}-{n + 1}" for n in range(0, 4_000, 3)], ["0-"] * 100, ["-4000"] * 100):
            answer = await http(run, "/main.mjs", headers=[("range", "bytes=" + ",".join(ranges))])
            assert answer.status in {200, 206}
            assert len(answer.body) <= size


@pytest.mark.parametrize("count", [10_000, 100_000])
async def test_a_head_with_ten_thousand_ranges_is_too_long(count: int, site: Path) -> None:
    """It is refused as it comes, or cut off if it comes faster; nothing of the file is sent."""
    async with running(static=site) as run:
        ranges = ",".join(["0-1"] * count)
        request = f"GET /main.mjs HTTP/1.1\r\nHost: {run.host}\r\nRange: bytes={ranges}\r\n\r\n"
        answer = await raw(run, request.encode())
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
        assert (site / "main.mjs").read_bytes()[:2] not in answer.partition(b"\r\n\r\n")[2]
        assert (await http(run, "/healthz")).status == 200


async def test_pages_are_isolated_unless_they_are_to_be_embedded(site: Path) -> None:
    async with running(static=site) as run:
        for path in ("/", "/main.mjs", "/nothing", "/healthz"):
            headers = (await http(run, path)).headers
            assert headers["cross-origin-opener-policy"] == "same-origin"
            assert headers["cross-origin-embedder-policy"] == "require-corp"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert "frame-ancestors 'self'" in headers["content-security-policy"]
            assert headers["referrer-policy"] == "no-referrer"
    async with running(static=site, isolation=False) as run:
        headers = (await http(run, "/")).headers
        assert not [name for name in headers if name.startswith("cross-origin")]
        assert "frame-ancestors" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


async def test_the_content_policy_is_chosen_by_the_longest_prefix(site: Path) -> None:
    csp = {"/app/": "pyscript", "/app/inner/": "strict", "/main": "pyscript"}
    async with running(static=site, csp=csp) as run:
        for path, name in (
            ("/", "strict"),
            ("/app/", "pyscript"),
            ("/app/inner/x", "strict"),
            ("/main.mjs", "pyscript"),
        ):
            policy = (await http(run, path)).headers["content-security-policy"]
            assert policy == POLICIES[name] + "; frame-ancestors 'self'", path


def test_strict_evaluates_no_text_and_neither_policy_names_another_host() -> None:
    assert "'unsafe-eval'" not in POLICIES["strict"]
    assert "blob:" not in POLICIES["strict"].replace("img-src 'self' data: blob:", "")
    assert "'unsafe-eval'" in POLICIES["pyscript"]
    for policy in POLICIES.values():
        assert "*" not in policy
        assert "http" not in policy


@pytest.mark.parametrize(
    ("csp", "says"),
    [({"/": "loose"}, "'loose' is no policy: strict, pyscript"), ({"app": "strict"}, "must start with a slash")],
)
async def test_a_policy_that_is_none_is_a_mistake(csp: dict[str, str], says: str) -> None:
    with pytest.raises(RelayConfigError, match=says):
        Relay(csp=csp)
