"""Files that people send with their messages: ``/v1/uploads``.

What a file is, is judged by its bytes. It is handed out as an image or as a download and never as a page:
HTML and SVG in it must not run under the name of this server. Stores nothing (``dispatcher.upload_store``).
"""

import hashlib
import re
import secrets
import unicodedata
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from contracts import uploads as keys
from contracts.uploads import UploadRecord
from dispatcher import body, kinds
from dispatcher.access import Principal, Scope, principal
from dispatcher.upload_store import UploadStore, unknown_upload

_NAME_LIMIT = 200
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}


class Uploads:
    """The routes."""

    def __init__(self, store: UploadStore) -> None:
        self._store = store

    def router(self) -> APIRouter:
        """All addresses."""
        router = APIRouter()
        router.add_api_route("/v1/uploads", self.add, methods=["POST"])
        router.add_api_route("/v1/uploads/{upload_id}", self.show, methods=["GET"])
        return router

    async def add(self, request: Request, name: Annotated[str, Query(max_length=4096)] = "") -> Response:
        """``POST /v1/uploads?name=`` with the bytes as body: 201 ``{"upload_id", "name", "type", "size"}``.

        413 for more than 4 MB, 415 for what is neither an image nor text, 400 for nothing at all. The file is
        there for a day, and for thirty once a message carries it.
        """
        who = principal(request)
        who.needs(Scope.WRITE)
        content = await body.raw(request, limit=keys.SIZE_LIMIT)
        record = UploadRecord(
            upload_id=secrets.token_hex(16),
            name=shown_name(name),
            type=kinds.kind_of(content),
            size=len(content),
            digest=hashlib.sha256(content).hexdigest(),
            pieces=len(list(keys.pieces(content))),
            owner=who.user,
            expires=self._store.unused_until(),
        )
        request.state.about = record.upload_id
        await self._store.put(record, content)
        return JSONResponse(record.upload().model_dump(), status_code=201)

    async def show(self, request: Request, upload_id: str) -> Response:
        """``GET /v1/uploads/{upload_id}``: the bytes. 404 unless one sent it or belongs to a project in which
        a message carries it."""
        who = principal(request)
        who.needs(Scope.READ)
        record = await self._store.get(upload_id)
        if record is None or not _may_see(who, record):
            raise unknown_upload(upload_id)
        content = await self._store.content(record)
        if content is None:
            raise unknown_upload(upload_id)
        image = record.type in kinds.IMAGES
        named = f"{'inline' if image else 'attachment'}; filename*=UTF-8''{quote(record.name, safe='')}"
        return Response(
            content,
            media_type=record.type if image else "application/octet-stream",
            headers={**_HEADERS, "Content-Disposition": named},
        )


def shown_name(name: str) -> str:
    """A file's name as people see it: without folders, on one line, at most 200 characters."""
    last = re.split(r"[/\\]", name)[-1]
    plain = "".join(c for c in last if unicodedata.category(c)[0] != "C" and c not in "\u2028\u2029")
    return " ".join(plain.split())[-_NAME_LIMIT:] or "file"


def _may_see(who: Principal, record: UploadRecord) -> bool:
    return who.user == record.owner or any(who.belongs(project) for project in record.projects or ())
