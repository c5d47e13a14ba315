"""The calls of GitHub's API that we make, each bounded and with errors that mean something to us.

Every call speaks with a token for the one repository it is about. No decisions: what to say, and to whom, is
decided by those who call.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import aiohttp
from gidgethub.aiohttp import GitHubAPI
from pydantic import BaseModel, ConfigDict

from dispatcher.github_app import AGENT, TALKING, GitHubApp
from dispatcher.github_errors import Missing, Unaccepted, translated

_P = ParamSpec("_P")
_T = TypeVar("_T")
_LAST_EDIT = """query($owner: String!, $name: String!, $number: Int!) {
  repository(owner: $owner, name: $name) {
    issueOrPullRequest(number: $number) {
      ... on Issue { lastEditedAt } ... on PullRequest { lastEditedAt }
    }
  }
}"""


class _Stale(Unaccepted):
    """The token that was kept is not accepted (any more): nothing was done, and the next one is new."""


def _also_anew(call: Callable[_P, Awaitable[_T]]) -> Callable[_P, Awaitable[_T]]:
    """Make a call again with a new token when the kept one is not accepted: that says nothing about the
    place, and a webhook that fails is not delivered again by itself."""

    @wraps(call)
    async def made(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return await call(*args, **kwargs)
        except _Stale:
            return await call(*args, **kwargs)

    return made


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _RepoName(_Shape):
    full_name: str
    default_branch: str = "main"


class End(_Shape):
    """One end of a pull request; ``repo`` is None when the fork was deleted."""

    ref: str
    sha: str = ""
    repo: _RepoName | None = None


class Pull(_Shape):
    """A pull request."""

    number: int
    html_url: str
    state: str
    merged_at: datetime | None = None
    draft: bool = False
    body: str | None = None
    head: End
    base: End

    @property
    def is_inside(self) -> bool:
        """Whether both ends are in the same repository."""
        here, there = self.head.repo, self.base.repo
        return bool(here and there and here.full_name.lower() == there.full_name.lower())


class Issue(_Shape):
    """An issue; pull requests are issues, too."""

    number: int
    title: str
    pull_request: dict[str, Any] | None = None


class GitHub:
    """GitHub as the App's installations may use it. Repositories are named ``owner/name``.

    Every method raises ``Later`` and ``Undeliverable`` (``Missing``, ``Rejected``, ``Unaccepted``).
    """

    def __init__(self, *, app: GitHubApp, session: aiohttp.ClientSession) -> None:
        self.app = app
        self._session = session

    @asynccontextmanager
    async def _speaking(self, repo: str, what: str) -> AsyncIterator[GitHubAPI]:
        kept = self.app.kept(repo, permissions=TALKING)
        token = await self.app.token(repo, permissions=TALKING)
        api = GitHubAPI(self._session, AGENT, oauth_token=token.value, base_url=self.app.api_url.rstrip("/"))
        try:
            async with translated(what):
                yield api
        except Unaccepted as error:
            self.app.forget(repo)
            if token is kept:
                raise _Stale(str(error)) from error
            raise

    @property
    def _graphql(self) -> str:
        return self.app.api_url.rstrip("/").removesuffix("/v3") + "/graphql"

    @_also_anew
    async def permission(self, repo: str, login: str) -> str:
        """``admin``, ``write``, ``read`` or ``none``."""
        try:
            async with self._speaking(repo, "look up a permission") as api:
                found = await api.getitem(
                    f"/repos/{repo}/collaborators/{{login}}/permission", {"login": login}
                )
        except Missing:
            return "none"
        return str(found.get("permission", "none"))

    @_also_anew
    async def pull(self, repo: str, number: int) -> Pull:
        """One pull request."""
        async with self._speaking(repo, "read a pull request") as api:
            return Pull.model_validate(await api.getitem(f"/repos/{repo}/pulls/{number}"))

    @_also_anew
    async def pulls_of(self, repo: str, branch: str) -> list[Pull]:
        """The pull requests whose head is this branch, newest first, closed ones too."""
        owner = repo.partition("/")[0]
        async with self._speaking(repo, "list pull requests") as api:
            path = f"/repos/{repo}/pulls{{?head,state,sort,direction}}"
            asked = {"head": f"{owner}:{branch}", "state": "all", "sort": "created", "direction": "desc"}
            return [Pull.model_validate(found) for found in await api.getitem(path, asked)]

    @_also_anew
    async def open_pull(self, repo: str, *, title: str, body: str, head: str, base: str, draft: bool) -> Pull:
        """Open a pull request. Raises Rejected when there is one, or when there is nothing to merge."""
        plain = {"title": title, "body": body, "head": head, "base": base, "draft": draft}
        async with self._speaking(repo, "open a pull request") as api:
            return Pull.model_validate(await api.post(f"/repos/{repo}/pulls", data=plain))

    @_also_anew
    async def edit_pull(self, repo: str, number: int, *, body: str) -> None:
        """Replace a pull request's text."""
        async with self._speaking(repo, "edit a pull request") as api:
            await api.patch(f"/repos/{repo}/pulls/{number}", data={"body": body})

    @_also_anew
    async def contains(self, repo: str, commit: str, *, inside: str) -> bool:
        """Whether the commit ``inside`` contains ``commit``. Raises Missing when GitHub knows one not."""
        async with self._speaking(repo, "compare commits") as api:
            found = await api.getitem(f"/repos/{repo}/compare/{commit}...{inside}?per_page=1")
            return found.get("status") in ("ahead", "identical")

    @_also_anew
    async def issue(self, repo: str, number: int) -> Issue:
        """An issue or pull request."""
        async with self._speaking(repo, "read an issue") as api:
            return Issue.model_validate(await api.getitem(f"/repos/{repo}/issues/{number}"))

    @_also_anew
    async def default_branch(self, repo: str) -> str:
        """The branch that pull requests go to."""
        async with self._speaking(repo, "read the repository") as api:
            return _RepoName.model_validate(await api.getitem(f"/repos/{repo}")).default_branch

    @_also_anew
    async def last_edit(self, repo: str, number: int) -> datetime | None:
        """When the text of an issue or pull request was last edited; None when it never was."""
        owner, _, name = repo.partition("/")
        async with self._speaking(repo, "read when a text was edited") as api:
            found = await api.graphql(
                _LAST_EDIT, endpoint=self._graphql, owner=owner, name=name, number=number
            )
            edited = found["repository"]["issueOrPullRequest"]["lastEditedAt"]
            return datetime.fromisoformat(edited) if edited else None

    @_also_anew
    async def react(self, repo: str, path: str, content: str) -> None:
        """React to a text; the same reaction again changes nothing. ``path`` is below the repository."""
        async with self._speaking(repo, "react") as api:
            await api.post(f"/repos/{repo}/{path}", data={"content": content})

    async def comments(self, repo: str, number: int) -> AsyncGenerator[dict[str, Any], None]:
        """All comments, oldest first; from the beginning again when the token ends on the way."""
        try:
            async with aclosing(self._comments(repo, number)) as found:
                async for comment in found:
                    yield comment
        except _Stale:
            async with aclosing(self._comments(repo, number)) as found:
                async for comment in found:
                    yield comment

    async def _comments(self, repo: str, number: int) -> AsyncGenerator[dict[str, Any], None]:
        async with self._speaking(repo, "list comments") as api:
            async for comment in api.getiter(f"/repos/{repo}/issues/{number}/comments?per_page=100"):
                yield cast(dict[str, Any], comment)

    @_also_anew
    async def comment(self, repo: str, number: int, *, body: str) -> str:
        """Write a comment; its id."""
        async with self._speaking(repo, "comment") as api:
            made = await api.post(f"/repos/{repo}/issues/{number}/comments", data={"body": body})
            return str(made["id"])

    @_also_anew
    async def edit_comment(self, repo: str, comment_id: str, *, body: str) -> None:
        """Replace a comment's text. Raises Missing when a person deleted it."""
        async with self._speaking(repo, "edit a comment") as api:
            await api.patch(f"/repos/{repo}/issues/comments/{comment_id}", data={"body": body})

    @_also_anew
    async def check(self, repo: str, plain: dict[str, Any]) -> None:
        """Show a check run on a commit (``head_sha``); the same one again is edited."""
        async with self._speaking(repo, "show a check run") as api:
            path = f"/repos/{repo}/commits/{plain['head_sha']}/check-runs{{?check_name}}"
            listed = await api.getitem(path, {"check_name": plain["name"]})
            same = [r for r in listed["check_runs"] if r.get("external_id") == plain["external_id"]]
            if same:
                await api.patch(f"/repos/{repo}/check-runs/{same[0]['id']}", data=plain)
            else:
                await api.post(f"/repos/{repo}/check-runs", data=plain)
