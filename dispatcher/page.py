"""The page at ``/``: the files that ``./scripts/page`` builds, as they are.

They are read once, and again when they were built anew. Knows nothing of threads, and says so in words when
there is nothing built.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from dispatcher.settings import Settings

STATIC = Path(__file__).parent / "static"
INDEX = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "Vary": "Accept-Encoding"}
_FOR_EVER = "public, max-age=31536000, immutable"
_MISSING = (
    "The page is not built: run ./scripts/page and load this again. The API under /v1 works without it.\n"
)


@dataclass(frozen=True, kw_only=True)
class _File:
    """One file of the page. ``packed``: the same, compressed with gzip, if there is such a twin."""

    content: bytes
    packed: bytes | None
    media_type: str
    tag: str
    caching: str


class _Built:
    """What is in the folder now, by address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamp: int | None = None
        self._files: dict[str, _File] = {}

    def get(self, address: str) -> _File | None:
        """The file at an address. Raises FileNotFoundError when nothing is built."""
        stamp = (self._folder / INDEX).stat().st_mtime_ns
        if stamp != self._stamp:
            self._files = dict(self._read())
            self._stamp = stamp
        return self._files.get(address)

    def _read(self) -> Iterator[tuple[str, _File]]:
        for path in sorted(self._folder.rglob("*")):
            name = path.relative_to(self._folder).as_posix()
            if path.suffix in _TYPES:
                yield ("/" if name == INDEX else f"/{name}"), self._file(path, name=name)

    def _file(self, path: Path, *, name: str) -> _File:
        content, twin = path.read_bytes(), path.with_name(f"{path.name}.gz")
        packed = twin.read_bytes() if twin.is_file() else None
        return _File(
            content=content,
            packed=packed,
            media_type=_TYPES[path.suffix],
            tag=f'"{hashlib.sha256(content).hexdigest()[:20]}"',
            caching=_FOR_EVER if name.startswith("assets/") else "no-cache",
        )


def router(settings: Settings, *, folder: Path = STATIC) -> APIRouter:
    """``/`` and the files that it names."""
    made = APIRouter()
    built = _Built(folder)
    headers = {**_HEADERS, "Content-Security-Policy": policy(settings)}

    async def answer(request: Request) -> Response:
        try:
            file = built.get(request.url.path)
        except FileNotFoundError:
            return PlainTextResponse(_MISSING, status_code=503, headers={"Retry-After": "5"})
        if file is None:
            return PlainTextResponse("There is no such file.\n", status_code=404, headers=_HEADERS)
        return _served(request, file, headers)

    for address in ("/", "/theme.js", "/icon.svg", "/assets/{name}"):
        made.add_api_route(address, answer, methods=["GET", "HEAD"], response_model=None)
    return made


def policy(settings: Settings) -> str:
    """What the page may do: run, show and ask what is its own, and frame the preview."""
    frames = ["http://*.localhost:*"]
    if settings.outside_host is not None:
        frames.append(f"https://*.{settings.outside_host}")
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob:;"
        f" frame-src {' '.join(frames)}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def _served(request: Request, file: _File, headers: dict[str, str]) -> Response:
    told = {**headers, "Cache-Control": file.caching, "ETag": file.tag}
    if request.headers.get("if-none-match") == file.tag:
        return Response(status_code=304, headers=told)
    takes = {part.split(";")[0].strip() for part in request.headers.get("accept-encoding", "").split(",")}
    body = file.content
    if file.packed is not None and "gzip" in takes:
        body, told["Content-Encoding"] = file.packed, "gzip"
    if request.method == "HEAD":
        told["Content-Length"] = str(len(body))
        body = b""
    # The header says the type in full: given as media_type it would get a second charset.
    return Response(body, headers={**told, "Content-Type": file.media_type})
