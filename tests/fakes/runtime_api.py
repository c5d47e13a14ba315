"""AWS Lambda's Runtime API on loopback, and around it what Lambda is to a function's process: it starts one
at the first event, gives it one event at a time, and throws it away when it crashes or takes too long.

It holds a process to the protocol: an answer for another event than the one that is out, a second answer, or
an error after the first piece gets 403, and what is sent is kept as it came.
"""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.fakes.lambda_answers import Answer, FunctionError, Response, before

_BASE = "/2018-06-01/runtime"
_ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"
_START_SECONDS = 60.0


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, function: "LambdaFunction") -> None:
        super().__init__(("127.0.0.1", 0), _Endpoint)
        self.function = function

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that end with the process; everything else is a fault."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Endpoint(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_GET(self) -> None:
        if self.path != f"{_BASE}/invocation/next":
            self._reply(404)
            return
        process = self.server.function.starts
        answer = None
        while answer is None:
            if self._is_gone():
                return
            answer = self.server.function.next(process)
        headers = {
            "Lambda-Runtime-Aws-Request-Id": answer.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(answer.deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:1:function:dispatcher",
            "Lambda-Runtime-Trace-Id": "Root=1-0-0",
        }
        self._reply(200, answer.event, headers=headers)

    def do_POST(self) -> None:
        parts = self.path.removeprefix(_BASE).strip("/").split("/")
        if parts == ["init", "error"]:
            self.server.function.fail_to_start(json.loads(self._whole()), self.headers[_ERROR_TYPE])
            self._reply(202)
        elif len(parts) == 3 and parts[0] == "invocation" and parts[2] in ("response", "error"):
            self._said(parts[1], is_error=parts[2] == "error")
        else:
            self._reply(404)

    def _said(self, request_id: str, *, is_error: bool) -> None:
        answer = self.server.function.current(request_id)
        if answer is None:
            self.server.function.refused.append(self.path)
            self.close_connection = True
            self._reply(403, b'{"errorType": "InvalidStateTransition"}')
            return
        if is_error:
            answer.finish(FunctionError(self.headers[_ERROR_TYPE], json.loads(self._whole())))
            self._reply(202)
            return
        answer.headers = {k.lower(): v for k, v in self.headers.items()}
        answer.begun.set()
        if "content-length" in answer.headers:
            answer.pieces.put(self._whole())
        else:
            self._pieces(answer)
        answer.finish()
        self._reply(202)

    def _pieces(self, answer: Answer) -> None:
        while size := self._size():
            answer.pieces.put(self.rfile.read(size))
            self.rfile.readline()
        trailers = Message()
        while (line := self.rfile.readline().decode().strip()) != "":
            name, _, value = line.partition(": ")
            trailers[name] = value
        answer.trailers = {k.lower(): v for k, v in trailers.items()}

    def _size(self) -> int:
        """Of the next piece. Raises ConnectionError when the process died instead."""
        line = self.rfile.readline()
        if not line:
            raise ConnectionResetError
        return int(line, 16)

    def _whole(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _is_gone(self) -> bool:
        try:
            return self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _reply(self, status: int, body: bytes = b"", *, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


class LambdaFunction:
    """One function with one environment. ``argv`` starts its process, ``seconds`` is its timeout."""

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, seconds: float = 30.0
    ) -> None:
        self._argv, self._env, self._cwd, self.seconds = list(argv), dict(env), cwd, seconds
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this
        self._one_at_a_time = threading.Lock()
        self._waiting: queue.Queue[Answer] = queue.Queue()
        self.process: subprocess.Popen[bytes] | None = None
        self.out: Answer | None = None
        self.starts = 0
        self._useless = False
        self._closing = threading.Event()
        self.refused: list[str] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def logs(self) -> str:
        return os.pread(self._log.fileno(), 10_000_000, 0).decode(errors="replace")

    # ------------------------------------------------------------ events

    def invoke(self, event: Any) -> Any:
        """The result of an event that is answered in one piece. Raises FunctionError."""
        return json.loads(self.begin(event).body(seconds=self.seconds + _START_SECONDS + 5))

    def begin(self, event: Any) -> Answer:
        """Hand an event over; the answer comes while it is read. One at a time, as in Lambda."""
        answer = Answer(event=json.dumps(event).encode())
        threading.Thread(target=self._carry, args=(answer,), daemon=True).start()
        return answer

    def request(self, event: Any) -> "Response":
        """The streamed answer to an HTTP request, complete. Raises FunctionError."""
        response = self.open(event)
        response.body = b"".join(response.rest)
        return response

    def open(self, event: Any) -> "Response":
        """The streamed answer to an HTTP request, as soon as its prelude is there. Raises FunctionError."""
        answer = self.begin(event)
        rest = answer.read(seconds=self.seconds + _START_SECONDS + 5)
        head = b""
        while bytes(8) not in head:
            head += next(rest)
        assert answer.streamed, answer.headers
        prelude, _, first = head.partition(bytes(8))
        return Response(answer=answer, head=json.loads(prelude), rest=before(first, rest))

    def _carry(self, answer: Answer) -> None:
        with self._one_at_a_time:
            fresh = self._ensure()
            self.out = answer
            self._waiting.put(answer)
            # The time of an event begins with it; only a new process may take its time before that.
            latest = time.monotonic() + (_START_SECONDS if fresh else 0.0)
            while not answer.over.wait(timeout=0.005):
                if self._closing.is_set():
                    answer.finish(FunctionError("Test.Closed"))
                elif self.process is None or self.process.poll() is not None:
                    self._crashed(answer)
                elif time.monotonic() > (answer.handed_over or latest) + self.seconds:
                    self.throw_away()
                    answer.finish(FunctionError("Sandbox.Timedout"))
            with suppress(queue.Empty):
                self._waiting.get_nowait()
            self.out = None

    def _crashed(self, answer: Answer) -> None:
        answer.over.wait(timeout=0.2)  # what it said last may still be on its way
        code = self.process.returncode if self.process else None
        answer.finish(FunctionError("Runtime.ExitError", {"code": code, "log": self.logs()[-1500:]}))

    # ------------------------------------------------------------ the process

    def _ensure(self) -> bool:
        """Have a process; whether it is a new one."""
        if self.process is not None and self.process.poll() is None and not self._useless:
            return False
        self.throw_away()
        self.starts += 1
        self._useless = False
        env = {**self._env, "AWS_LAMBDA_RUNTIME_API": self.address, "LAMBDA_TASK_ROOT": str(self._cwd)}
        self.process = subprocess.Popen(
            self._argv, env=env, cwd=self._cwd, stdout=self._log, stderr=self._log, start_new_session=True
        )
        return True

    def throw_away(self) -> None:
        """End the process as Lambda does."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def close(self) -> None:
        self._closing.set()
        with self._one_at_a_time:  # until the last event has found its end
            self.throw_away()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._log.close()

    # ------------------------------------------------------------ the API

    def next(self, process: int) -> Answer | None:
        """The next event for the process that was started as this one; None when there is none for a while
        (the caller asks again)."""
        with suppress(queue.Empty):
            answer = self._waiting.get(timeout=0.05)
            if process != self.starts:  # whoever asks was thrown away meanwhile
                self._waiting.put(answer)
                return None
            answer.handed_over = time.monotonic()
            answer.deadline = time.time() + self.seconds
            return answer
        return None

    def current(self, request_id: str) -> Answer | None:
        """The event that is out, if this is its id and nothing was said about it yet."""
        out = self.out
        fits = out is not None and out.request_id == request_id and not out.begun.is_set()
        return out if fits else None

    def fail_to_start(self, told: Mapping[str, Any], kind: str) -> None:
        self._useless = True
        if self.out is not None:
            self.out.finish(FunctionError(kind, told))


@contextmanager
def function(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, seconds: float = 30.0
) -> Iterator[LambdaFunction]:
    """A function for the length of a block; its process starts at the first event."""
    made = LambdaFunction(argv, env=env, cwd=cwd, seconds=seconds)
    try:
        yield made
    finally:
        made.close()
