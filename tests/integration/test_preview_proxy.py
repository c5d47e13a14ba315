"""A preview through the dispatcher: a real dispatcher, a real small site behind it, real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx
import pytest
from yarl import URL

from dispatcher.preview_names import label
from dispatcher.signin_records import digest
from tests.fakes.dispatcher import FakeLauncher, running_launcher
from tests.fakes.engine import EngineProcess, fresh_account
from tests.fakes.preview import Stage, free_port, until
from tests.fakes.site import Site, running_site
from tests.integration.dispatcher_lab import WORKER, Lab, lab
from tests.integration.signin_lab import OPERATOR, PASSWORD
from worker import preview_net

NAME = f"{label(WORKER)}.localhost"
PORT = free_port()


SERVER = """
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"here it is")

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


class Browser:
    """Asks under the preview's name, as a browser does."""

    def __init__(self, lab: Lab, session: aiohttp.ClientSession, *, name: str = NAME) -> None:
        self.lab, self.session = lab, session
        self.host = f"{name}:{urlsplit(lab.dispatcher.url).port}"
        self.origin = f"http://{self.host}"

    def ask(self, path: str = "/", *, method: str = "GET", **more: Any) -> Any:
        headers = {"Host": self.host, **more.pop("headers", {})}
        url = URL(self.lab.dispatcher.url + path, encoded=True)
        return self.session.request(method, url, headers=headers, allow_redirects=False, **more)

    def socket(self, path: str = "/socket", **headers: str) -> Any:
        url = self.lab.dispatcher.url + path
        return self.session.ws_connect(url, headers={"Host": self.host, **headers}, protocols=("vite-hmr",))

    async def shows(self, words: str, **more: Any) -> bool:
        async with self.ask(**more) as answer:
            return words in await answer.text()


@contextmanager
def dispatching(
    engine: EngineProcess, launcher: FakeLauncher, cwd: Path, port: int, **more: str
) -> Iterator[Lab]:
    with lab(engine, launcher, cwd, BRANCHLINE_PREVIEW_PORT=str(port), **more) as made:
        yield made


def listens(made: Lab, url: str) -> None:
    made.update_worker(state="up", owner="somebody", preview_url=url)


@pytest.fixture(scope="module")
def launcher() -> Iterator[FakeLauncher]:
    with running_launcher() as launcher:
        yield launcher


