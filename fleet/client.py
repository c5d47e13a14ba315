"""Talking to a running fleet over ``/v1``: post, read, follow, stop.

Raises ``Problem`` with one sentence for everything that goes wrong; shows nothing itself. What a person
should know while a stream is interrupted goes to the ``say`` that was handed in.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

import httpx
import httpx_sse
from pydantic import BaseModel, ConfigDict, ValidationError

from contracts.events import EVENT, Event
from contracts.words import MessageId, Mode, ThreadId
from fleet import operator
from fleet.home import Home
from fleet.problem import FAILED, UNREACHABLE, USAGE, Problem
from fleet.settings import Settings

_RECONNECT_SECONDS = 60.0
_RETRY_SECONDS = 0.5
_SILENT_SECONDS = 45.0
"""A stream sends a sign of life every 15 s; after three missed ones the connection counts as lost."""
_GONE = "the fleet does not answer; waiting for it"
_BACK = "it is back"


class Posted(BaseModel):
    """The dispatcher's answer to a message: it is recorded."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    thread_id: ThreadId
    message_id: MessageId
    sequence: int


class NotAllowed(Problem):
    """Who asks is known, and may not do this."""


class Outage:
    """Says once that the fleet is gone, when it was so for ``after`` seconds, and once that it is back."""

    def __init__(self, say: Callable[[str], None], *, after: float = 2.0) -> None:
        self._say = say
        self._after = after
        self._since: float | None = None
        self._said = False

    def lost(self, *, now: float) -> None:
        """An attempt has failed, at this monotonic time in seconds."""
        if self._since is None:
            self._since = now
        if not self._said and now - self._since >= self._after:
            self._said = True
            self._say(_GONE)

    def over(self) -> None:
        """A connection stands."""
        if self._said:
            self._say(_BACK)
        self._since, self._said = None, False


