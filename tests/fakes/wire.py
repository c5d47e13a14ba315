"""A wire between a worker and the engine that is as unkind as AWS may be: it throttles, doubles and reorders.

Speaks nothing itself: what it does not touch is passed on byte by byte.
"""

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

THROTTLED = json.dumps(
    {"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException", "message": "Rate exceeded"}
).encode()


class Wire:
    """``throttle`` counts down refusals by action; ``double`` passes these actions on twice; ``shuffle``
    turns the order of received messages around. ``refused`` counts what was refused."""

    def __init__(self, engine_url: str) -> None:
        self.throttle: Counter[str] = Counter()
        self.double: set[str] = set()
        self.shuffle = False
        self.refused: Counter[str] = Counter()
        self._engine = engine_url.removeprefix("http://")
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._endpoint())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def answer(self, *, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        """What the client gets: status, content type, body."""
        action = headers.get("X-Amz-Target", "").rpartition(".")[2]
        with self._lock:
            if self.throttle[action] > 0:
                self.throttle[action] -= 1
                self.refused[action] += 1
                return 400, "application/x-amz-json-1.0", THROTTLED
        if action in self.double:
            self._pass_on(path=path, headers=headers, body=body)
        status, kind, content = self._pass_on(path=path, headers=headers, body=body)
        if action == "ReceiveMessage" and self.shuffle and status == 200:
            found = json.loads(content)
            found["Messages"] = list(reversed(found.get("Messages", [])))
            content = json.dumps(found).encode()
        return status, kind, content

    def _pass_on(self, *, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        engine = http.client.HTTPConnection(self._engine, timeout=60)
        try:
            engine.request("POST", path, body=body, headers=headers)
            answer = engine.getresponse()
            return answer.status, answer.getheader("Content-Type", ""), answer.read()
        finally:
            engine.close()

    def _endpoint(self) -> type[BaseHTTPRequestHandler]:
        wire = self

        class Endpoint(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    status, kind, content = wire.answer(path=self.path, headers=dict(self.headers), body=body)
                    self.send_response(status)
                    self.send_header("Content-Type", kind)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    self.close_connection = True  # one side went away in mid-poll

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

        return Endpoint

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def wire_to(engine_url: str) -> Iterator[Wire]:
    """A wire for the length of a block."""
    wire = Wire(engine_url)
    try:
        yield wire
    finally:
        wire.close()
