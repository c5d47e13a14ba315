"""The token of a turn: minted for one repository, given to who proves to be the worker, used by git only."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from contracts.words import ThreadId, WorkerId
from dispatcher.github_tokens import repo_of_worker
from dispatcher.worker_tokens import worker_secret
from fleet.standin.github import GitHubStandin, running_github
from tests.integration import workspace_lab
from tests.integration.github_lab import KEY, WORKER, Lab, lab
from worker.errors import RemoteUnavailable
from worker.github_token import TokenSource
from worker.workspace import GitWorkspace


@pytest.fixture
def github() -> Iterator[GitHubStandin]:
    with running_github() as standin:
        yield standin


@pytest_asyncio.fixture
async def there(
    engine_url: str, account: str, github: GitHubStandin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Lab]:
    async with lab(engine_url, account, github, tmp_path, monkeypatch) as made:
        yield made


def source(there: Lab, worker: WorkerId = WORKER, *, secret: str | None = None) -> TokenSource:
    return TokenSource(
        url=f"{there.url}/internal/token",
        secret=secret or worker_secret(KEY, worker),
        worker_id=worker,
    )


async def test_a_worker_gets_a_token_for_its_own_repository_and_keeps_it(there: Lab) -> None:
    there.github.world.add_repo("acme/other", ada="write")
    mine = source(there)
    token = await asyncio.to_thread(mine)
    assert token is not None
    assert await asyncio.to_thread(mine) == token
    caller, _ = there.github.grants[token]
    assert (caller.repo, caller.permissions) == ("Acme/Site", {"contents": "write"})
    other = await asyncio.to_thread(source(there, WorkerId("local-other-ada")))
    assert other is not None
    assert there.github.grants[other][0].repo == "acme/other"


async def test_nobody_gets_the_token_of_another_worker(there: Lab) -> None:
    theirs = worker_secret(KEY, WorkerId("local-other-ada"))
    with pytest.raises(RemoteUnavailable, match="401"):
        await asyncio.to_thread(source(there, secret=theirs))
    async with httpx.AsyncClient(trust_env=False) as client:
        plain = await client.post(f"{there.url}/internal/token", json={"worker_id": WORKER})
    assert plain.status_code == 401
    assert not there.github.grants


async def test_a_repository_that_is_none_of_the_apps_needs_no_token(there: Lab) -> None:
    there.repo.installed = False
    assert await asyncio.to_thread(source(there)) is None
    assert await asyncio.to_thread(source(there, WorkerId("local-unknown-ada"))) is None


async def test_an_ended_token_is_asked_for_again(there: Lab) -> None:
    there.github.token_seconds = 60
    mine = source(there)
    first = await asyncio.to_thread(mine)
    assert await asyncio.to_thread(mine) != first


@pytest.mark.parametrize("onto", [None, "feature"])
async def test_git_clones_and_pushes_with_the_token_and_not_without(
    there: Lab, tmp_path: Path, onto: str | None
) -> None:
    (tmp_path / "far").mkdir()
    far = workspace_lab.Lab(tmp_path / "far")
    workspace_lab.git(far.person, "push", "-q", "origin", "HEAD:feature")
    there.repo.folder = far.remote
    remote = there.github.clone_url("acme/site")

    def worker(name: str, token: TokenSource | None) -> GitWorkspace:
        return GitWorkspace(
            path=tmp_path / name / "checkout",
            state_dir=tmp_path / name / "state",
            remote=remote,
            worker_id=WORKER,
            token=token or (lambda: None),
        )

    with pytest.raises(RemoteUnavailable):
        await worker("poor", None).prepare()
    mine = source(there)
    token = await asyncio.to_thread(mine)
    rich = worker("rich", mine)
    await rich.prepare()
    await rich.claim(epoch=1)
    start = await rich.switch(ThreadId("a"), onto=onto)
    (rich.path / "new.txt").write_text("new\n")
    assert await workspace_lab.end_turn(rich, start.head) is not None
    await rich.push(thread_id=ThreadId("a"))
    assert far.on_remote("thread-a", "new.txt") == "new"
    landed = workspace_lab.git(far.remote, "ls-tree", "--name-only", "feature", "new.txt")
    assert landed == ("new.txt" if onto else "")
    assert token is not None
    kept = subprocess.run(["grep", "-rl", token, str(tmp_path)], capture_output=True, check=False)
    assert kept.stdout == b""  # no file of the checkout or the worker holds it


@pytest.mark.parametrize("key", [""])
def test_without_a_key_there_are_no_secrets(key: str) -> None:
    with pytest.raises(ValueError):
        worker_secret(key, WORKER)


def test_a_worker_of_no_configured_project_has_no_repository() -> None:
    assert repo_of_worker(WORKER, projects={}) is None
