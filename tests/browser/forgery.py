"""A page of somebody else, which tries everything with the cookies of whoever opens it."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

EVIL = """<!doctype html><title>Win a prize</title>
<iframe name=hole></iframe>
<form id=words method=post enctype=text/plain target=hole action="{url}/v1/threads/{thread}/messages">
  <input name='{{"text":"forged","x":"' value='"}}'></form>
<form id=plain method=post target=hole action="{url}/v1/threads/{thread}/stop"></form>
<form id=out method=post target=hole action="{url}/auth/logout"></form>
<form id=in method=post enctype=text/plain target=hole action="{url}/auth/login">
  <input name='{{"user":"bob","password":"correct horse battery","x":"' value='"}}'></form>
<iframe id=framed src="{url}/"></iframe>
"""
ATTACK = """
async ([url, thread]) => {
  const tries = [];
  const send = (path, options) =>
    tries.push(
      fetch(url + path, { credentials: "include", ...options }).then((r) => r.text(), () => "refused"));
  const body = JSON.stringify({ text: "forged" });
  for (const mode of ["no-cors", "cors"]) {
    send(`/v1/threads/${thread}/messages`, { method: "POST", mode, body });
    send("/v1/threads", { method: "POST", mode, body });
    send(`/v1/threads/${thread}/stop`, { method: "POST", mode });
    send("/v1/uploads?name=forged.txt", { method: "POST", mode, body });
    send(`/v1/threads/${thread}`, { method: "GET", mode });
    send("/auth/logout", { method: "POST", mode });
  }
  send(`/v1/threads/${thread}`, { method: "DELETE" });
  send(`/v1/threads/${thread}`, { method: "PATCH", body, headers: { "Content-Type": "application/json" } });
  send("/v1/threads", { method: "POST", body, headers: { "X-Branchline-Form": "guessed" } });
  for (const id of ["words", "plain", "out", "in"]) {
    const hole = document.querySelector("[name=hole]");
    const loaded = new Promise((done) => hole.addEventListener("load", done, { once: true }));
    document.getElementById(id).submit();
    await loaded;
  }
  return Promise.all(tries);
}
"""


@contextmanager
def page_of_somebody(text: str) -> Iterator[str]:
    """Serve one page on another port of this machine: another origin, but for cookies the same site."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()
