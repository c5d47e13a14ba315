"""A stranger's web server on loopback: keeps every request, answers anything. For F23."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Stranger:
    """``heard``: each request, its line, headers and body as one text."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._endpoint())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _endpoint(self) -> type[BaseHTTPRequestHandler]:
        heard = self.heard

        class Endpoint(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                heard.append(f"{self.requestline}\n{self.headers}\n{body.decode('utf-8', 'replace')}")
                # A password is what the stranger would like best.
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="stranger"')
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_PUT = do_CONNECT = do_GET  # noqa: N815 - the names are the library's

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        return Endpoint


@contextmanager
def stranger() -> Iterator[Stranger]:
    """One for the length of a block."""
    server = Stranger()
    try:
        yield server
    finally:
        server.close()
