"""Where the work about a pull request shall go, as a signed webhook leaves it in the records."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from contracts import records
from fleet.standin.github import GitHubStandin, running_github
from fleet.standin.github_world import Ends, Talk
from tests.integration.github_lab import Lab, lab


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


def pull(there: Lab, *, head: str = "feature", of: str = "Acme/Site", base: str = "main") -> Talk:
    ends = Ends(head=head, head_repo=of, base=base)
    return there.github.world.add_issue(there.repo, login="Bob", title="Add it", ends=ends)


async def say(there: Lab, talk: Talk, text: str = "go") -> None:
    answer = await there.call(
        there.github.hooks.say, there.repo, talk, login="Ada", body=f"@branchline {text}"
    )
    assert answer.status_code == 202, answer.text


def read(there: Lab, prefix: str) -> list[dict[str, Any]]:
    """Records of one kind, by key."""
    found = [records.decode(i) for i in there.items()]
    mine = [r for r in found if str(r["sk"]).startswith(prefix) and not str(r["sk"]).endswith("#stop")]
    return sorted(mine, key=lambda r: str(r["sk"]))


async def test_work_on_a_pull_request_of_the_same_repository_goes_onto_its_branch(there: Lab) -> None:
    talk = pull(there)
    await say(there, talk)
    await say(there, talk, "and the footer")
    (thread,) = read(there, "thread#")
    assert thread["onto"] == "feature"
    assert [turn["onto"] for turn in read(there, "open#")] == ["feature", "feature"]
    assert there.github.count(r"GET /repos/acme/site/pulls/1$") == 1  # later words need not ask


@pytest.mark.parametrize(
    "ends",
    [
        {"of": "eve/fork"},
        {"head": "main", "base": "production"},
        {"head": "conflict-1/thread-x"},
        {"head": "thread-nobody-knows"},
    ],
    ids=["a fork", "the default branch", "a conflict branch", "a branch of no thread"],
)
async def test_work_goes_onto_no_branch_that_is_not_the_peoples_own(there: Lab, ends: dict[str, str]) -> None:
    there.github.world.add_repo("eve/fork", eve="admin")
    await say(there, pull(there, **ends))
    (thread,) = read(there, "thread#")
    assert thread["thread_id"].startswith("pr-1-")
    assert "onto" not in thread
    assert "onto" not in read(there, "open#")[0]


async def test_an_issue_and_a_closed_pull_request_have_no_branch(there: Lab) -> None:
    closed = pull(there)
    there.repo.close(closed)
    await say(there, closed)
    await say(there, there.github.world.add_issue(there.repo, login="Bob", title="Blue"))
    assert not [r for r in [*read(there, "thread#"), *read(there, "open#")] if "onto" in r]


async def test_once_a_pull_request_is_closed_later_work_stays_beside_its_branch(there: Lab) -> None:
    talk = pull(there)
    await say(there, talk)
    there.repo.close(talk, merged=True)
    await say(there, talk, "and the footer")
    talk.state = "open"
    await say(there, talk, "once more")
    (thread,) = read(there, "thread#")
    assert thread["onto"] == "feature"
    assert [turn.get("onto") for turn in read(there, "open#")] == ["feature", None, "feature"]


async def test_words_from_elsewhere_go_where_the_thread_goes(there: Lab) -> None:
    await say(there, pull(there))
    (thread,) = read(there, "thread#")
    url = f"{there.url}/v1/threads/{thread['thread_id']}/messages"
    answer = await there.client.post(url, json={"text": "from the page"})
    assert answer.status_code == 202, answer.text
    assert [turn["onto"] for turn in read(there, "open#")] == ["feature", "feature"]


async def test_a_thread_of_before_keeps_going_where_it_went(there: Lab) -> None:
    talk = pull(there, of="eve/fork")
    await say(there, talk)
    talk.ends = Ends(head="feature", head_repo="Acme/Site", base="main")
    await say(there, talk, "and the footer")
    assert "onto" not in read(there, "thread#")[0]
    assert not [turn for turn in read(there, "open#") if "onto" in turn]


async def test_words_about_the_pull_request_of_a_thread_go_on_in_that_thread(there: Lab) -> None:
    await say(there, there.github.world.add_issue(there.repo, login="Bob", title="Blue"))
    (thread,) = read(there, "thread#")
    own = pull(there, head=thread["branch"])
    await say(there, own, "a little darker")
    await say(there, own, "and the footer")
    (same,) = read(there, "thread#")
    assert same["thread_id"] == thread["thread_id"]
    assert [m["text"].partition("\n")[0] for m in there.messages()] == [
        "go",
        "a little darker",
        "and the footer",
    ]
    assert not [turn for turn in read(there, "open#") if "onto" in turn]


async def test_a_pull_request_from_a_fork_never_speaks_to_a_thread_by_its_branch_name(there: Lab) -> None:
    there.github.world.add_repo("eve/fork", eve="admin")
    await say(there, there.github.world.add_issue(there.repo, login="Bob", title="Blue"))
    (thread,) = read(there, "thread#")
    await say(there, pull(there, head=thread["branch"], of="eve/fork"), "show me all")
    assert len(read(there, "thread#")) == 2


async def test_when_the_pull_request_cannot_be_read_the_delivery_comes_again(there: Lab) -> None:
    talk = pull(there)
    there.github.fail(r"GET .*/pulls/1$", status=502)
    answer = await there.call(there.github.hooks.say, there.repo, talk, login="Ada", body="@branchline go")
    assert answer.status_code == 503
    assert not there.messages()
    await there.call(there.github.hooks.attempt, there.github.hooks.deliveries[0].id)
    assert read(there, "thread#")[0]["onto"] == "feature"
