"""Files for the page: several directories laid over each other, the first that has a file wins.

Starlette's `StaticFiles` finds and sends them and answers conditional requests. Added here: media types that do not
depend on the host's tables (with a wrong one for `.wasm` or `.mjs` a browser refuses to boot, silently), compressed
copies made beforehand (`app.wasm.br` beside `app.wasm`), and what a browser may keep.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

from asyncmachine_relay.policy import RelayConfigError

StaticRoot = Path | str | tuple[str, Path | str]
"""A directory served at `/`, or (prefix, directory): `("/app/", path)`."""

MEDIA_TYPES = {
    ".css": "text/css",
    ".csv": "text/csv",
    ".data": "application/octet-stream",
    ".gif": "image/gif",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".png": "image/png",
    ".py": "text/x-python",
    ".svg": "image/svg+xml",
    ".toml": "application/toml",
    ".ts": "text/plain",
    ".txt": "text/plain",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".whl": "application/zip",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
    ".zip": "application/zip",
}

_ENCODINGS = (("zstd", ".zst"), ("br", ".br"), ("gzip", ".gz"))
"""The one that is unpacked soonest comes first: where there is a copy, it was worth it."""
_HASHED = re.compile(r"[^/]+\.[0-9a-f]{12,64}\.[a-z0-9.]+")
_KEEP = "public, max-age=31536000, immutable"
_ASK = "no-cache"


class StaticSite(StaticFiles):
    """An ASGI app for `roots`, in order. Nothing outside of them, no dot file and no symlink that leads out is served.

    Raises `RelayConfigError` for a root that is no directory.
    """

    def __init__(self, roots: Sequence[StaticRoot]) -> None:
        super().__init__(html=True)
        self._roots = [_Root.of(root) for root in roots]

    async def get_response(self, path: str, scope: Scope) -> Response:
        if any(part.startswith(".") and part not in {".", ".well-known"} for part in PurePath(path).parts):
            raise HTTPException(404)
        try:
            return await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code == 401:  # a file that we may not read; no login would change that
                raise HTTPException(404) from error
            raise
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise HTTPException(404) from error
            raise

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        for root in self._roots:
            inner = root.inside(path)
            if inner is not None:
                full_path, found = root.files.lookup_path(inner)
                if found is not None:
                    return full_path, found
        return "", None

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        request = Headers(scope=scope)
        name = PurePosixPath(full_path).name
        headers = {"cache-control": _KEEP if _HASHED.fullmatch(name) else _ASK, "vary": "accept-encoding"}
        path = os.fspath(full_path)
        encoded = _compressed(path, stat_result, request.get("accept-encoding", ""))
        if encoded is not None:
            headers["content-encoding"], path, stat_result = encoded
        response = FileResponse(
            path, status_code=status_code, headers=headers, media_type=media_type(name), stat_result=stat_result
        )
        if self.is_not_modified(response.headers, request):
            return NotModifiedResponse(response.headers)
        return response


@dataclass(frozen=True)
class _Root:
    """A directory and the part of the site it stands for, without slashes at its ends."""

    prefix: str
    files: StaticFiles

    @classmethod
    def of(cls, root: StaticRoot) -> _Root:
        prefix, directory = root if isinstance(root, tuple) else ("/", root)
        if not Path(directory).is_dir():
            raise RelayConfigError(f"static root {str(directory)!r} is no directory; build it first, or leave it out")
        return cls(prefix.strip("/"), StaticFiles(directory=directory))

    def inside(self, path: str) -> str | None:
        """The path below this root, None when it is not for this root."""
        if not self.prefix:
            return path
        if path == self.prefix:
            return "."
        return path[len(self.prefix) + 1 :] if path.startswith(self.prefix + "/") else None


def prefixes_of(roots: Sequence[StaticRoot]) -> list[str]:
    """Where they are served, other than at `/`: as `/app`, each once."""
    given = (root[0].strip("/") for root in roots if isinstance(root, tuple))
    return [f"/{prefix}" for prefix in dict.fromkeys(given) if prefix]


def media_type(name: str) -> str:
    """The media type for a file name; bytes of unknown kind when its ending is not in the table."""
    return MEDIA_TYPES.get(PurePosixPath(name).suffix.lower(), "application/octet-stream")


def accepted(header: str) -> set[str]:
    """The encodings that an Accept-Encoding header names and does not forbid with q=0."""
    found = set()
    for item in header.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        if not any(re.fullmatch(r"q\s*=\s*0(\.0*)?", parameter) for parameter in parameters):
            found.add(name)
    return found


def _compressed(path: str, original: os.stat_result, header: str) -> tuple[str, str, os.stat_result] | None:
    """(encoding, path, stat) of the best copy the client takes. A copy older than the file is of an earlier build."""
    wanted = accepted(header)
    for encoding, ending in _ENCODINGS:
        if encoding not in wanted:
            continue
        try:
            copy = os.lstat(path + ending)  # not through a symlink: it could lead out of the root
        except OSError:
            continue
        if stat.S_ISREG(copy.st_mode) and copy.st_mtime >= original.st_mtime:
            return encoding, path + ending, copy
    return None
