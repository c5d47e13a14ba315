"""The pull request that carries a thread's work: found, else opened once as a draft. Knows no comments.

GitHub holds at most one open pull request of a head and base: a repeat after a lost answer finds it.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict

from dispatcher.github_api import GitHub, Pull
from dispatcher.github_errors import Missing, Rejected
from dispatcher.github_render import quiet
from dispatcher.posting import Undeliverable

_BEGIN, _END = "<!-- branchline:work -->", "<!-- branchline:end -->"
"""What our part of a pull request's text stands between; all around it belongs to people."""


class Work(BaseModel):
    """Work that was pushed: ``head`` is its branch, ``commit`` its newest commit. ``onto``: the branch of
    people's that holds it as well."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    head: str
    commit: str | None = None
    onto: str | None = None
    title: str
    body: str


class Pulls:
    """Pull requests of the repositories that the App is installed in."""

    def __init__(self, *, github: GitHub, draft: bool) -> None:
        self._github = github
        self._draft = draft
        self._lines: dict[str, tuple[dict[str, Any], str]] = {}

    async def line(self, repo: str, number: int, plain: dict[str, Any]) -> str:
        """Open or bring up to date what carries the work; one line about it for the comment.

        What GitHub refuses is told in the line, so that the answer is never held back by it. Raises Later.
        """
        work, where = Work.model_validate(plain), f"{repo}#{number}"
        known = self._lines.get(where)
        if known is not None and known[0] == plain:  # the comment is edited far more often than there is work
            return known[1]
        try:
            line = await self._line(repo, number, work)
            self._lines[where] = (plain, line)
            return line
        except Undeliverable as error:
            return f"Branch `{work.head}`; a pull request could not be opened: {error}"

    async def of_branch(self, repo: str, work: Work) -> Pull:
        """The open pull request of a branch, else one that is opened now.

        Raises Later, Undeliverable, and Rejected when GitHub has nothing of the branch to merge.
        """
        found = await self._found(repo, work)
        if found is not None and found.state == "open":
            return found
        base = await self._github.default_branch(repo)
        made = await self._open(repo, work, title=work.title, body=work.body, base=base)
        if made.state != "open":
            raise Rejected(
                f"Pull request #{made.number} of this branch is closed, and there is nothing more."
            )
        return made

    async def _line(self, repo: str, number: int, work: Work) -> str:
        issue = await self._github.issue(repo, number)
        about = await self._github.pull(repo, number) if issue.pull_request is not None else None
        if about is not None and await self._holds(repo, about, work):
            commit = f" in {work.commit[:12]}" if work.commit else ""
            return f"The work is on this pull request's branch, `{about.head.ref}`{commit}."
        base = about.head.ref if about is not None and about.is_inside and about.state == "open" else None
        body = f"{work.body}\n\n{'For' if about else 'Closes'} #{number}"
        # An issue's title names what was wanted better than the words that called for it.
        title = quiet(issue.title) if about is None and issue.title.strip() else work.title
        found = await self._found(repo, work)
        if found is None:
            base = base or await self._github.default_branch(repo)
            found = await self._open(repo, work, title=title, body=with_part("", body), base=base)
            return f"Pull request: #{found.number}"
        if found.state != "open":
            return f"Pull request #{found.number} is {'merged' if found.merged_at else 'closed'}."
        before = found.body or ""
        if with_part(before, body) != before:
            await self._github.edit_pull(repo, found.number, body=with_part(before, body))
        return f"Pull request: #{found.number}"

    async def _holds(self, repo: str, about: Pull, work: Work) -> bool:
        """Whether a pull request shows the work. One that was closed does not show what came after that."""
        if not about.is_inside or work.commit is None:
            return False
        if about.head.sha == work.commit:
            return True
        if about.head.ref not in (work.head, work.onto):
            return False
        if about.state == "open":
            return True
        try:
            return await self._github.contains(repo, work.commit, inside=about.head.sha)
        except Missing:
            return False

    async def _found(self, repo: str, work: Work) -> Pull | None:
        """The one that is open; else the newest, unless it was merged and there is more since."""
        known = await self._github.pulls_of(repo, work.head)
        opened = next((p for p in known if p.state == "open"), None)
        if opened is not None or not known:
            return opened
        newest = known[0]
        return None if newest.merged_at and newest.head.sha != work.commit else newest

    async def _open(self, repo: str, work: Work, *, title: str, body: str, base: str) -> Pull:
        async def tried(draft: bool) -> Pull:
            return await self._github.open_pull(
                repo, title=title[:250], body=body, head=work.head, base=base, draft=draft
            )

        try:
            return await tried(self._draft)
        except Rejected as error:
            again = await self._found(repo, work)
            if again is not None:
                return again
            if self._draft and "draft" in str(error).lower():  # not every plan of GitHub's has drafts
                return await tried(False)
            raise


def with_part(text: str, part: str) -> str:
    """A pull request's text with our part of it replaced by this one; behind all when it has none."""
    ours = f"{_BEGIN}\n{part}\n{_END}"
    end = text.find(_END)
    start = text.rfind(_BEGIN, 0, max(end, 0))
    if start < 0:
        return f"{text.rstrip()}\n\n{ours}".lstrip()
    return text[:start] + ours + text[end + len(_END) :]