class Client:
    """One fleet's API."""

    def __init__(self, settings: Settings) -> None:
        self.address = settings.address
        token = _token(settings)
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(
            base_url=self.address, headers=headers, timeout=httpx.Timeout(30, connect=5), trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def post(
        self,
        text: str,
        *,
        thread: str | None = None,
        project: str | None = None,
        mode: Mode | None = None,
        message_id: str | None = None,
    ) -> Posted:
        """Post a message; without ``thread`` a new one is made. Raises Problem."""
        body = {
            "text": text,
            "thread_id": thread,
            "project": project,
            "mode": mode,
            "message_id": message_id,
        }
        given = {k: v for k, v in body.items() if v is not None}
        return Posted.model_validate(self.ask("POST", "/v1/threads", json=given))

    def threads(self) -> list[dict[str, Any]]:
        """All threads, as the API lists them. Raises Problem."""
        answer = self.ask("GET", "/v1/threads")
        listed = answer.get("threads", []) if isinstance(answer, dict) else answer
        return [dict(thread) for thread in listed]

    def stop(self, thread: str) -> dict[str, Any]:
        """Stop everything unanswered in a thread. Raises Problem."""
        return dict(self.ask("POST", f"{_path(thread)}/stop") or {})

    def rename(self, thread: str, title: str) -> dict[str, Any]:
        """Give a thread another title; its row. Raises Problem."""
        return dict(self.ask("PATCH", _path(thread), json={"title": title}))

    def delete(self, thread: str) -> dict[str, Any]:
        """Delete a thread with all its data. Raises Problem."""
        return dict(self.ask("DELETE", _path(thread)))

    def dead_letters(self, *, worker: str | None = None) -> dict[str, Any]:
        """All dead letters, or those of one worker, as the API lists them. Raises Problem."""
        query = {"worker_id": worker} if worker is not None else {}
        return dict(self.ask("GET", "/v1/dead-letters", params=query))

    def redrive(self, *, wanted: str | None, worker: str | None) -> dict[str, Any]:
        """Ring again for one dead letter or for all; what was done. Raises Problem."""
        return self._settle("redrive", wanted=wanted, worker=worker)

    def drop(self, *, wanted: str | None, worker: str | None) -> dict[str, Any]:
        """Delete dead letters that belong to no message; what was done. Raises Problem."""
        return self._settle("drop", wanted=wanted, worker=worker)

    def dead_replies(self) -> dict[str, Any]:
        """What people did not get to see in their chats, as the API lists it. Raises Problem."""
        return dict(self.ask("GET", "/v1/dead-replies"))

    def settle_replies(self, what: Literal["redrive", "drop"], *, wanted: str | None) -> dict[str, Any]:
        """Try dead replies again, or delete those that nobody can read; what was done. Raises Problem."""
        given = {"id": wanted} if wanted is not None else {}
        return dict(self.ask("POST", f"/v1/dead-replies/{what}", json=given, timeout=120))

    def undeliverable(self) -> list[dict[str, Any]]:
        """The places in which nothing can be posted; none for those who may not know. Raises Problem."""
        try:
            found = self.ask("GET", "/v1/undeliverable")["undeliverable"]
        except NotAllowed:
            return []
        return [dict(place) for place in found]

    def links(self) -> list[dict[str, Any]]:
        """Who is who: all links. Raises Problem."""
        return [dict(link) for link in self.ask("GET", "/v1/links")["links"]]

    def link(self, *, kind: str, name: str, target: str) -> dict[str, Any]:
        """Link an outside name with a user or project; the link. Raises Problem."""
        return dict(self.ask("POST", "/v1/links", json={"kind": kind, "name": name, "target": target}))

    def unlink(self, *, kind: str, name: str) -> dict[str, Any]:
        """Forget a link; what it was. Raises Problem."""
        return dict(self.ask("POST", "/v1/links/remove", json={"kind": kind, "name": name}))

    def _settle(self, what: str, *, wanted: str | None, worker: str | None) -> dict[str, Any]:
        given = {k: v for k, v in {"id": wanted, "worker_id": worker}.items() if v is not None}
        # With thousands of letters this takes its time.
        return dict(self.ask("POST", f"/v1/dead-letters/{what}", json=given, timeout=120))

    def events(
        self, thread: str, *, follow: bool, after: int = 0, say: Callable[[str], None] = lambda _: None
    ) -> Iterator[Event]:
        """The thread's events behind ``after``; with ``follow`` for ever, over lost connections.

        Events of types that this version does not know are left out. ``say`` gets a sentence when the fleet
        is gone for a while and when it is back. Raises Problem.
        """
        lost_at: float | None = None
        outage = Outage(say)
        while True:
            try:
                for number, event in self._stream(thread, follow=follow, after=after, open_=outage.over):
                    after, lost_at = max(after, number), None
                    if event is not None:
                        yield event
            except (httpx.HTTPError, httpx_sse.SSEError) as error:
                if not follow or not after:
                    raise self._unreachable(error) from None
                outage.lost(now=time.monotonic())
            if not follow:
                return
            lost_at = lost_at or time.monotonic()
            if time.monotonic() - lost_at > _RECONNECT_SECONDS:
                raise self._unreachable(None)
            time.sleep(_RETRY_SECONDS)

    def _stream(
        self, thread: str, *, follow: bool, after: int, open_: Callable[[], None]
    ) -> Iterator[tuple[int, Event | None]]:
        headers = {"Last-Event-ID": str(after)} if after else {}
        query = {} if follow else {"follow": "false"}
        patience = httpx.Timeout(30, connect=5, read=_SILENT_SECONDS if follow else 30)
        with httpx_sse.connect_sse(
            self._http, "GET", f"{_path(thread)}/events", params=query, headers=headers, timeout=patience
        ) as source:
            if source.response.is_error:
                source.response.read()
                if after and source.response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                    source.response.raise_for_status()  # it is starting; the log was there before
                raise self._refused(source.response)
            open_()
            for sent in source.iter_sse():
                if sent.data:
                    yield _number(sent), _event(sent.data)

    def ask(self, method: str, path: str, **request: Any) -> Any:
        """What the API answers, as JSON. ``request``: as for httpx. Raises Problem."""
        try:
            response = self._http.request(method, path, **request)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        if response.is_error:
            raise self._refused(response)
        with contextlib.suppress(ValueError):
            return response.json()
        return {}

    def _unreachable(self, error: Exception | None) -> Problem:
        reason = f" ({type(error).__name__})" if error is not None else ""
        return Problem(
            f"the fleet at {self.address} does not answer{reason}; start it with ./scripts/up, "
            "or set BRANCHLINE_URL to where it runs.",
            code=UNREACHABLE,
        )

    def _refused(self, response: httpx.Response) -> Problem:
        reason = _reason(response)
        if response.status_code in (401, 403):
            kind = NotAllowed if response.status_code == 403 else Problem
            return kind(f"access refused: {reason}; set BRANCHLINE_TOKEN to a token that may.", code=USAGE)
        if response.status_code == 404:
            return Problem(f"not found: {reason}; `branchline threads` lists what there is.", code=USAGE)
        if response.status_code < 500:
            return Problem(f"the request was refused: {reason}.", code=USAGE)
        return Problem(
            f"the dispatcher failed ({response.status_code}): {reason}; try again, then see its log.",
            code=FAILED,
        )


def _token(settings: Settings) -> str | None:
    """The token given, else for the fleet of this home the one that its ``up`` has made."""
    if settings.token is not None:
        return settings.token.get_secret_value()
    ours = settings.address == settings.local_address
    return operator.token_of(Home(settings.home)) if ours else None


def _path(thread: str) -> str:
    return f"/v1/threads/{quote(thread, safe='')}"


def _number(sent: httpx_sse.ServerSentEvent) -> int:
    return int(sent.id) if sent.id.isdecimal() else 0


def _event(data: str) -> Event | None:
    try:
        return EVENT.validate_json(data)
    except ValidationError:
        return None


def _reason(response: httpx.Response) -> str:
    try:
        body = json.loads(response.text)
    except ValueError:
        return response.text.strip()[:200] or response.reason_phrase
    detail = (
        body.get("error") or body.get("detail") or body.get("message") if isinstance(body, dict) else body
    )
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        detail = detail[0].get("msg")
    if isinstance(detail, dict):
        detail = detail.get("message") or detail
    return str(detail or response.reason_phrase).rstrip(".")
