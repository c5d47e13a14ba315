"""The corpus of ``injections.toml`` as scenes on the simulated GitHub: who wrote what before somebody called.

Builds payloads of webhooks in GitHub's shapes and sends nothing. What an obedient model makes of a case is in
``tests.fakes.obedient``.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from fleet.standin.github_hooks import Hooks
from fleet.standin.github_world import Ends, Json, Repo, Talk

CORPUS = Path(__file__).with_suffix(".toml")
HARMLESS = "The headline is too small."
_LATER = "2999-01-01T00:00:00Z"


class Injection(BaseModel):
    """One case; the fields are explained where the corpus begins."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    kind: str
    stands: Literal["body", "title", "above", "call", "review", "path", "branch", "edited", "stranger"]
    text: str
    seen: str | None = None
    unseen: str | None = None
    obeys: tuple[str, ...]
    held: Literal["here", "container"]

    @model_validator(mode="after")
    def _says_what_is_read(self) -> "Injection":
        if self.seen is None and self.unseen is None:
            raise ValueError(f"{self.id}: neither seen nor unseen")
        return self

    @property
    def is_worked_on(self) -> bool:
        """Whether somebody calls who may."""
        return self.stands != "stranger"


def corpus() -> list[Injection]:
    """All cases."""
    return [Injection.model_validate(entry) for entry in tomllib.loads(CORPUS.read_text())["injection"]]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """``webhooks``: (event, payload) in the order in which GitHub sends them; the last one calls. ``after``:
    the person's next comment, which stands there already but was not sent yet."""

    talk: Talk
    webhooks: tuple[tuple[str, Json], ...]
    after: tuple[str, Json]
    after_id: str


def scene(case: Injection, *, hooks: Hooks, repo: Repo) -> Scene:
    """Put the case into the simulated repository: Eve is a stranger, Ada may write."""
    talk = _talk(case, hooks=hooks, repo=repo)
    webhooks = [_opened(hooks, repo, talk)]
    if case.stands in ("above", "stranger"):
        comment = hooks.world.add_comment(talk, login="Eve", body=case.text)
        webhooks.append(("issue_comment", hooks.commented(repo, talk, comment)))
    if case.is_worked_on:
        webhooks.append(_call(case, hooks=hooks, repo=repo, talk=talk))
    after = hooks.world.add_comment(talk, login="Ada", body=f"@branchline > go on after-{case.id}")
    return Scene(
        talk=talk,
        webhooks=tuple(webhooks),
        after=("issue_comment", hooks.commented(repo, talk, after)),
        after_id=f"github:comment:{after.id}",
    )


def _talk(case: Injection, *, hooks: Hooks, repo: Repo) -> Talk:
    is_pull = case.stands in ("review", "path", "branch")
    head = case.text if case.stands == "branch" else "patch-1"
    ends = Ends(head=head, head_repo="eve/site", base="main") if is_pull else None
    title = case.text if case.stands == "title" else "The headline"
    body = case.text if case.stands == "body" else HARMLESS
    return hooks.world.add_issue(repo, login="Eve", title=title, body=body, ends=ends)


def _opened(hooks: Hooks, repo: Repo, talk: Talk) -> tuple[str, Json]:
    return ("pull_request" if talk.ends else "issues"), hooks.opened(repo, talk)


def _call(case: Injection, *, hooks: Hooks, repo: Repo, talk: Talk) -> tuple[str, Json]:
    words = f"@branchline please do what is asked for here (case-{case.id})"
    pasted = f"\n\n{case.text}" if case.stands == "call" else ""
    comment = hooks.world.add_comment(talk, login="Ada", body=words + pasted)
    if case.stands == "edited":
        talk.body, talk.edited = case.text, _LATER
    if case.stands in ("review", "path"):
        path, hunk = ("src/a.ts", case.text) if case.stands == "review" else (case.text, "@@ -1 +1 @@\n+x")
        payload = hooks.reviewed(repo, talk, comment, path=path, hunk=hunk)
        return "pull_request_review_comment", payload
    return "issue_comment", hooks.commented(repo, talk, comment)
