"""Who did what, for those who run the fleet: one row per deed, kept for 90 days, and a line in the log.

Holds names and ids, never a secret or the text of a message. A deed is not undone because its row could not
be written; the line in the log is there in any case. What the person at this machine does without a sign-in
is in the log only.
"""

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict
from starlette.responses import JSONResponse, Response

from contracts.records import key
from dispatcher import signin_records as rows
from dispatcher.access import Scope, needs
from dispatcher.errors import DispatcherError, Overtaken
from dispatcher.signin_store import Store

_log = structlog.get_logger("dispatcher.audit")
DAYS = 90
_DAY = 24 * 3600
_LONGEST = 200
_MOST = 500


class Deed(BaseModel):
    """``user``: "" for nobody known; ``what``: a word; ``about``: which one; ``ok``: it was allowed."""

    model_config = ConfigDict(frozen=True)

    user: str
    kind: str
    what: str
    about: str = ""
    address: str = ""
    ok: bool = True


class Audit:
    """``now``: Unix time in seconds."""

    def __init__(self, store: Store, *, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now

    async def write(self, deed: Deed) -> None:
        """Keep it. Never raises for storage that fails."""
        short = deed.model_copy(update={"about": deed.about[:_LONGEST]})
        plain = short.model_dump(mode="json")
        _log.info("audit", **plain)
        if deed.kind == "local":
            return
        now = self._now()
        stamp = datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds")
        place = key(rows.audit_pk(now), f"{stamp}#{secrets.token_hex(4)}")
        try:
            await self._store.put(place, {**plain, "time": stamp}, expires=now + DAYS * _DAY)
        except (DispatcherError, Overtaken) as error:
            _log.warning("audit line not stored", problem=str(error))

    async def newest(self, limit: int) -> list[dict[str, Any]]:
        """The latest deeds, newest first. Raises Unavailable."""
        now = self._now()
        found: list[dict[str, Any]] = []
        months = list(dict.fromkeys(rows.audit_pk(now - day * _DAY) for day in range(DAYS + 1)))
        for month in months:
            if len(found) < limit:
                found += await self._store.all(month, newest=limit - len(found))
        return [{k: v for k, v in deed.items() if k != "expires"} for deed in found]

    def router(self) -> APIRouter:
        """The one address."""
        router = APIRouter(dependencies=[Depends(needs(Scope.OPERATE))])
        router.add_api_route("/v1/audit", self.show, methods=["GET"])
        return router

    async def show(self, limit: Annotated[int, Query(ge=1, le=_MOST)] = 100) -> Response:
        """``GET /v1/audit?limit=``: ``{"audit": [...]}``, each a ``Deed`` with its ``time``, newest first."""
        return JSONResponse({"audit": await self.newest(limit)})
