"""What the stand-in for GitHub remembers: repositories, issues, comments, pull requests, in GitHub's shapes.

All in memory; the code of a repository may lie in a bare repository on this disk. Every edit is kept. Knows
no HTTP.
"""

import itertools
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def now() -> str:
    """The time as GitHub writes it, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(kw_only=True)
class Comment:
    """``edits``: every body it ever had, the first one included. ``app``: written by the App."""

    id: int
    login: str
    body: str
    app: bool = False
    created: str = field(default_factory=now)
    updated: str = ""
    edits: list[str] = field(default_factory=list)
    reactions: list[tuple[str, str]] = field(default_factory=list)
    deleted: bool = False

    def __post_init__(self) -> None:
        self.updated = self.updated or self.created
        self.edits.append(self.body)


@dataclass(kw_only=True)
class Ends:
    """What makes an issue a pull request. ``head_sha`` stands in when there is no repository on disk."""

    head: str
    head_repo: str
    base: str
    draft: bool = False
    merged: str | None = None
    head_sha: str = "0" * 40


@dataclass(kw_only=True)
class Talk:
    """An issue or pull request. ``edited``: when its text was last edited."""

    id: int
    number: int
    title: str
    body: str
    login: str
    app: bool = False
    created: str = field(default_factory=now)
    edited: str | None = None
    state: str = "open"
    locked: bool = False
    comments: list[Comment] = field(default_factory=list)
    reactions: list[tuple[str, str]] = field(default_factory=list)
    ends: Ends | None = None
    edits: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Repo:
    """``permissions``: login to ``admin``, ``write``, ``read``. ``folder``: a bare repository.

    ``first`` is the number of its first issue.
    """

    full_name: str
    permissions: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    default_branch: str = "main"
    installed: bool = True
    first: int = 1
    talks: dict[int, Talk] = field(default_factory=dict)
    checks: list[Json] = field(default_factory=list)

    @property
    def owner(self) -> str:
        """The first half of the name."""
        return self.full_name.partition("/")[0]

    def sha(self, branch: str) -> str | None:
        """Where a branch stands, in a repository on disk."""
        if self.folder is None:
            return None
        argv = ["git", "-C", str(self.folder), "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}"]
        found = subprocess.run(argv, capture_output=True, check=False)
        return found.stdout.decode().strip() or None

    def holds(self, sha: str, *, inside: str) -> bool:
        """Whether commit ``inside`` contains commit ``sha``."""
        if self.folder is None:
            return sha == inside
        argv = ["git", "-C", str(self.folder), "merge-base", "--is-ancestor", sha, inside]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    def close(self, talk: Talk, *, merged: bool = False) -> None:
        """Somebody closes an issue or pull request. What is pushed to its branch later, it does not show."""
        if talk.ends is not None:
            talk.ends.head_sha = self.sha(talk.ends.head) or talk.ends.head_sha
            talk.ends.merged = now() if merged else None
        talk.state = "closed"

    def delete_branch(self, branch: str) -> None:
        """Somebody deletes a branch of a repository on disk; GitHub closes the pull requests of it."""
        for talk in self.talks.values():
            if talk.ends is not None and talk.ends.head == branch and talk.state == "open":
                self.close(talk)
        argv = ["git", "-C", str(self.folder), "update-ref", "-d", f"refs/heads/{branch}"]
        subprocess.run(argv, capture_output=True, check=True)

    def all_comments(self) -> list[Comment]:
        """Of all issues, without deleted ones."""
        return [c for talk in self.talks.values() for c in talk.comments if not c.deleted]


@dataclass(kw_only=True)
class World:
    """All of it. ``app_id`` and ``slug`` name the one App."""

    app_id: str = "4242"
    slug: str = "branchline"
    granted: dict[str, str] = field(
        default_factory=lambda: {
            "contents": "write",
            "issues": "write",
            "pull_requests": "write",
            "checks": "write",
            "metadata": "read",
        }
    )
    repos: dict[str, Repo] = field(default_factory=dict)
    _ids: Callable[[], int] = field(default=itertools.count(1001).__next__)

    @property
    def bot(self) -> str:
        """The App's login."""
        return f"{self.slug}[bot]"

    def add_repo(self, full_name: str, *, folder: Path | None = None, **permissions: str) -> Repo:
        """A repository with the permissions of some logins."""
        repo = Repo(full_name=full_name, folder=folder, permissions=permissions)
        self.repos[full_name.lower()] = repo
        return repo

    def add_issue(
        self, repo: Repo, *, login: str, title: str, body: str = "", ends: Ends | None = None
    ) -> Talk:
        """A new issue, or with ``ends`` a pull request."""
        number = repo.first + len(repo.talks)
        talk = Talk(
            id=self._ids(),
            number=number,
            title=title,
            body=body,
            login=login,
            app=login == self.bot,
            ends=ends,
        )
        repo.talks[number] = talk
        return talk

    def add_comment(self, talk: Talk, *, login: str, body: str) -> Comment:
        """A comment below an issue or pull request."""
        comment = Comment(id=self._ids(), login=login, body=body, app=login == self.bot)
        talk.comments.append(comment)
        return comment

    def add_check(self, repo: Repo, plain: Json) -> Json:
        """A check run."""
        run = {"id": self._ids(), **plain}
        repo.checks.append(run)
        return run

    # ---------------------------------------------------------------- shapes

    def user(self, login: str) -> Json:
        """A person, or the App's bot."""
        is_bot = login.endswith("[bot]")
        return {"login": login, "id": sum(login.encode()), "type": "Bot" if is_bot else "User"}

    def repository(self, repo: Repo) -> Json:
        """A repository."""
        owner, _, name = repo.full_name.partition("/")
        return {
            "id": sum(repo.full_name.encode()),
            "name": name,
            "full_name": repo.full_name,
            "private": False,
            "owner": self.user(owner),
            "default_branch": repo.default_branch,
        }

    def issue(self, repo: Repo, talk: Talk) -> Json:
        """An issue as the API and webhooks show it; pull requests are issues, too."""
        url = f"/repos/{repo.full_name}/pulls/{talk.number}"
        return {
            "id": talk.id,
            "number": talk.number,
            "title": talk.title,
            "body": talk.body or None,
            "user": self.user(talk.login),
            "state": talk.state,
            "locked": talk.locked,
            "created_at": talk.created,
            "updated_at": talk.edited or talk.created,
            **({"pull_request": {"url": url}} if talk.ends else {}),
        }

    def pull(self, repo: Repo, talk: Talk) -> Json:
        """A pull request."""
        ends = talk.ends
        assert ends is not None  # noqa: S101
        head_repo = self.repos.get(ends.head_repo.lower())
        tip = head_repo.sha(ends.head) if head_repo and talk.state == "open" else None
        shown = self.repository(head_repo) if head_repo else {"full_name": ends.head_repo}
        return {
            **self.issue(repo, talk),
            "html_url": f"https://github.invalid/{repo.full_name}/pull/{talk.number}",
            "draft": ends.draft,
            "merged_at": ends.merged,
            "head": {"ref": ends.head, "sha": tip or ends.head_sha, "repo": shown},
            "base": {"ref": ends.base, "sha": repo.sha(ends.base) or "1" * 40, "repo": self.repository(repo)},
        }

    def comment(self, comment: Comment) -> Json:
        """A comment."""
        by = {"id": int(self.app_id), "slug": self.slug} if comment.app else None
        return {
            "id": comment.id,
            "body": comment.body,
            "user": self.user(comment.login),
            "created_at": comment.created,
            "updated_at": comment.updated,
            "author_association": "NONE",
            "performed_via_github_app": by,
        }
