"""What a thread's branch changed, as its worker has recorded it: ``GET /v1/threads/{thread_id}/changes``.

The worker writes a new version within moments after each ``turn.committed`` (checkpoints among them) and
after a ``turn.pushed`` that moved the branch. A reader that has such an event and finds another ``head.sha``
than the event's asks again after a moment, a few times: a later commit may have overtaken the one it waits
for. Reads records only, and knows no git.
"""

import json
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from contracts import changes as shapes
from contracts import records
from contracts.changes import ChangeRecord, ChangesRecord
from contracts.words import ThreadId, WorkerId
from dispatcher.access import Scope, principal
from dispatcher.aws import translated
from dispatcher.errors import Unavailable
from dispatcher.ingest import Ingest

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb.client import DynamoDBClient

TRIES = 5
"""How often the head is read again when its version went away while it was read."""
ANSWER_LIMIT = 5_000_000
"""Bytes of JSON in one answer; a Lambda's may have 6 MB with its wrapping."""
LEFT_OUT = "The changes of this thread are too many to show all of them."


class Changes:
    """The route and its reads."""

    def __init__(self, client: "DynamoDBClient", *, table: str, ingest: Ingest) -> None:
        self._client, self._table, self._ingest = client, table, ingest

    def router(self) -> APIRouter:
        """The address; to be included before those of ``dispatcher.api``, where an id may be anything."""
        router = APIRouter()
        router.add_api_route("/v1/threads/{thread_id:anything}/changes", self.show, methods=["GET"])
        return router

    async def show(self, request: Request, thread_id: str) -> Response:
        """``{"base": {"branch", "sha"}, "head": {"branch", "sha"}, "total": {"files", "insertions",
        "deletions"}, "files": [{"path", "old_path", "status", "insertions", "deletions", "binary", "patch",
        "note"}], "cut"}``; ``base`` and ``head`` are null as long as the thread has changed nothing.

        ``patch`` holds a file's hunks, from the first ``@@`` on, without git's headers.
        """
        who = principal(request)
        who.needs(Scope.READ)
        worker, row = await self._ingest.thread(ThreadId(thread_id))
        who.checked(row)
        return JSONResponse(_answer(*await self._read(worker, row.thread_id)))

    async def _read(
        self, worker: WorkerId, thread_id: ThreadId
    ) -> tuple[ChangesRecord | None, list[ChangeRecord]]:
        """One whole version: a newer one that takes its place meanwhile is read instead.

        Raises Unavailable.
        """
        for _ in range(TRIES):
            head = await self._head(worker, thread_id)
            if head is None:
                return None, []
            found = [f async for f in self._files(worker, thread_id, head.version)]
            if len(found) == head.shown:
                return head, found
        raise Unavailable("The changes are being written: try again in a moment.")

    async def _head(self, worker: WorkerId, thread_id: ThreadId) -> ChangesRecord | None:
        key = shapes.head_key(worker, thread_id)
        with translated():
            got = await self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        return ChangesRecord.read(got["Item"]) if got.get("Item") else None

    async def _files(
        self, worker: WorkerId, thread_id: ThreadId, version: str
    ) -> AsyncIterator[ChangeRecord]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={
                ":pk": {"S": records.thread_pk(worker, thread_id)},
                ":sk": {"S": shapes.version_prefix(version)},
            },
            ConsistentRead=True,
        )
        with translated():
            async for page in pages:
                for item in page["Items"]:
                    yield ChangeRecord.read(item)


def _answer(head: ChangesRecord | None, files: Sequence[ChangeRecord]) -> dict[str, Any]:
    if head is None:
        nothing = {"files": 0, "insertions": 0, "deletions": 0}
        return {"base": None, "head": None, "total": nothing, "files": [], "cut": False}
    shown, cut = fitted([f.model_dump(mode="json", exclude={"v"}) for f in files], limit=ANSWER_LIMIT)
    return {
        "base": {"branch": head.base_branch, "sha": head.base},
        "head": {"branch": head.branch, "sha": head.head},
        "total": head.model_dump(include={"files", "insertions", "deletions"}),
        "files": shown,
        "cut": head.cut or cut,
    }


def fitted(files: Sequence[dict[str, Any]], *, limit: int) -> tuple[list[dict[str, Any]], bool]:
    """The files in an answer of at most ``limit`` bytes as long as patches are what is large, the last ones
    without theirs; whether any had to go without."""
    shown, left, cut = [], limit, False
    for file in files:
        size = len(json.dumps(file, ensure_ascii=False).encode())
        if size > left and file["patch"]:
            file, cut = {**file, "patch": "", "note": LEFT_OUT}, True
            size = len(json.dumps(file, ensure_ascii=False).encode())
        left -= size
        shown.append(file)
    return shown, cut
