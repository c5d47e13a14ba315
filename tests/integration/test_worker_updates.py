"""Bringing a thread's branch up to date with the default branch: real git, Claude Code only in conflict."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.words import Action
from tests.faults.lab import FaultLab, Process, answered_once, fault_lab
from tests.integration.worker_lab import git

pytestmark = pytest.mark.slow
UPDATE = "Bring this branch up to date with the default branch."
POINTS = ("started", "committed", "pushed", "recorded")


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path) -> Iterator[FaultLab]:
    with fault_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


def begin(lab: FaultLab, *, real: bool = False, **more: str) -> Process:
    """A worker whose lease outlives a machine that is busy with other things."""
    return lab.begin(real=real, **{"BRANCHLINE_LEASE_SECONDS": "10", **more})


def a_person_pushes(lab: FaultLab, **files: str) -> str:
    """A commit on main; its sha."""
    person = lab.folder / "person"
    if not person.exists():
        git(lab.folder, "clone", "-q", str(lab.remote), str(person))
    for name, text in files.items():
        (person / name.replace("_", ".")).write_text(text)
    git(person, "add", "-A")
    git(person, "commit", "-q", "-m", "News")
    git(person, "push", "-q", "origin", "main")
    return git(person, "rev-parse", "HEAD")


def worked(lab: FaultLab, step: str = "do: write a.txt one") -> None:
    lab.post("a", 1, f"{step}\ndo: say Done.")
    assert lab.outcome("a", 1) == "completed"


def ask(lab: FaultLab, sequence: int = 2, *, steps: str = "") -> None:
    lab.found.record("a", sequence, text=f"{UPDATE}\n{steps}".strip(), action=Action.UPDATE)
    lab.found.send("a", sequence)


def holds(lab: FaultLab, sha: str) -> bool:
    return sha in git(lab.remote, "rev-list", "thread-a").split()


def test_a_clean_update_is_one_merge_commit_and_no_model_is_asked(lab: FaultLab) -> None:
    begin(lab, real=True)
    worked(lab)
    asked = len(lab.model.requests)
    news = a_person_pushes(lab, news_txt="new\n")
    ask(lab)
    answered_once(lab, "a", 2)
    assert len(lab.model.requests) == asked
    assert lab.tree("thread-a").keys() == {".gitignore", "README.md", "a.txt", "news.txt"}
    (merge,) = lab.remote_commits("a-2")
    assert git(lab.remote, "rev-parse", "thread-a") == merge
    assert git(lab.remote, "rev-parse", f"{merge}^2") == news
    final = lab.data("a", "turn.completed")[1]
    assert (final.text, final.pushed) == ("Merged main into this branch; there were no conflicts.", True)
    assert (final.changed, final.files, final.problem) == (True, 1, None)
    assert (lab.checkout() / "news.txt").read_text() == "new\n"


def test_a_branch_that_is_up_to_date_is_left_as_it_is(lab: FaultLab) -> None:
    begin(lab)
    worked(lab)
    before = git(lab.remote, "rev-parse", "thread-a")
    ask(lab)
    answered_once(lab, "a", 2, commits=0)
    assert git(lab.remote, "rev-parse", "thread-a") == before
    final = lab.data("a", "turn.completed")[1]
    assert final.text == "This branch is up to date with main already."
    assert not final.changed


def test_claude_code_resolves_what_is_in_conflict(lab: FaultLab) -> None:
    begin(lab, real=True)
    worked(lab, "do: write README.md ours")
    news = a_person_pushes(lab, README_md="theirs\n", other_txt="new\n")
    resolve = "git add -A && git commit -q --no-edit"
    ask(
        lab,
        steps="do: bash git status --porcelain | wc -l; git merge -q origin/main || true\n"
        f"do: write README.md ours and theirs\ndo: bash {resolve}\ndo: say I kept both.",
    )
    answered_once(lab, "a", 2)
    prompt = next(r.text for r in lab.model.requests if r.text.startswith(UPDATE))
    assert "- README.md" in prompt
    assert "other.txt" not in prompt
    assert "thread-a" in prompt
    assert "git merge origin/main" in prompt
    assert holds(lab, news)
    assert lab.tree("thread-a")["README.md"] == "ours and theirs"
    assert lab.tree("thread-a")["other.txt"] == "new"
    final = lab.data("a", "turn.completed")[1]
    assert final.text.strip().endswith("I kept both.")


def test_a_merge_that_claude_code_resolved_but_did_not_commit_is_committed(lab: FaultLab) -> None:
    begin(lab)
    worked(lab, "do: write README.md ours")
    news = a_person_pushes(lab, README_md="theirs\n")
    ask(
        lab,
        steps="do: bash git merge -q origin/main || true\n"
        "do: write README.md both\ndo: bash git add -A\ndo: say Resolved.",
    )
    answered_once(lab, "a", 2)
    assert holds(lab, news)
    assert lab.tree("thread-a")["README.md"] == "both"
    assert lab.data("a", "turn.completed")[1].text.strip() == "Resolved."


def test_an_answer_says_when_the_default_branch_is_still_not_merged(lab: FaultLab) -> None:
    begin(lab)
    worked(lab, "do: write README.md ours")
    news = a_person_pushes(lab, README_md="theirs\n")
    ask(lab, steps="do: say I looked at it.")
    answered_once(lab, "a", 2, commits=0)
    assert not holds(lab, news)
    final = lab.data("a", "turn.completed")[1]
    assert "I looked at it." in final.text
    assert "main is not merged into this branch" in final.text
    assert not git(lab.checkout(), "status", "--porcelain")
    assert not (lab.checkout() / ".git" / "MERGE_HEAD").exists()


def test_a_merge_driver_of_the_repository_does_not_run(lab: FaultLab, tmp_path: Path) -> None:
    a_person_pushes(lab, _gitattributes="*.md merge=evil\n")
    begin(lab)
    worked(lab, "do: write README.md ours")
    ran = tmp_path / "ran"
    git(lab.checkout(), "config", "merge.evil.driver", f"touch {ran}")
    (lab.checkout() / ".git" / "hooks").mkdir(exist_ok=True)
    for hook in ("pre-merge-commit", "post-merge", "pre-commit", "post-checkout"):
        path = lab.checkout() / ".git" / "hooks" / hook
        path.write_text(f"#!/bin/sh\ntouch {ran}\n")
        path.chmod(0o700)
    a_person_pushes(lab, README_md="theirs\n", other_txt="new\n")
    ask(lab, steps="do: say No.")
    assert lab.outcome("a", 2) == "completed"
    assert not ran.exists()


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_that_is_killed_merges_and_answers_once(lab: FaultLab, point: str) -> None:
    first = begin(lab)
    worked(lab)
    first.terminate()
    assert first.wait(timeout=60) == 0
    news = a_person_pushes(lab, news_txt="new\n")
    killed = begin(lab, BRANCHLINE_FAULT=f"{point}:kill")
    ask(lab)
    assert killed.wait(timeout=60) == -signal.SIGKILL
    begin(lab)
    answered_once(lab, "a", 2)
    assert holds(lab, news)
    merges = git(lab.remote, "rev-list", "--merges", "main..thread-a").split()
    assert len(merges) == 1
    assert lab.data("a", "turn.completed")[1].text.startswith("Merged main")
