"""What is shown under a preview's name while there is no preview: words, in a page that looks again."""

import html

from starlette.responses import Response

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Preview</title>{again}
<style>body{{font:16px/1.5 system-ui,sans-serif;margin:0;min-height:100vh;display:grid;place-items:center;
color:#333;background:#fafafa}}p{{max-width:34rem;padding:1rem}}
@media(prefers-color-scheme:dark){{body{{color:#ddd;background:#1b1b1b}}}}</style></head>
<body><p role="status">{words}</p></body></html>
"""
COLD = "The preview starts with the next message."
STARTING = "The preview is starting, or this project has none."
AWAY = "The preview does not answer at the moment. This page looks again by itself."
ELSEWHERE = (
    "The worker names an address for its preview that cannot be opened from here: see the server's log."
)
UNKNOWN = "There is no preview under this name: open it from the page of a thread."
SIGN_IN = "To see this preview, open it from the page of its thread again."
BUSY = "Too many requests for previews are under way: this page looks again by itself."
TOO_LARGE = "The request's body is too large to be passed on to the preview."
NOT_HERE = (
    "There is no address for previews from here: a fleet on AWS needs a domain for them (docs/aws.md), one"
    " behind a tunnel BRANCHLINE_PUBLIC_URL (docs/signin.md)."
)
NO_SOCKETS = "WebSockets are not passed on to previews here: load the page again to see what changed.\n"
RECORDS = "The records cannot be reached at the moment. This page looks again by itself."


def page(words: str, *, status: int = 503, again: int | None = None, ancestors: str = "'self'") -> Response:
    """A page with one sentence; ``again``: seconds after which the browser asks once more."""
    refresh = f'<meta http-equiv="refresh" content="{again}">' if again else ""
    policy = f"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors {ancestors}"
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
    }
    if again:
        headers["Retry-After"] = str(again)
    content = _PAGE.format(again=refresh, words=html.escape(words))
    return Response(content, status_code=status, media_type="text/html", headers=headers)
