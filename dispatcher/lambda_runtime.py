"""The Runtime API of AWS Lambda, as a program in a Lambda sees it: events in, answers and errors out.

From "Using the Lambda runtime API" and "Building a custom runtime" (section "Implementing response streaming
in a custom runtime") of AWS's developer guide: paths below ``/2018-06-01``, request id and deadline in
``Lambda-Runtime-*`` headers; a stream has ``Lambda-Runtime-Function-Response-Mode: streaming``, is chunked,
ends with the connection, and says errors midway in the trailers ``Lambda-Runtime-Function-Error-Type`` and
``-Body`` (base64 of JSON). The error endpoint is for the time before the first byte.

Standard library only, so that an import that fails can still be told. Knows nothing of what is in an event.
"""

import asyncio
import base64
import http.client
import json
import time
import traceback
from dataclasses import dataclass
from typing import Any

_BASE = "/2018-06-01/runtime"
_TYPE, _BODY = "Lambda-Runtime-Function-Error-Type", "Lambda-Runtime-Function-Error-Body"
_INTEGRATION = "application/vnd.awslambda.http-integration-response"
_TAKEN_SECONDS = 10.0
"""How long the end of a stream may take to be acknowledged."""
_LINES = 20


class RuntimeApiError(Exception):
    """Lambda did not take something; the environment is of no use any more."""


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """One event. ``deadline`` is Unix time in seconds."""

    request_id: str
    event: Any
    deadline: float

    def get_remaining_time_in_millis(self) -> int:
        """As a managed runtime's context says it."""
        return max(int((self.deadline - time.time()) * 1000), 0)


class RuntimeApi:
    """``address``: what ``AWS_LAMBDA_RUNTIME_API`` names, host and port. Not for two threads."""

    def __init__(self, address: str) -> None:
        self._address = address

    def next(self) -> Invocation:
        """The next event, waited for as long as it takes. Blocks, as everything does between two events."""
        headers, body = self._ask("GET", "/invocation/next", expected=200)
        return Invocation(
            request_id=headers["Lambda-Runtime-Aws-Request-Id"],
            event=json.loads(body),
            deadline=int(headers["Lambda-Runtime-Deadline-Ms"]) / 1000,
        )

    def answer(self, request_id: str, result: Any) -> None:
        """An answer in one piece."""
        self._ask("POST", f"/invocation/{request_id}/response", body=json.dumps(result).encode())

    def fail(self, request_id: str, error: BaseException) -> None:
        """The event was not answered; nothing of an answer was sent."""
        headers = {_TYPE: f"Function.{type(error).__name__}"}
        body = json.dumps(told(error)).encode()
        self._ask("POST", f"/invocation/{request_id}/error", body=body, headers=headers)

    def fail_to_start(self, error: BaseException) -> None:
        """No event can be answered."""
        headers = {_TYPE: f"Runtime.{type(error).__name__}"}
        self._ask("POST", "/init/error", body=json.dumps(told(error)).encode(), headers=headers)

    def stream(self, request_id: str) -> "Stream":
        """An answer in pieces. Nothing is sent before its first piece."""
        return Stream(address=self._address, path=f"{_BASE}/invocation/{request_id}/response")

    def _ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        expected: int = 202,
    ) -> tuple[http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection(self._address)
        try:
            kind = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, _BASE + path, body=body, headers={**kind, **(headers or {})})
            got = connection.getresponse()
            said = got.read()
        finally:
            connection.close()
        if got.status != expected:
            raise RuntimeApiError(f"{method} {path} was answered with {got.status}: {said[:200]!r}")
        return got.headers, said


class Stream:
    """One answer in pieces. ``begun``: whether the error endpoint is closed by now."""

    def __init__(self, *, address: str, path: str) -> None:
        self._address, self._path = address, path
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def begun(self) -> bool:
        """Whether a first piece was sent."""
        return self._writer is not None

    async def write(self, piece: bytes) -> None:
        """Send a piece that is not empty. Raises ConnectionError."""
        writer = self._writer or await self._begin()
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await writer.drain()

    async def end(self, error: BaseException | None = None) -> None:
        """End the answer, in the middle if there is an error. Raises ConnectionError, RuntimeApiError."""
        writer = self._writer or await self._begin()
        writer.write(b"0\r\n" + (_trailers(error) if error else b"") + b"\r\n")
        try:
            await writer.drain()
            assert self._reader is not None  # noqa: S101 - opened with the writer
            async with asyncio.timeout(_TAKEN_SECONDS):
                status = await self._reader.readline()
        except TimeoutError as late:
            raise RuntimeApiError("the end of an answer was not acknowledged") from late
        finally:
            writer.close()
        if status.split()[1:2] != [b"202"]:
            raise RuntimeApiError(f"an answer in pieces was answered with {status!r}")

    async def _begin(self) -> asyncio.StreamWriter:
        host, _, port = self._address.rpartition(":")
        self._reader, self._writer = await asyncio.open_connection(host, int(port))
        lines = (
            f"POST {self._path} HTTP/1.1",
            f"Host: {self._address}",
            f"Content-Type: {_INTEGRATION}",
            "Lambda-Runtime-Function-Response-Mode: streaming",
            "Transfer-Encoding: chunked",
            f"Trailer: {_TYPE}, {_BODY}",
            "Connection: close",
        )
        self._writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode())
        return self._writer


def told(error: BaseException) -> dict[str, Any]:
    """An error as Lambda shows it: the type, the sentence, and the last lines of where it came from."""
    lines = traceback.format_exception(error)[-_LINES:]
    return {"errorType": type(error).__name__, "errorMessage": str(error), "stackTrace": lines}


def _trailers(error: BaseException) -> bytes:
    body = base64.b64encode(json.dumps(told(error)).encode()).decode()
    return f"{_TYPE}: Function.{type(error).__name__}\r\n{_BODY}: {body}\r\n".encode()
