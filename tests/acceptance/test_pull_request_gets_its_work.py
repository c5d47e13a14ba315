"""A comment on a pull request of the same repository: what comes of it is on the pull request's own branch.

All of it is real: the signed webhook, the queue, the worker, Claude Code, git. A person pushes in between.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.fleet import Fleet
from tests.fakes.model import ScriptedModel
from tests.integration.worker_lab import bare_remote, git

MENU = "soup\nfish\ncake\n"


@pytest.fixture
def fleet(tmp_path: Path, model: ScriptedModel) -> Iterator[Fleet]:
    """With a branch ``feature`` in its repository, which a person works on."""
    running = Fleet(
        tmp_path / "pull",
        repo=bare_remote(tmp_path / "far", **{"menu.txt": MENU}),
        BRANCHLINE_SIMULATE="1",
        ANTHROPIC_BASE_URL=model.url,
        ANTHROPIC_API_KEY="not-a-key",
    )
    try:
        git(tmp_path, "clone", "-q", str(running.remote), "person")
        git(tmp_path / "person", "switch", "-q", "-c", "feature")
        push(tmp_path / "person", "feature.txt", "f\n")
        running.up()
        yield running
    finally:
        running.close()


def push(person: Path, name: str, content: str) -> str:
    """A person changes a file of the branch and pushes; the commit."""
    if git(person, "ls-remote", "origin", "feature"):
        git(person, "pull", "-q", "--ff-only", "origin", "feature")
    (person / name).write_text(content)
    git(person, "add", "--all")
    git(person, "commit", "-qm", f"A person changes {name}")
    git(person, "push", "-q", "origin", "HEAD:feature")
    return git(person, "rev-parse", "HEAD")


def say(fleet: Fleet, *words: str) -> dict[str, Any]:
    """Comment, and what a person sees in the end."""
    done = fleet.branchline("simulate", "github", *words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr + fleet.logs()
    return dict(json.loads(done.stdout))


def at(fleet: Fleet, ref: str) -> str:
    """Where a ref of the remote stands."""
    return git(fleet.remote, "rev-parse", ref)


def living(seen: dict[str, Any]) -> str:
    """The one comment of ours."""
    (ours,) = [m for m in seen["messages"] if m["bot"]]
    return str(ours["text"])


def own_branch(fleet: Fleet) -> str:
    """The thread's branch on the remote."""
    return git(fleet.remote, "for-each-ref", "--format=%(refname:short)", "refs/heads/thread-*")


@pytest.mark.timeout(300)
def test_work_on_a_pull_request_lands_on_its_branch_beside_that_of_people(
    fleet: Fleet, tmp_path: Path
) -> None:
    person, gate = tmp_path / "person", tmp_path / "gate"
    first = push(person, "more.txt", "m\n")

    seen = say(fleet, "do: write answer.txt one", "--pull", "feature")
    branch, landed = own_branch(fleet), at(fleet, "feature")
    assert branch.startswith("thread-pr-1-")
    assert landed == at(fleet, branch)
    assert at(fleet, "feature^") == first, "forward, from what the person had pushed"
    assert f"on this pull request's branch, `feature` in {landed[:12]}." in living(seen)
    assert seen["beside"] == [f"check Branchline: success on {landed[:8]}"], "and no pull request beside it"
    evidence = f"Branchline-Message: github:comment:{seen['messages'][0]['id']}"
    assert evidence in git(fleet.remote, "log", "-1", "--format=%B", "feature").splitlines()

    push(person, "fresh.txt", "just pushed\n")
    words = f"do: bash cp fresh.txt copy.txt\ndo: wait {gate}\ndo: write answer.txt two"
    say(fleet, words, "--issue", "1", "--no-wait")
    thread = branch.removeprefix("thread-")
    fleet.wait_for(thread, "turn.started", count=2)
    theirs = push(person, "person.txt", "p\n")
    gate.touch()
    seen = say(fleet, "--issue", "1")
    assert at(fleet, "feature") == at(fleet, branch)
    assert at(fleet, "feature^") == theirs, "our commit stands on top of the person's"
    tree = fleet.tree("feature")
    assert (tree["person.txt"], tree["answer.txt"]) == ("p", "two")
    assert tree["copy.txt"] == "just pushed", "Claude Code saw what was pushed before it was asked"

    gate.unlink()
    words = f"do: wait {gate}\ndo: edit menu.txt fish => fish and chips"
    say(fleet, words, "--issue", "1", "--no-wait")
    fleet.wait_for(thread, "turn.started", count=3)
    theirs = push(person, "menu.txt", MENU.replace("fish", "no fish today"))
    gate.touch()
    seen = say(fleet, "--issue", "1")
    assert at(fleet, "feature") == theirs, "it stays as its people left it"
    assert fleet.tree(f"conflict-1/{branch}")["menu.txt"] == "soup\nfish and chips\ncake"
    assert f"pushed beside it as conflict-1/{branch}; feature stays as it is" in living(seen)
