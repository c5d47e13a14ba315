"""The built page as it is served: types, caching, what it may do, and words when there is none."""

import gzip
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from dispatcher import page
from dispatcher.settings import Settings

INDEX = '<!doctype html><script type="module" src="/assets/a-1.js"></script>'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    built = tmp_path / "static"
    (built / "assets").mkdir(parents=True)
    (built / "theme.js").write_text("1;")
    (built / "icon.svg").write_text("<svg/>")
    (built / "notes.txt").write_text("not of the page")
    (built / "assets" / "a-1.js").write_text("let a = 1;")
    (built / "assets" / "a-1.js.gz").write_bytes(gzip.compress(b"let a = 1;"))
    (built / "index.html").write_text(INDEX)
    return built


@pytest.fixture
async def client(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with _client(folder) as client:
        yield client


def _client(folder: Path, **settings: object) -> httpx.AsyncClient:
    app = FastAPI()
    app.include_router(page.router(Settings.model_validate(settings), folder=folder))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8080")


async def test_the_index_is_asked_for_each_time(client: httpx.AsyncClient) -> None:
    got = await client.get("/")
    assert got.status_code == 200
    assert got.text == INDEX
    assert got.headers["content-type"] == "text/html; charset=utf-8"
    assert got.headers["cache-control"] == "no-cache"
    again = await client.get("/", headers={"If-None-Match": got.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_an_asset_is_kept_for_ever_and_comes_compressed_to_who_takes_it(
    client: httpx.AsyncClient,
) -> None:
    packed = await client.get("/assets/a-1.js", headers={"Accept-Encoding": "br, gzip;q=0.8"})
    plain = await client.get("/assets/a-1.js", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.text == plain.text == "let a = 1;"
    for got in (packed, plain):
        assert "immutable" in got.headers["cache-control"]
        assert got.headers["content-type"] == "text/javascript; charset=utf-8"
        assert got.headers["vary"] == "Accept-Encoding"


async def test_a_head_says_what_a_get_would_and_sends_nothing(client: httpx.AsyncClient) -> None:
    for address in ("/", "/theme.js", "/icon.svg", "/assets/a-1.js"):
        head, got = await client.head(address), await client.get(address)
        assert (head.status_code, head.content) == (200, b"")
        assert dict(head.headers) == dict(got.headers)


@pytest.mark.parametrize("public", [None, "chat.example.com"])
async def test_the_page_runs_shows_and_asks_only_what_is_its_own(folder: Path, public: str | None) -> None:
    async with _client(folder, public_host=public) as client:
        got = await client.get("/")
    rules = dict(rule.strip().split(" ", 1) for rule in got.headers["content-security-policy"].split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["img-src"] == "'self' blob:"
    assert "http://*.localhost:*" in rules["frame-src"].split()
    assert ("https://*.chat.example.com" in rules["frame-src"]) is (public is not None)
    assert "unsafe" not in got.headers["content-security-policy"]


@pytest.mark.parametrize("address", ["/assets/nothing.js", "/assets/..%2ftheme.js", "/assets/%00"])
async def test_what_was_not_built_is_not_there(client: httpx.AsyncClient, address: str) -> None:
    assert (await client.get(address)).status_code == 404


async def test_without_a_build_it_says_what_to_do_and_takes_the_page_as_soon_as_it_is_there(
    folder: Path,
) -> None:
    index = folder / "index.html"
    index.rename(folder / "later.html")
    async with _client(folder) as client:
        missing = await client.get("/")
        assert missing.status_code == 503
        assert "./scripts/page" in missing.text
        (folder / "later.html").rename(index)
        assert (await client.get("/")).status_code == 200
        index.write_text("built anew")
        os.utime(index, ns=(1, 1))
        assert (await client.get("/")).text == "built anew"
