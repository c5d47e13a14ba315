"""A wire between a client and the engine that is as unkind as AWS may be: it throttles, doubles, reorders,
loses answers, overlooks messages and forgets who holds them.

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

Answer = tuple[int, str, bytes]
"""Status, content type, body."""
_KIND = "application/x-amz-json-1.0"


def _refusal(code: str, *, status: int = 400, **more: Any) -> Answer:
    body = {"__type": code, "message": "The wire says so.", **more}
    return status, _KIND, json.dumps(body).encode()


DYNAMODB, SQS = "com.amazonaws.dynamodb.v20120810#", "com.amazonaws.sqs#"
THROTTLED = json.dumps({"__type": DYNAMODB + "ThrottlingException", "message": "Rate exceeded"}).encode()
QUEUE_THROTTLED = _refusal(SQS + "RequestThrottled", status=403)
NOT_IN_FLIGHT = _refusal(SQS + "MessageNotInflight")


class Wire:
    """``throttle`` counts down refusals by action; ``double`` passes these actions on twice; ``shuffle``
    turns the order of received messages around. ``refused`` counts what was refused.

    ``lose`` counts down answers, by action, that are lost after the engine has acted; ``conflict`` the
    transactions that are cancelled because another one was under way; ``forget`` the changes of visibility
    that find nothing in flight; ``overlook`` the receives without a wait that find nothing.
    """

    def __init__(self, engine_url: str) -> None:
        self.throttle: Counter[str] = Counter()
        self.double: set[str] = set()
        self.shuffle = False
        self.lose: Counter[str] = Counter()
        self.conflict = self.forget = self.overlook = 0
        self.refused: Counter[str] = Counter()
        self._engine = engine_url.removeprefix("http://")
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._endpoint())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def answer(self, *, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """What the client gets. Raises ConnectionError for an answer that is to be lost."""
        service, _, action = headers.get("X-Amz-Target", "").rpartition(".")
        with self._lock:
            refused = self._refuse(service=service, action=action, body=body)
        if refused is not None:
            return refused
        if action in self.double:
            self._pass_on(path=path, headers=headers, body=body)
        status, kind, content = self._pass_on(path=path, headers=headers, body=body)
        if self._counts_down(self.lose, action):
            raise ConnectionError
        if action == "ReceiveMessage" and self.shuffle and status == 200:
            found = json.loads(content)
            found["Messages"] = list(reversed(found.get("Messages", [])))
            content = json.dumps(found).encode()
        return status, kind, content

    def _refuse(self, *, service: str, action: str, body: bytes) -> Answer | None:
        """What the engine is not even asked for."""
        if self.throttle[action] > 0:
            self.throttle[action] -= 1
            self.refused[action] += 1
            return QUEUE_THROTTLED if service == "AmazonSQS" else (400, _KIND, THROTTLED)
        if action == "TransactWriteItems" and self.conflict > 0:
            self.conflict -= 1
            others = [{"Code": "None"} for _ in json.loads(body)["TransactItems"][1:]]
            reasons = [*others, {"Code": "TransactionConflict"}]
            return _refusal(DYNAMODB + "TransactionCanceledException", CancellationReasons=reasons)
        if action == "ChangeMessageVisibility" and self.forget > 0:
            self.forget -= 1
            return NOT_IN_FLIGHT
        if action == "ReceiveMessage" and self.overlook > 0 and json.loads(body).get("WaitTimeSeconds") == 0:
            self.overlook -= 1
            return 200, _KIND, b"{}"
        return None

    def _counts_down(self, counter: Counter[str], action: str) -> bool:
        with self._lock:
            counts = counter[action] > 0
            counter[action] -= counts
            return counts

    def _pass_on(self, *, path: str, headers: dict[str, str], body: bytes) -> Answer:
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
                    self.close_connection = True  # one side went away in mid-poll, or is to believe so

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