@pytest.fixture(scope="module")
def made(
    engine: EngineProcess, launcher: FakeLauncher, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    with dispatching(engine, launcher, tmp_path_factory.mktemp("dispatcher"), PORT) as made:
        yield made


@pytest.fixture
async def site(made: Lab) -> AsyncIterator[Site]:
    async with running_site(Site(port=PORT)) as site:
        yield site


@pytest.fixture
async def browser(made: Lab, site: Site) -> AsyncIterator[Browser]:
    listens(made, site.url)
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        browser = Browser(made, session)
        await until(lambda: browser.shows('"path": "/"'))
        site.asked.clear()
        yield browser


async def test_a_request_reaches_the_site_as_it_was_asked_and_its_answer_comes_back(
    browser: Browser, site: Site
) -> None:
    path = "/a%2Fb//c/..%2e?x=%20&y=%26"
    async with browser.ask(
        path, headers={"X-Mine": "1", "Origin": browser.origin}, data=b"hello", method="PUT"
    ) as a:
        said = await a.json()
        headers = a.headers
    assert (said["method"], said["path"], said["body"]) == ("PUT", path, "hello")
    assert said["headers"]["host"] == browser.host
    assert said["headers"]["x-mine"] == "1"
    assert headers["X-Site"] == "yes"
    assert "X-Frame-Options" not in headers
    assert "Strict-Transport-Security" not in headers
    port = browser.host.rpartition(":")[2]
    allowed = f"frame-ancestors 'self' http://127.0.0.1:{port} http://localhost:{port}"
    assert headers.getall("Content-Security-Policy") == [allowed]
    assert len(headers.getall("Date")) == 1


async def test_an_answer_comes_piece_by_piece_and_ends_with_its_reader(browser: Browser, site: Site) -> None:
    async with browser.ask("/stream") as answer:
        assert await answer.content.readline() == b"first\n"  # long before it ends
        assert site.open == 1
        answer.close()
    await until(lambda: site.open == 0)
    async with browser.ask("/stream") as answer:
        await answer.content.readline()
        site.more.set()
        assert (await answer.content.read()).endswith(b"second\n")


async def test_a_long_body_is_passed_on_and_a_too_long_one_refused(browser: Browser, site: Site) -> None:
    async def pieces(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"x" * 1_000_000

    async with browser.ask("/upload", method="POST", data=pieces(5)) as answer:
        assert await answer.text() == "5000000"
    async with browser.ask("/upload", method="POST", data=pieces(70)) as answer:
        assert answer.status == 413
        assert "too large" in await answer.text()


async def test_an_answer_that_breaks_is_not_taken_for_a_whole_one(browser: Browser) -> None:
    async with browser.ask("/broken") as answer:
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


async def test_a_redirect_leads_to_the_name_under_which_the_site_is_seen(
    browser: Browser, site: Site
) -> None:
    async with browser.ask(f"/to?where={site.url}/there") as answer:
        assert (answer.status, answer.headers["Location"]) == (302, f"{browser.origin}/there")


async def test_cookies_of_the_product_do_not_reach_the_site_and_the_site_sets_none(browser: Browser) -> None:
    async with browser.ask("/", headers={"Cookie": "branchline-preview=x; a=1"}) as answer:
        assert (await answer.json())["headers"]["cookie"] == "a=1"
    async with browser.ask("/cookies") as answer:
        assert answer.headers.getall("Set-Cookie") == ["a=1; Path=/; HttpOnly"]


async def test_a_socket_carries_both_ways_with_its_protocol_and_closes_with_either_side(
    browser: Browser, site: Site
) -> None:
    async with browser.socket(Origin=browser.origin) as socket:
        assert socket.protocol == "vite-hmr"
        await socket.send_str("héllo")
        assert await socket.receive_str() == "heard héllo"
        await socket.send_bytes(b"abc")
        assert await socket.receive_bytes() == b"cba"
        assert site.asked[-1]["headers"]["host"] == browser.host
    await until(lambda: site.open == 0)
    async with browser.socket() as socket:
        await socket.send_str("bye")
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 4001


async def test_a_page_of_another_origin_gets_no_socket_and_no_answer(browser: Browser, site: Site) -> None:
    for origin in ("http://evil.example", browser.lab.dispatcher.url, "null"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with browser.socket(Origin=origin):
                pass
        assert refused.value.status == 403
        async with browser.ask("/", headers={"Origin": origin}) as answer:
            assert answer.status == 403
    assert site.asked == []


async def test_scripts_of_the_site_are_refused_by_the_api_and_the_page_is_not_under_its_name(
    browser: Browser,
) -> None:
    for path, method in (("/v1/threads", "GET"), ("/v1/threads", "POST"), ("/v1/agui", "POST")):
        url = browser.lab.dispatcher.url + path
        async with browser.session.request(
            method, url, headers={"Origin": browser.origin}, json={}
        ) as answer:
            assert answer.status == 403
    async with browser.ask("/v1/threads") as answer:  # under its own name there is the site and nothing else
        assert (await answer.json())["path"] == "/v1/threads"


async def test_who_looks_counts_and_a_connection_that_is_idle_does_not(browser: Browser, site: Site) -> None:
    def connections() -> int:
        return len(preview_net.clients(port=site.port, server_pids=[]))

    for _ in range(3):
        async with browser.ask("/", headers={"Connection": "keep-alive"}) as answer:
            assert (await answer.json())["headers"]["connection"] == "close"
    await until(lambda: connections() == 0)
    async with browser.socket():
        await until(lambda: connections() >= 1)
    await until(lambda: connections() == 0)


async def test_a_real_worker_sees_a_preview_that_is_open_through_the_dispatcher(
    engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path
) -> None:
    stage = Stage(tmp_path)
    (stage.path / "serve.py").write_text(SERVER)
    async with stage.running(command="exec python3 serve.py") as server:
        await until(lambda: server.state.ready, within=60)
        with dispatching(engine, launcher, tmp_path, stage.port) as made:
            listens(made, server.url)
            async with aiohttp.ClientSession() as session:
                browser = Browser(made, session)
                assert await browser.shows("here it is")

                async def nobody() -> bool:
                    return await server.connections() == 0

                await until(nobody)
                _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(made.dispatcher.url).port)
                try:
                    # A body that is announced and does not come keeps the connection behind the proxy open.
                    head = f"POST / HTTP/1.1\r\nHost: {browser.host}\r\nContent-Length: 5\r\n\r\n"
                    writer.write(head.encode())

                    async def somebody() -> bool:
                        return await server.connections() == 1

                    await until(somebody)
                finally:
                    writer.close()
                await until(nobody)


async def test_until_there_is_a_preview_words_are_shown_that_look_again(browser: Browser, site: Site) -> None:
    made = browser.lab
    made.update_worker(state="cold")
    await until(lambda: browser.shows("starts with the next message"))
    made.update_worker(state="up", preview_url=None, preview_problem="npm said <no>.")
    await until(lambda: browser.shows("npm said &lt;no&gt;."))
    listens(made, f"http://127.0.0.1:{free_port()}")
    await until(lambda: browser.shows("cannot be opened from here"))
    listens(made, site.url)
    await until(lambda: browser.shows('"path": "/"'))
    async with browser.ask() as answer:
        assert answer.status == 200


async def test_a_site_that_does_not_answer_is_words_and_no_error(
    engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path
) -> None:
    port = free_port()
    with dispatching(engine, launcher, tmp_path, port) as made:
        listens(made, f"http://127.0.0.1:{port}")
        async with aiohttp.ClientSession() as session:
            browser = Browser(made, session)
            async with browser.ask() as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
                text = await answer.text()
            assert "does not answer" in text
            assert 'http-equiv="refresh"' in text
            with pytest.raises(aiohttp.WSServerHandshakeError):
                async with browser.socket():
                    pass
            async with Browser(made, session, name="preview-0123456789ab.localhost").ask() as answer:
                assert answer.status == 404
        assert "Traceback" not in made.dispatcher.logs()


async def test_a_worker_cannot_make_the_dispatcher_ask_anything_but_a_preview(browser: Browser) -> None:
    made = browser.lab
    for url in (made.engine.url, made.dispatcher.url, "http://169.254.169.254/", "http://localhost:1/"):
        listens(made, url)
        await until(lambda: browser.shows("cannot be opened from here"))
        listens(made, "http://10.255.255.1:1")
    assert "preview address not allowed" in made.dispatcher.logs()


async def test_a_request_that_names_an_address_itself_is_not_passed_on(browser: Browser, site: Site) -> None:
    address = urlsplit(browser.lab.dispatcher.url)
    for line in (f"GET {browser.lab.engine.url}/ HTTP/1.1", "GET http://evil.example/ HTTP/1.1"):
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(f"{line}\r\nHost: {browser.host}\r\nConnection: close\r\n\r\n".encode())
        status = (await reader.read()).split(b"\r\n", 1)[0]
        writer.close()
        assert b" 200 " not in status
    assert all(each.get("path") != "/" for each in site.asked)


async def test_the_api_says_where_the_preview_is_and_what_it_shows(browser: Browser, site: Site) -> None:
    made = browser.lab
    thread = made.post("hello", thread_id="a").json()["thread_id"]
    made.update_worker(state="up", preview_url=site.url, shows="Other/1")
    shown = made.client.get(f"/v1/threads/{thread}/preview").json()
    assert shown == {
        "url": f"{browser.origin}/",
        "ready": True,
        "branch": "thread-other-1--" + shown["branch"].rpartition("--")[2],
        "thread_id": "Other/1",
        "problem": None,
        "live": True,
    }
    made.update_worker(preview_url=None, preview_problem="It broke.")
    shown = made.client.get(f"/v1/threads/{thread}/preview").json()
    assert (shown["ready"], shown["problem"]) == (False, "It broke.")
    made.update_worker(state="cold")
    shown = made.client.get(f"/v1/threads/{thread}/preview").json()
    assert (shown["ready"], shown["problem"]) == (False, "The preview starts with the next message.")
    assert made.client.get("/v1/threads/nobody/preview").status_code == 404


@contextmanager
def signing_in(engine: EngineProcess, launcher: FakeLauncher, cwd: Path, **more: Any) -> Iterator[Lab]:
    """A dispatcher that people have to sign in to; its client has the operator's token."""
    login = {"BRANCHLINE_LOGIN": "accounts", "BRANCHLINE_OPERATOR_TOKEN_HASH": digest(OPERATOR)}
    with lab(engine, launcher, cwd, BRANCHLINE_PREVIEW_PORT=str(PORT), **login, **more) as made:
        made.client.headers["Authorization"] = f"Bearer {OPERATOR}"
        yield made


async def refused_socket(browser: Browser, path: str = "/socket", **headers: str) -> int:
    """The status with which no socket is opened."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with browser.socket(path, **headers):
            pass
    return refused.value.status


async def cookie_for(browser: Browser) -> dict[str, str]:
    """The preview's cookie for a ticket that the API has given."""
    url = urlsplit(browser.lab.client.get("/v1/threads/a/preview").json()["url"])
    async with browser.ask(f"/?{url.query}") as answer:
        assert answer.status == 303
        return {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}


async def test_where_people_sign_in_a_preview_opens_with_a_ticket_and_with_nothing_else(
    engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path, site: Site
) -> None:
    with signing_in(engine, launcher, tmp_path) as made:
        listens(made, site.url)
        made.post("hello", thread_id="a")
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            browser = Browser(made, session)
            async with browser.ask() as answer:
                assert answer.status == 401
                assert "open it from the page" in await answer.text()
            assert await refused_socket(browser) == 401
            async with Browser(made, session, name="preview-0123456789ab.localhost").ask() as answer:
                assert answer.status == 401  # as for a worker that is there
            url = urlsplit(made.client.get("/v1/threads/a/preview").json()["url"])
            assert url.netloc == browser.host
            async with browser.ask(f"//evil.example/x?{url.query}&b=2") as answer:
                assert answer.status == 303
                assert answer.headers["Location"] == f"{browser.origin}//evil.example/x?b=2"
                cookie = answer.headers["Set-Cookie"]
            assert "HttpOnly" in cookie
            pair = {"Cookie": cookie.partition(";")[0]}
            async with browser.ask("/in", headers=pair) as answer:
                said = await answer.json()
                assert (answer.status, said["path"]) == (200, "/in")
            assert "branchline" not in json.dumps(said["headers"].get("cookie", ""))
            async with browser.socket(**pair) as socket:
                await socket.send_str("hi")
                assert await socket.receive_str() == "heard hi"


async def test_a_socket_asks_for_the_previews_own_cookie_and_takes_nothing_instead(
    engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path, site: Site
) -> None:
    with signing_in(engine, launcher, tmp_path) as made:
        listens(made, site.url)
        made.post("hello", thread_id="a")
        made.client.post("/v1/accounts", json={"user": "local", "password": PASSWORD}).raise_for_status()
        signed_in = {"user": "local", "password": PASSWORD}
        session = httpx.post(f"{made.dispatcher.url}/auth/login", json=signed_in).raise_for_status()
        of_page = f"branchline_session={session.cookies['branchline_session']}"
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
            browser = Browser(made, http)
            ticket = urlsplit(made.client.get("/v1/threads/a/preview").json()["url"]).query
            stolen = of_page.replace("branchline_session", "branchline-preview")
            for headers in (
                {},
                {"Cookie": of_page},
                {"Cookie": stolen},
                {"Authorization": f"Bearer {OPERATOR}"},
            ):
                assert await refused_socket(browser, **headers) == 401
            assert await refused_socket(browser, f"/socket?{ticket}") == 401  # it becomes a cookie first
            page = Browser(made, http, name="127.0.0.1")
            assert await refused_socket(page, "/v1/threads") == 403  # no socket but the previews'
            assert site.asked == []
            async with browser.socket(**await cookie_for(browser)) as socket:
                await socket.send_str("hi")
                assert await socket.receive_str() == "heard hi"


async def test_a_socket_ends_with_the_token_that_opened_it(
    engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path, site: Site
) -> None:
    with signing_in(engine, launcher, tmp_path) as made:
        listens(made, site.url)
        made.post("hello", thread_id="a")
        token = made.client.post("/v1/tokens", json={"name": "ci"}).json()["token"]
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
            browser = Browser(made, http)
            stays, made.client.headers["Authorization"] = await cookie_for(browser), f"Bearer {token}"
            ends = await cookie_for(browser)
            made.client.headers["Authorization"] = f"Bearer {OPERATOR}"
            async with browser.socket(**stays) as open_, browser.socket(**ends) as closed:
                made.client.post("/v1/tokens/revoke", json={"name": "ci"}).raise_for_status()
                async with asyncio.timeout(60):
                    assert (await closed.receive()).type is aiohttp.WSMsgType.CLOSE
                assert closed.close_code == 1008
                await open_.send_str("hi")
                assert await open_.receive_str() == "heard hi"


async def test_a_cookie_outlives_a_restart_of_the_dispatcher(
    engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path, site: Site
) -> None:
    account = fresh_account()
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        with signing_in(engine, launcher, tmp_path, account=account) as made:
            listens(made, site.url)
            made.post("hello", thread_id="a")
            cookie = await cookie_for(Browser(made, http))
        with signing_in(engine, launcher, tmp_path, account=account) as made:
            async with Browser(made, http).ask("/", headers=cookie) as answer:
                assert answer.status == 200
