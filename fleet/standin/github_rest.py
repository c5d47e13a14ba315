"""The part of GitHub's REST and GraphQL that the product calls: requests become changes of a ``World``.

Answers have GitHub's shapes and its refusals. Who speaks was found out before (``Caller``).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fleet.standin.github_world import Comment, Ends, Json, Repo, Talk, World, now

Answer = tuple[int, Any]
BODY_LIMIT = 65_536


class Problem(Exception):
    """An answer that is a refusal."""

    def __init__(self, status: int, message: str, *, errors: list[Json] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {"message": message, **({"errors": errors} if errors else {})}


@dataclass(frozen=True, kw_only=True)
class Caller:
    """An installation's token: one repository and what it may do there."""

    repo: str
    permissions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A request: the parts of its path, its query and its body."""

    part: dict[str, str]
    query: dict[str, str] = field(default_factory=dict)
    body: Json = field(default_factory=dict)


class Rest:
    """Answers for one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._routes: list[tuple[str, re.Pattern[str], str, Callable[[Repo, Ask], Answer]]] = [
            (method, re.compile(f"/repos/(?P<repo>[^/]+/[^/]+){pattern}"), needs, call)
            for method, pattern, needs, call in self._table()
        ]

    def _table(self) -> list[tuple[str, str, str, Callable[[Repo, Ask], Answer]]]:
        number, comment = r"/(?P<number>\d+)", r"/issues/comments/(?P<id>\d+)"
        return [
            ("GET", "", "metadata:read", lambda repo, _: (200, self._world.repository(repo))),
            ("GET", "/collaborators/(?P<login>[^/]+)/permission", "metadata:read", self._permission),
            ("GET", f"/issues{number}", "issues:read", self._issue),
            ("GET", f"/issues{number}/comments", "issues:read", self._comments),
            ("POST", f"/issues{number}/comments", "issues:write", self._comment),
            ("PATCH", comment, "issues:write", self._edit),
            ("POST", f"{comment}/reactions", "issues:write", self._react_comment),
            ("POST", r"/pulls/comments/(?P<id>\d+)/reactions", "pull_requests:write", self._react_comment),
            ("POST", f"/issues{number}/reactions", "issues:write", self._react_issue),
            ("GET", "/pulls", "pull_requests:read", self._pulls),
            ("POST", "/pulls", "pull_requests:write", self._open),
            ("GET", f"/pulls{number}", "pull_requests:read", self._pull),
            ("PATCH", f"/pulls{number}", "pull_requests:write", self._edit_pull),
            ("GET", "/compare/(?P<base>[0-9a-f]+)[.]{3}(?P<head>[0-9a-f]+)", "contents:read", self._compare),
            ("GET", "/commits/(?P<sha>[0-9a-f]+)/check-runs", "checks:read", self._checks),
            ("POST", "/check-runs", "checks:write", self._check),
            ("PATCH", r"/check-runs/(?P<id>\d+)", "checks:write", self._edit_check),
        ]

    def answer(self, caller: Caller, *, method: str, path: str, query: dict[str, str], body: Json) -> Answer:
        """Do what is asked. Raises Problem."""
        for verb, pattern, needs, call in self._routes:
            match = pattern.fullmatch(path)
            if verb == method and match is not None:
                repo = self._allowed(caller, match["repo"], needs)
                return call(repo, Ask(part=match.groupdict(), query=query, body=body))
        raise Problem(404, "Not Found")

    def last_edit(self, caller: Caller, variables: Json) -> Answer:
        """The one GraphQL query of ours."""
        repo = self._allowed(caller, f"{variables['owner']}/{variables['name']}", "issues:read")
        talk = self._talk(repo, str(variables["number"]))
        return 200, {"data": {"repository": {"issueOrPullRequest": {"lastEditedAt": talk.edited}}}}

    def _allowed(self, caller: Caller, name: str, needs: str) -> Repo:
        repo = self._world.repos.get(name.lower())
        if repo is None or caller.repo.lower() != name.lower():
            raise Problem(404, "Not Found")
        what, _, level = needs.partition(":")
        has = caller.permissions.get(what, "read" if what == "metadata" else "none")
        if has == "none" or (level == "write" and has != "write"):
            raise Problem(403, "Resource not accessible by integration")
        return repo

    # ---------------------------------------------------------------- people

    def _permission(self, repo: Repo, ask: Ask) -> Answer:
        login = ask.part["login"]
        level = repo.permissions.get(login.lower(), "read")
        return 200, {"permission": level, "role_name": level, "user": self._world.user(login)}

    # ---------------------------------------------------------------- issues

    def _talk(self, repo: Repo, number: str) -> Talk:
        talk = repo.talks.get(int(number))
        if talk is None:
            raise Problem(404, "Not Found")
        return talk

    def _one(self, repo: Repo, comment_id: str) -> Comment:
        found = next((c for c in repo.all_comments() if c.id == int(comment_id)), None)
        if found is None:
            raise Problem(404, "Not Found")
        return found

    def _issue(self, repo: Repo, ask: Ask) -> Answer:
        return 200, self._world.issue(repo, self._talk(repo, ask.part["number"]))

    def _comments(self, repo: Repo, ask: Ask) -> Answer:
        """Pages as GitHub's; the way to the next one is added by the server (``next_page``)."""
        there = [c for c in self._talk(repo, ask.part["number"]).comments if not c.deleted]
        size, page = int(ask.query.get("per_page", 30)), int(ask.query.get("page", 1))
        shown = [self._world.comment(c) for c in there[(page - 1) * size : page * size]]
        return 200, Page(shown, more=len(there) > page * size)

    def _comment(self, repo: Repo, ask: Ask) -> Answer:
        talk = self._talk(repo, ask.part["number"])
        if talk.locked:
            raise Problem(403, "Unable to create comment because issue is locked.")
        comment = self._world.add_comment(talk, login=self._world.bot, body=_sized(ask.body["body"]))
        return 201, self._world.comment(comment)

    def _edit(self, repo: Repo, ask: Ask) -> Answer:
        comment = self._one(repo, ask.part["id"])
        comment.body = _sized(ask.body["body"])
        comment.edits.append(comment.body)
        comment.updated = now()
        return 200, self._world.comment(comment)

    def _react_comment(self, repo: Repo, ask: Ask) -> Answer:
        return self._react(self._one(repo, ask.part["id"]).reactions, ask)

    def _react_issue(self, repo: Repo, ask: Ask) -> Answer:
        return self._react(self._talk(repo, ask.part["number"]).reactions, ask)

    def _react(self, reactions: list[tuple[str, str]], ask: Ask) -> Answer:
        given = (self._world.bot, str(ask.body["content"]))
        again = given in reactions
        if not again:
            reactions.append(given)
        return 200 if again else 201, {"id": 1, "content": given[1]}

    # ---------------------------------------------------------------- pull requests

    def _pulls(self, repo: Repo, ask: Ask) -> Answer:
        owner, _, branch = ask.query.get("head", "").partition(":")
        wanted = ask.query.get("state", "open")
        found = [
            talk
            for talk in repo.talks.values()
            if talk.ends is not None
            and (
                not branch
                or (talk.ends.head == branch and talk.ends.head_repo.lower().startswith(f"{owner.lower()}/"))
            )
            and wanted in ("all", talk.state)
        ]
        return 200, [self._world.pull(repo, t) for t in sorted(found, key=lambda t: -t.number)]

    def _pull(self, repo: Repo, ask: Ask) -> Answer:
        talk = self._talk(repo, ask.part["number"])
        if talk.ends is None:
            raise Problem(404, "Not Found")
        return 200, self._world.pull(repo, talk)

    def _open(self, repo: Repo, ask: Ask) -> Answer:
        head, base = str(ask.body["head"]), str(ask.body["base"])
        if any(
            t.ends and t.state == "open" and (t.ends.head, t.ends.base) == (head, base)
            for t in repo.talks.values()
        ):
            raise _invalid(f"A pull request already exists for {repo.owner}:{head}.")
        if repo.folder is not None:
            if repo.sha(head) is None or repo.sha(base) is None:
                raise _invalid("The head or base does not exist.")
            if repo.sha(head) == repo.sha(base):
                raise _invalid(f"No commits between {base} and {head}")
        ends = Ends(head=head, head_repo=repo.full_name, base=base, draft=bool(ask.body.get("draft")))
        talk = self._world.add_issue(
            repo, login=self._world.bot, title=ask.body["title"], body=ask.body.get("body", ""), ends=ends
        )
        return 201, self._world.pull(repo, talk)

    def _edit_pull(self, repo: Repo, ask: Ask) -> Answer:
        talk = self._talk(repo, ask.part["number"])
        talk.body, talk.title = ask.body.get("body", talk.body), ask.body.get("title", talk.title)
        talk.edits.append(talk.body)
        return 200, self._world.pull(repo, talk)

    def _compare(self, repo: Repo, ask: Ask) -> Answer:
        base, head = ask.part["base"], ask.part["head"]
        ahead, behind = repo.holds(base, inside=head), repo.holds(head, inside=base)
        words = {(True, True): "identical", (True, False): "ahead", (False, True): "behind"}
        return 200, {"status": words.get((ahead, behind), "diverged")}

    # ---------------------------------------------------------------- checks

    def _checks(self, repo: Repo, ask: Ask) -> Answer:
        name = ask.query.get("check_name")
        runs = [c for c in repo.checks if c["head_sha"] == ask.part["sha"] and name in (None, c["name"])]
        return 200, {"total_count": len(runs), "check_runs": runs}

    def _check(self, repo: Repo, ask: Ask) -> Answer:
        return 201, self._world.add_check(repo, ask.body)

    def _edit_check(self, repo: Repo, ask: Ask) -> Answer:
        run = next((c for c in repo.checks if c["id"] == int(ask.part["id"])), None)
        if run is None:
            raise Problem(404, "Not Found")
        run.update(ask.body)
        return 200, run


class Page(list[Json]):
    """One page of a list; ``more``: there is another."""

    def __init__(self, items: list[Json], *, more: bool) -> None:
        super().__init__(items)
        self.more = more


def _sized(body: str) -> str:
    if len(body) > BODY_LIMIT:
        raise _invalid(f"body is too long (maximum is {BODY_LIMIT} characters)")
    return body


def _invalid(message: str) -> Problem:
    return Problem(422, "Validation Failed", errors=[{"code": "custom", "message": message}])
