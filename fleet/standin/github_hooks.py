"""Webhooks of the stand-in: in GitHub's shapes, signed for real, sent, listed, sent again on request."""

import hashlib
import hmac
import itertools
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx

from fleet.standin.github_rest import Answer, Problem
from fleet.standin.github_world import Comment, Ends, Json, Repo, Talk, World


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One attempt to deliver a webhook; attempts of the same webhook share the ``guid``."""

    id: int
    guid: str
    event: str
    action: str
    body: bytes
    status_code: int
    redelivery: bool
    at: datetime

    def shown(self) -> Json:
        """As the list of deliveries shows it."""
        return {
            "id": self.id,
            "guid": self.guid,
            "delivered_at": self.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "redelivery": self.redelivery,
            "status": "OK" if 200 <= self.status_code < 300 else "Invalid HTTP Response",
            "status_code": self.status_code,
            "event": self.event,
            "action": self.action,
        }


@dataclass(kw_only=True)
class Hooks:
    """``url`` and ``secret`` are the App's webhook. A status of 0 stands for a server that did not answer."""

    world: World
    url: str = ""
    secret: str = ""
    deliveries: list[Delivery] = field(default_factory=list)
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(9001))

    def send(
        self, event: str, payload: Json, *, guid: str | None = None, redelivery: bool = False
    ) -> httpx.Response | None:
        """Deliver a webhook and remember the attempt; None when nobody answered."""
        body = json.dumps(payload).encode()
        return self._attempt(event, payload, body, guid=guid or str(uuid.uuid4()), redelivery=redelivery)

    def _attempt(
        self, event: str, payload: Json, body: bytes, *, guid: str, redelivery: bool
    ) -> httpx.Response | None:
        headers = signed(body, event=event, secret=self.secret, guid=guid)
        try:
            answer = httpx.post(self.url, content=body, headers=headers, timeout=10, trust_env=False)
        except httpx.HTTPError:
            answer = None
        made = Delivery(
            id=next(self._ids),
            guid=guid,
            event=event,
            action=str(payload.get("action", "")),
            body=body,
            status_code=answer.status_code if answer is not None else 0,
            redelivery=redelivery,
            at=datetime.now(UTC),
        )
        self.deliveries.append(made)
        return answer

    def attempt(self, delivery_id: int) -> Answer:
        """Deliver one again, the very same body."""
        old = next((d for d in self.deliveries if d.id == delivery_id), None)
        if old is None:
            raise Problem(404, "Not Found")
        self._attempt(old.event, json.loads(old.body), old.body, guid=old.guid, redelivery=True)
        return 202, {}

    def listed(self, query: dict[str, str]) -> list[Json]:
        """Attempts, newest first."""
        size = int(query.get("per_page", 30))
        return [d.shown() for d in reversed(self.deliveries)][:size]

    # ---------------------------------------------------------------- what people do

    def open_issue(self, repo: Repo, *, login: str, title: str, body: str = "") -> httpx.Response | None:
        """Somebody opens an issue."""
        talk = self.world.add_issue(repo, login=login, title=title, body=body)
        return self.send("issues", self.opened(repo, talk))

    def open_pull(self, repo: Repo, *, login: str, title: str, ends: Ends) -> Talk:
        """Somebody opens a pull request."""
        talk = self.world.add_issue(repo, login=login, title=title, ends=ends)
        self.send("pull_request", self.opened(repo, talk))
        return talk

    def say(self, repo: Repo, talk: Talk, *, login: str, body: str) -> httpx.Response | None:
        """Somebody writes a comment."""
        comment = self.world.add_comment(talk, login=login, body=body)
        return self.send("issue_comment", self.commented(repo, talk, comment))

    def opened(self, repo: Repo, talk: Talk) -> Json:
        """The payload for an issue or pull request that was opened."""
        if talk.ends is not None:
            return self._about(repo, talk.login, "opened", pull_request=self.world.pull(repo, talk))
        return self._about(repo, talk.login, "opened", issue=self.world.issue(repo, talk))

    def commented(self, repo: Repo, talk: Talk, comment: Comment) -> Json:
        """The payload for a comment."""
        parts = {"issue": self.world.issue(repo, talk), "comment": self.world.comment(comment)}
        return self._about(repo, comment.login, "created", **parts)

    def reviewed(self, repo: Repo, talk: Talk, comment: Comment, *, path: str, hunk: str) -> Json:
        """The payload for a comment on a line of a pull request."""
        where = {"path": path, "line": 3, "diff_hunk": hunk}
        parts = {"pull_request": self.world.pull(repo, talk), "comment": self.world.comment(comment) | where}
        return self._about(repo, comment.login, "created", **parts)

    def _about(self, repo: Repo, login: str, action: str, **parts: Json) -> Json:
        return {
            "action": action,
            **parts,
            "repository": self.world.repository(repo),
            "sender": self.world.user(login),
            "installation": {"id": 7},
        }


def signed(body: bytes, *, event: str, secret: str, guid: str) -> dict[str, str]:
    """The headers of a webhook."""
    mac = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/standin",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": guid,
        "X-Hub-Signature-256": f"sha256={mac}",
    }
