"""The page at ``/``: three files, served as they are but for a few facts. Knows nothing of threads."""

import html
from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import Response

from dispatcher.settings import Settings

_HERE = Path(__file__).parent
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:;"
        " form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_OFFLINE = (
    "No model is configured: answers come from the offline model, a small script that can edit the example"
    " site. Set ANTHROPIC_API_KEY and start again for real answers."
)
_MODEL = "Workers run Claude Code with the model that is configured."


def router(settings: Settings) -> APIRouter:
    """``/``, ``/page.css`` and ``/page.js``."""
    made = APIRouter()
    page = _fill((_HERE / "page.html").read_text("utf-8"), settings)
    for address, content, media_type in (
        ("/", page, "text/html"),
        ("/page.css", (_HERE / "page.css").read_text("utf-8"), "text/css"),
        ("/page.js", (_HERE / "page.js").read_text("utf-8"), "text/javascript"),
    ):
        made.add_api_route(address, _file(content, media_type), methods=["GET", "HEAD"])
    return made


def _fill(template: str, settings: Settings) -> str:
    """The page with its facts; each is escaped."""
    facts = {
        "{model}": _OFFLINE if settings.offline_model else _MODEL,
        "{model_kind}": "offline" if settings.offline_model else "real",
        "{preview}": f"http://127.0.0.1:{settings.preview_port}",
        "{projects}": ", ".join(sorted(settings.projects)) or "none configured",
    }
    for name, fact in facts.items():
        template = template.replace(name, html.escape(fact))
    return template


def _file(content: str, media_type: str) -> Callable[[], Awaitable[Response]]:
    async def answer() -> Response:
        return Response(content, media_type=media_type, headers=_HEADERS)

    return answer
