"""The simulated GitHub repository as ``branchline simulate github`` uses it: comment, send again, look."""

import html
import itertools
import re
import time
from pathlib import Path

from fleet.home import Home
from fleet.simulation import APP_ID, Simulation, login
from fleet.standin.github import GitHubStandin
from fleet.standin.github_hooks import Hooks
from fleet.standin.github_world import Comment, Ends, Json, Talk, World

_ISSUES = "simulation-issues"
_OPEN = re.compile(r"^\*\*(?:⏳|▶️|⏸️)", re.M)
_HIDDEN = re.compile(r"<!--.*?-->\s*|</?sub>", re.S)
_EMOJI = {"eyes": "👀"}
_TITLE = 70
_POSTS = r"(?:POST /repos/.*/issues/\d+/comments|PATCH /repos/.*/issues/comments/\d+)$"


def world() -> World:
    """An empty world whose ids are higher than those of any before it: they name messages for ever."""
    return World(app_id=APP_ID, _ids=itertools.count(int(time.time() * 10)).__next__)


class GitHubStage:
    """One repository. Every method may be called from any thread and may take seconds."""

    def __init__(self, github: GitHubStandin, *, facts: Simulation, home: Home) -> None:
        self._github = github
        self._facts = facts
        self._home = home
        self._hooks: Hooks = github.hooks
        self._hooks.url, self._hooks.secret = (
            f"{facts.dispatcher}/github/webhook",
            facts.secrets.webhook_secret,
        )
        folder = Path(facts.folder) if facts.folder else None
        self._repo = github.world.add_repo(facts.repo, folder=folder)
        self._repo.permissions.update({login(person): "write" for person in facts.people})
        self._repo.default_branch = default_branch(folder) if folder else "main"
        self._repo.first = int(home.recall(_ISSUES).get("next", 1))
        self._before: dict[str, int] = {}

    def say(self, *, person: str, text: str, place: str | None) -> Json:
        """Somebody comments, on an issue or on a new one of their own. Raises LookupError."""
        who = login(person)
        talk = self._talk(place) if place is not None else self._opened(who, text)
        body = text if self._facts.handle in text else f"{self._facts.handle} {text}"
        before = sum(len(c.edits) for c in talk.comments if c.app)
        answer = self._hooks.say(self._repo, talk, login=who, body=body)
        comment = next(c for c in reversed(talk.comments) if c.login == who)
        self._before[str(comment.id)] = before
        word = str(answer.json().get("status", "")) if answer is not None else "nobody answered"
        self.keep()
        return {
            "place": str(talk.number),
            "message": str(comment.id) if word == "accepted" else None,
            "word": word,
            "answers": [answer.status_code if answer is not None else 0],
        }

    def say_on_pull(self, *, person: str, text: str, branch: str) -> Json:
        """Somebody comments on the pull request of a branch, which they open first if it is not there.

        Raises LookupError.
        """
        with self._github.still:
            talk = self._pull_of(branch)
        if talk is None:
            if self._repo.sha(branch) is None:
                raise LookupError(f"the project's repository has no branch {branch}; push it there first")
            ends = Ends(head=branch, head_repo=self._repo.full_name, base=self._repo.default_branch)
            talk = self._hooks.open_pull(self._repo, login=login(person), title=branch, ends=ends)
        return self.say(person=person, text=text, place=str(talk.number))

    def _pull_of(self, branch: str) -> Talk | None:
        open_ = (t for t in self._repo.talks.values() if t.ends is not None and t.state == "open")
        return next((t for t in open_ if t.ends is not None and t.ends.head == branch), None)

    def replay(self, times: int) -> Json:
        """Deliver the last webhook again, as the App's page of deliveries does. Raises LookupError."""
        if not self._hooks.deliveries:
            raise LookupError("there is no webhook yet that could be sent again")
        last = self._hooks.deliveries[-1]
        for _ in range(times):
            self._hooks.attempt(last.id)
        return {"answers": [d.status_code for d in self._hooks.deliveries[-times:]]}

    def fault(self, kind: str) -> Json:
        """What goes wrong with the next comment of ours, or the next edit of it."""
        if kind == "lost":
            self._github.lose(_POSTS)
        elif kind == "limited":
            self._github.fail(_POSTS, status=429, message="API rate limit exceeded", retry_after="2")
        else:
            self._github.fail(_POSTS, status=500)
        return {}

    def shown(self, *, place: str | None, message: str | None) -> Json:
        """What a person sees of an issue; ``answered`` is about one comment, else about all of them.

        Raises LookupError.
        """
        with self._github.still:
            return self._shown(self._talk(place), message=message)

    def _shown(self, talk: Talk, *, message: str | None) -> Json:
        ours = [c for c in talk.comments if c.app and not c.deleted]
        news = sum(len(c.edits) for c in ours) > self._before.get(message or "", 0)
        return {
            "title": f"{self._repo.full_name}#{talk.number}: {talk.title}",
            "place": str(talk.number),
            "messages": [_comment(c) for c in talk.comments if not c.deleted],
            "whispers": [],
            "beside": [*self._pulls(talk), *self._checks(talk)],
            "answered": (news or message is None) and not any(_OPEN.search(c.body) for c in ours),
        }

    def keep(self) -> None:
        """Remember which numbers are used: after a restart others follow, because old ones have threads."""
        self._home.remember(_ISSUES, {"next": self._repo.first + len(self._repo.talks)})

    def _opened(self, who: str, text: str) -> Talk:
        line = " ".join(text.replace(self._facts.handle, "").split()) or "A wish"
        title = line if len(line) <= _TITLE else f"{line[: _TITLE - 1]}…"
        self._hooks.open_issue(self._repo, login=who, title=title)
        return self._repo.talks[max(self._repo.talks)]

    def _talk(self, place: str | None) -> Talk:
        issues = [t for t in self._repo.talks.values() if t.ends is None]
        if place is None and not issues:
            raise LookupError("there is no issue yet; write something first")
        found = [t for t in self._repo.talks.values() if str(t.number) == place] if place else issues[-1:]
        if not found:
            raise LookupError(
                f"there is no issue {place} (the simulated repository has none after each start)"
            )
        return found[0]

    def _pulls(self, talk: Talk) -> list[str]:
        about = re.compile(rf"(?:Closes|For) #{talk.number}\b")
        return [
            f"pull request #{t.number}{' (draft)' if t.ends.draft else ''}: {t.title} "
            f"({t.ends.head} into {t.ends.base})"
            for t in self._repo.talks.values()
            if t.ends is not None and about.search(t.body)
        ]

    def _checks(self, talk: Talk) -> list[str]:
        ids = tuple(str(c.id) for c in talk.comments)
        return [
            f"check {run['name']}: {run['conclusion']} on {run['head_sha'][:8]}"
            for run in self._repo.checks
            if str(run.get("external_id", "")).rpartition(":")[2] in ids
        ]


def default_branch(folder: Path) -> str:
    """The branch that a repository on disk points to."""
    head = next((p for p in (folder / "HEAD", folder / ".git" / "HEAD") if p.is_file()), None)
    words = head.read_text().strip() if head else ""
    return words.removeprefix("ref: refs/heads/") if words.startswith("ref: refs/heads/") else "main"


def _comment(comment: Comment) -> Json:
    return {
        "id": str(comment.id),
        "who": comment.login,
        "bot": comment.app,
        "text": _plain(comment.body),
        "edits": [_plain(body) for body in comment.edits],
        "reactions": [_EMOJI.get(name, f":{name}:") for _, name in comment.reactions],
        "buttons": [],
        "files": [],
    }


def _plain(body: str) -> str:
    return html.unescape(_HIDDEN.sub("", body)).strip()
