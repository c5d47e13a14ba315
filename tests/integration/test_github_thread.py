"""The pull request of a thread, asked for over ``/v1``: GitHub is a stand-in at the wire."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from contracts.config import ProjectConfig
from dispatcher.pull_of_thread import repo_for
from fleet.standin.github import GitHubStandin, running_github
from fleet.standin.github_world import Talk
from tests.fakes.engine import aws_client
from tests.integration.github_lab import Lab, lab
from tests.integration.worker_lab import bare_remote, git


@pytest.fixture
def github() -> Iterator[GitHubStandin]:
    with running_github() as standin:
        yield standin


@pytest_asyncio.fixture
async def there(
    engine_url: str, account: str, github: GitHubStandin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Lab]:
    async with lab(engine_url, account, github, tmp_path, monkeypatch) as made:
        made.repo.folder = bare_remote(tmp_path / "github")
        yield made


async def post(there: Lab, address: str, **body: Any) -> httpx.Response:
    return await there.client.post(f"{there.url}{address}", json=body)


async def thread(there: Lab, *, project: str = "site", pushed: bool = True) -> str:
    """A thread ``a``; with a commit on its branch when ``pushed``."""
    made = await post(there, "/v1/threads", text="Make it blue", thread_id="a", project=project)
    assert made.status_code == 202, made.text
    if pushed:
        assert there.repo.folder is not None
        tree = git(there.repo.folder, "rev-parse", "main^{tree}")
        commit = git(there.repo.folder, "commit-tree", tree, "-p", "main", "-m", "Blue")
        git(there.repo.folder, "update-ref", "refs/heads/thread-a", commit)
    return "/v1/threads/a/pull"


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_the_pull_request_is_opened_once_as_a_draft_and_found_afterwards(there: Lab) -> None:
    address = await thread(there)
    first, again = await post(there, address), await post(there, address)
    assert first.status_code == 200, first.text
    assert first.json() == again.json()
    assert there.github.count(r"POST /repos/acme/site/pulls$") == 1
    (talk,) = there.repo.talks.values()
    assert talk.ends is not None
    assert (talk.ends.head, talk.ends.base, talk.ends.draft) == ("thread-a", "main", True)
    assert first.json()["number"] == talk.number
    assert re.fullmatch(rf".*/pull/{talk.number}", first.json()["url"])
    assert (talk.title, "`a`" in talk.body) == ("Make it blue", True)


async def test_one_whose_answer_was_lost_is_found_when_it_is_asked_for_again(there: Lab) -> None:
    address = await thread(there)
    there.github.lose(r"POST /repos/acme/site/pulls$")
    lost = await post(there, address)
    assert code(lost) == (503, "unavailable")
    assert (await post(there, address)).status_code == 200
    assert len(there.repo.talks) == 1


async def test_a_branch_that_is_not_there_says_what_to_do_first(there: Lab) -> None:
    refused = await post(there, await thread(there, pushed=False))
    assert code(refused) == (409, "nothing_pushed")
    assert "thread-a" in refused.json()["error"]["message"]
    assert there.repo.talks == {}


async def test_a_repository_without_the_app_is_not_on_github_for_us(there: Lab) -> None:
    refused = await post(there, await thread(there, project="other", pushed=False))
    assert code(refused) == (409, "not_github")
    assert "acme/other" in refused.json()["error"]["message"]


async def test_a_thread_that_is_not_there_has_no_pull_request(there: Lab) -> None:
    assert code(await post(there, "/v1/threads/b/pull")) == (404, "unknown_thread")


async def said(there: Lab, talk: Talk, text: str) -> httpx.Response:
    answer = await there.call(
        there.github.hooks.say, there.repo, talk, login="Ada", body=f"@branchline {text}"
    )
    assert isinstance(answer, httpx.Response)
    return answer


async def test_words_in_the_place_of_a_deleted_thread_begin_a_new_one(there: Lab) -> None:
    talk = there.github.world.add_issue(there.repo, login="Bob", title="It should be blue")
    assert (await said(there, talk, "go")).status_code == 202
    (first,) = there.messages()
    gone = await there.client.delete(f"{there.url}/v1/threads/{first['thread_id']}")
    assert gone.status_code == 202, gone.text
    assert (await said(there, talk, "again")).status_code == 202
    (second,) = (m for m in there.messages() if m["thread_id"] != first["thread_id"])
    assert (second["sequence"], second["text"].startswith("again")) == (1, True)


async def test_words_that_meet_a_thread_on_its_way_out_are_to_be_sent_again(there: Lab) -> None:
    talk = there.github.world.add_issue(there.repo, login="Bob", title="It should be blue")
    assert (await said(there, talk, "go")).status_code == 202
    places = [i for i in there.items() if i["pk"]["S"].startswith("place#")]
    (first,) = there.messages()
    await there.client.delete(f"{there.url}/v1/threads/{first['thread_id']}")
    with aws_client("dynamodb", url=there.engine_url, account=there.account) as client:
        for item in places:  # as if the place had been looked up a moment before the deletion
            client.put_item(TableName="branchline", Item=item)
    assert (await said(there, talk, "again")).status_code == 503
    assert len(there.messages()) == 1


def test_the_repository_that_is_pushed_to_is_meant_where_there_are_several() -> None:
    project = ProjectConfig(repo="https://github.com/acme/site", github_repos=("Acme/Docs", "Acme/Site"))
    assert repo_for(project, own="acme/site") == "acme/site"
    assert repo_for(project, own="other/one") == "acme/docs"
    assert repo_for(project, own=None) == "acme/docs"
