"""A GitHub on loopback: REST for the calls of ours, App tokens with a real proof, git over HTTP, webhooks.

For tests, chaos and ``branchline simulate github``. It can refuse, slow down, fail, and lose an answer after
it has done what was asked. It keeps every edit and every request. Nothing of it is reachable from elsewhere.
"""

import base64
import json
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jwt

from fleet.standin import github_git
from fleet.standin.github_hooks import Hooks
from fleet.standin.github_rest import Answer, Caller, Page, Problem, Rest
from fleet.standin.github_world import Json, World
from fleet.standin.keys import new_private_key, public_half

_JWT_SECONDS = 600
_GIT = re.compile(
    r"/(?P<repo>[^/]+/[^/]+?)(?:\.git)?(?P<tail>/(?:info/refs|git-upload-pack|git-receive-pack))"
)


@dataclass(kw_only=True)
class Fault:
    """What happens to requests whose ``METHOD path`` matches. ``status`` None: the connection is cut.

    ``after``: only once the work was done, so that the answer is lost and nothing else.
    """

    pattern: re.Pattern[str]
    times: int
    status: int | None
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "injected"
    after: bool = False


@dataclass(frozen=True, kw_only=True)
class _Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class GitHubStandin:
    """The server. ``url`` is the base of the API and of clones; ``private_key`` is the App's, in PEM."""

    def __init__(
        self,
        *,
        world: World | None = None,
        token_seconds: float = 3600,
        port: int = 0,
        private_key: str | None = None,
    ) -> None:
        self.world = world or World()
        self.token_seconds = token_seconds
        self.requests: list[str] = []
        self.grants: dict[str, tuple[Caller, datetime]] = {}
        self._faults: list[Fault] = []
        self._lock = threading.RLock()
        self._rest = Rest(self.world)
        self.private_key = private_key or new_private_key()
        self._public = public_half(self.private_key)
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _endpoint(self))
        self._server.daemon_threads = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.hooks = Hooks(world=self.world)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def still(self) -> threading.RLock:
        """While this is held, no request changes anything."""
        return self._lock

    def close(self) -> None:
        """Stop listening, once the requests under way are answered."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fail(
        self, pattern: str, *, status: int, times: int = 1, message: str = "injected", **headers: str
    ) -> None:
        """Refuse the next requests whose ``METHOD path`` matches; ``retry_after`` becomes ``retry-after``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._faults.append(
            Fault(pattern=re.compile(pattern), times=times, status=status, headers=named, message=message)
        )

    def lose(self, pattern: str, *, times: int = 1) -> None:
        """Do what the next matching requests ask for, and cut the connection instead of answering."""
        self._faults.append(Fault(pattern=re.compile(pattern), times=times, status=None, after=True))

    def clone_url(self, repo: str) -> str:
        """What git clones from, with a token."""
        return f"{self.url}/{repo}.git"

    def mint(self, repo: str, permissions: dict[str, str]) -> tuple[str, datetime]:
        """A token for one repository."""
        value = f"ghs_{secrets.token_hex(18)}"
        until = datetime.now(UTC) + timedelta(seconds=self.token_seconds)
        self.grants[value] = (Caller(repo=repo, permissions=permissions), until)
        return value, until

    def count(self, pattern: str) -> int:
        """How many requests matched so far."""
        return sum(1 for line in self.requests if re.search(pattern, line))

    # ---------------------------------------------------------------- answering

    def reply(self, *, method: str, target: str, headers: dict[str, str], body: bytes) -> _Reply | None:
        """The answer to a request; None to cut the connection."""
        path = urlsplit(target).path
        with self._lock:
            line = f"{method} {path}"
            self.requests.append(line)
            fault = self._due(line)
        if fault is not None and not fault.after:
            return _json(fault.status or 500, {"message": fault.message}, more=fault.headers)
        done = self._done(method=method, target=target, headers=headers, body=body)
        return None if fault is not None else done

    def _due(self, line: str) -> Fault | None:
        fault = next((f for f in self._faults if f.times > 0 and f.pattern.search(line)), None)
        if fault is not None:
            fault.times -= 1
        return fault

    def _done(self, *, method: str, target: str, headers: dict[str, str], body: bytes) -> _Reply:
        parts = urlsplit(target)
        try:
            git = _GIT.fullmatch(parts.path)
            if git is not None:
                return self._git(git, method=method, query=parts.query, headers=headers, body=body)
            query = dict(parse_qsl(parts.query))
            plain = json.loads(body) if body.strip() else {}
            status, answer = self._api(method, parts.path, query=query, headers=headers, body=plain)
        except Problem as problem:
            return _json(problem.status, problem.body)
        more = {}
        if isinstance(answer, Page) and answer.more:
            page = int(query.get("page", 1)) + 1
            more["link"] = f'<{self.url}{parts.path}?per_page={query["per_page"]}&page={page}>; rel="next"'
        return _json(status, answer, more=more)

    def _api(
        self, method: str, path: str, *, query: dict[str, str], headers: dict[str, str], body: Json
    ) -> Answer:
        kind, _, proof = headers.get("authorization", "").partition(" ")
        installation = re.fullmatch(r"/repos/([^/]+/[^/]+)/installation", path)
        if path.startswith("/app/") or installation:
            self._prove(proof if kind.lower() == "bearer" else "")
            attempt = re.fullmatch(r"/app/hook/deliveries/(\d+)/attempts", path)
            if attempt and method == "POST":
                return self.hooks.attempt(int(attempt[1]))  # sends, so not under the lock
        with self._lock:
            if installation:
                return self._installation(installation[1])
            if path.startswith("/app/"):
                return self._as_app(method, path, query=query, body=body)
            caller = self._caller(proof)
            if path == "/graphql":
                return self._rest.last_edit(caller, body["variables"])
            return self._rest.answer(caller, method=method, path=path, query=query, body=body)

    def _prove(self, token: str) -> None:
        """The App's own proof: RS256, issued by the App, at most ten minutes long."""
        try:
            claims = jwt.decode(
                token, self._public, algorithms=["RS256"], issuer=self.world.app_id,
                options={"require": ["exp", "iat", "iss"]},
            )  # fmt: skip
        except jwt.PyJWTError as error:
            raise Problem(401, f"A JSON web token could not be decoded: {error}") from error
        if claims["exp"] - datetime.now(UTC).timestamp() > _JWT_SECONDS:
            raise Problem(401, "'Expiration time' claim ('exp') is too far in the future")

    def _caller(self, token: str) -> Caller:
        caller, until = self.grants.get(token, (None, datetime.now(UTC)))
        if caller is None or until <= datetime.now(UTC):
            raise Problem(401, "Bad credentials")
        return caller

    def _installation(self, name: str) -> Answer:
        repo = self.world.repos.get(name.lower())
        if repo is None or not repo.installed:
            raise Problem(404, "Not Found")
        shown = {"id": 7, "app_id": int(self.world.app_id), "permissions": self.world.granted}
        return 200, {**shown, "repository_selection": "selected", "account": self.world.user(repo.owner)}

    def _as_app(self, method: str, path: str, *, query: dict[str, str], body: Json) -> Answer:
        if (method, path) == ("POST", "/app/installations/7/access_tokens"):
            return self._token(body)
        if (method, path) == ("GET", "/app/hook/deliveries"):
            return 200, self.hooks.listed(query)
        raise Problem(404, "Not Found")

    def _token(self, body: Json) -> Answer:
        """For the one repository that is named: a token for more than one is not asked for by us."""
        named = body.get("repositories") or []
        known = [r for r in self.world.repos.values() if r.full_name.partition("/")[2].lower() in named]
        if len(named) != 1 or len(known) != 1 or not known[0].installed:
            raise Problem(422, "There is at least one repository that does not exist or is not accessible.")
        granted, asked = self.world.granted, body.get("permissions") or self.world.granted
        if any(granted.get(n) != level and granted.get(n) != "write" for n, level in asked.items()):
            raise Problem(422, "The permissions requested are not granted to this installation.")
        value, until = self.mint(known[0].full_name, dict(asked))
        shown = until.strftime("%Y-%m-%dT%H:%M:%SZ")
        return 201, {"token": value, "expires_at": shown, "permissions": asked}

    def _git(
        self, match: re.Match[str], *, method: str, query: str, headers: dict[str, str], body: bytes
    ) -> _Reply:
        kind, _, proof = headers.get("authorization", "").partition(" ")
        token = base64.b64decode(proof).decode().partition(":")[2] if kind.lower() == "basic" else ""
        try:
            caller = self._caller(token)
        except Problem:
            asks = [("WWW-Authenticate", 'Basic realm="GitHub"'), ("Content-Length", "0")]
            return _Reply(status=401, headers=asks, body=b"")
        repo = self.world.repos.get(match["repo"].lower())
        if repo is None or repo.folder is None or caller.repo.lower() != repo.full_name.lower():
            raise Problem(404, "Not Found")
        may = caller.permissions.get("contents")
        if may not in ("read", "write") or (
            github_git.is_push(path=match[0], query=query) and may != "write"
        ):
            raise Problem(403, "Write access to repository not granted.")
        served = github_git.serve(
            repo.folder, method=method, tail=match["tail"], query=query, body=body,
            content_type=headers.get("content-type", ""), encoding=headers.get("content-encoding", ""),
        )  # fmt: skip
        length = ("Content-Length", str(len(served.body)))
        return _Reply(status=served.status, headers=[*served.headers, length], body=served.body)


@contextmanager
def running_github(*, world: World | None = None, token_seconds: float = 3600) -> Iterator[GitHubStandin]:
    """A stand-in for the length of a block."""
    standin = GitHubStandin(world=world, token_seconds=token_seconds)
    try:
        yield standin
    finally:
        standin.close()


def _json(status: int, plain: Any, *, more: dict[str, str] | None = None) -> _Reply:
    body = json.dumps(plain).encode()
    named = {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(body))}
    return _Reply(status=status, headers=[*(named | (more or {})).items()], body=body)


def _endpoint(standin: GitHubStandin) -> type[BaseHTTPRequestHandler]:
    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply()

        do_POST = do_PATCH = do_GET  # noqa: N815 - the names are the library's

        def _reply(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self._body(headers)
            reply = standin.reply(method=self.command, target=self.path, headers=headers, body=body)
            if reply is None:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        def _body(self, headers: dict[str, str]) -> bytes:
            if headers.get("transfer-encoding", "").lower() != "chunked":
                return self.rfile.read(int(headers.get("content-length", 0)))
            body = bytearray()
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return bytes(body)

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    return Endpoint
