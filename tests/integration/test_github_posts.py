"""Comments, pull requests and check runs against a GitHub that refuses, slows down and loses answers."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import jwt
import pytest
import pytest_asyncio

from dispatcher.github_api import GitHub
from dispatcher.github_app import PUSHING, TALKING
from dispatcher.github_post import GitHubPoster
from dispatcher.github_pull import Pulls
from dispatcher.github_render import STICKY
from dispatcher.github_settings import repo_of
from dispatcher.posting import Later, Undeliverable, Wanted
from fleet.standin.github import GitHubStandin, running_github
from fleet.standin.github_world import Ends, Repo, Talk
from tests.integration.github_lab import speaking

PLACE = "acme/site#1"
PULL = {"head": "thread-issue-1-a", "commit": "a" * 40, "title": "make it blue", "body": "I made it blue."}
CHECK = {
    "name": "Branchline",
    "head_sha": "a" * 40,
    "external_id": "github:comment:1",
    "status": "completed",
    "conclusion": "success",
    "output": {"title": "Done", "summary": "I made it blue."},
}


@pytest.fixture
def github() -> Iterator[GitHubStandin]:
    with running_github() as standin:
        yield standin


@pytest.fixture
def repo(github: GitHubStandin) -> Repo:
    return github.world.add_repo("acme/site", ada="write")


@pytest.fixture
def talk(github: GitHubStandin, repo: Repo) -> Talk:
    return github.world.add_issue(repo, login="Ada", title="It should be blue")


@pytest_asyncio.fixture
async def api(github: GitHubStandin) -> AsyncIterator[GitHub]:
    async with speaking(github) as made:
        yield made


@pytest.fixture
def poster(api: GitHub) -> GitHubPoster:
    return GitHubPoster(github=api, pulls=Pulls(github=api, draft=True))


def wanted(text: str = "Working", **more: Any) -> Wanted:
    return Wanted(key=STICKY, body={"text": text, "pull": None, "check": None, **more})


def marked(text: str) -> str:
    return f"<!-- branchline:work -->\n{text}\n<!-- branchline:end -->"


async def test_the_comment_is_found_by_its_marker_and_edited_never_doubled(
    poster: GitHubPoster, talk: Talk
) -> None:
    assert await poster.find(PLACE, STICKY) is None
    made = await poster.create(PLACE, wanted())
    assert await poster.find(PLACE, STICKY) == made
    for number in range(5):
        await poster.update(PLACE, made, wanted(f"state {number}"))
    assert len(talk.comments) == 1
    assert len(talk.comments[0].edits) == 6
    assert "state 4" in talk.comments[0].body


async def test_a_comment_whose_answer_was_lost_is_found_again(
    github: GitHubStandin, poster: GitHubPoster, talk: Talk
) -> None:
    github.lose("POST .*/issues/1/comments")
    with pytest.raises(Later) as lost:
        await poster.create(PLACE, wanted())
    assert lost.value.seconds is None
    assert await poster.find(PLACE, STICKY) == str(talk.comments[0].id)


async def test_a_marker_that_a_person_wrote_is_not_ours_even_on_later_pages(
    github: GitHubStandin, poster: GitHubPoster, talk: Talk
) -> None:
    for _ in range(150):
        github.world.add_comment(talk, login="Eve", body="<!-- branchline:sticky -->\nmine")
    made = await poster.create(PLACE, wanted())
    assert await poster.find(PLACE, STICKY) == made
    assert github.count("GET .*/comments") == 2


async def test_a_comment_that_a_person_deleted_is_written_again_once(
    poster: GitHubPoster, talk: Talk
) -> None:
    made = await poster.create(PLACE, wanted())
    talk.comments[0].deleted = True
    await poster.update(PLACE, made, wanted("answer 1"))
    await poster.update(PLACE, made, wanted("answer 2"))
    alive = [c for c in talk.comments if not c.deleted]
    assert len(alive) == 1
    assert "answer 2" in alive[0].body


async def test_the_pull_request_is_opened_once_as_a_draft_and_closes_the_issue(
    github: GitHubStandin, poster: GitHubPoster, api: GitHub, repo: Repo, talk: Talk
) -> None:
    made = await poster.create(PLACE, wanted("Done", pull=PULL))
    again = GitHubPoster(github=api, pulls=Pulls(github=api, draft=True))  # another process
    await again.update(PLACE, made, wanted("Done again", pull={**PULL, "body": "More."}))
    pulls = [t for t in repo.talks.values() if t.ends]
    assert len(pulls) == 1
    assert pulls[0].ends is not None
    assert pulls[0].ends.draft
    assert (pulls[0].title, pulls[0].ends.head, pulls[0].ends.base) == (
        "It should be blue",
        PULL["head"],
        "main",
    )
    assert pulls[0].body == marked("More.\n\nCloses #1")
    assert "Pull request: #2" in talk.comments[0].body


async def test_what_people_write_in_the_text_of_a_pull_request_stays_when_work_follows(
    poster: GitHubPoster, repo: Repo, talk: Talk
) -> None:
    made = await poster.create(PLACE, wanted("Done", pull=PULL))
    pull = repo.talks[2]
    pull.body = f"Mind the menu.\r\n\r\n{pull.body}\r\n\r\nTested by Mia."
    await poster.update(PLACE, made, wanted("Done", pull={**PULL, "body": "More."}))
    assert pull.body == ("Mind the menu.\r\n\r\n" + marked("More.\n\nCloses #1") + "\r\n\r\nTested by Mia.")


@pytest.mark.parametrize("left", ["All of it is mine now.", "Mine.\n<!-- branchline:work -->\nhalf a mark"])
async def test_without_its_mark_our_part_of_a_pull_requests_text_is_put_behind_what_stands_there(
    poster: GitHubPoster, repo: Repo, talk: Talk, left: str
) -> None:
    made = await poster.create(PLACE, wanted("Done", pull=PULL))
    repo.talks[2].body = left
    for body in ("More.", "Even more."):
        await poster.update(PLACE, made, wanted("Done", pull={**PULL, "body": body}))
    assert repo.talks[2].body == f"{left}\n\n" + marked("Even more.\n\nCloses #1")


async def test_a_pull_request_whose_answer_was_lost_is_not_opened_twice(
    github: GitHubStandin, poster: GitHubPoster, repo: Repo, talk: Talk
) -> None:
    github.lose("POST /repos/acme/site/pulls$")
    with pytest.raises(Later):
        await poster.create(PLACE, wanted("Done", pull=PULL))
    await poster.create(PLACE, wanted("Done", pull=PULL))
    assert len([t for t in repo.talks.values() if t.ends]) == 1
    assert "Pull request: #2" in talk.comments[0].body


async def test_a_closed_pull_request_is_left_closed_and_a_merged_one_followed(
    poster: GitHubPoster, repo: Repo, talk: Talk
) -> None:
    made = await poster.create(PLACE, wanted("Done", pull=PULL))
    first = repo.talks[2]
    assert first.ends is not None
    first.state = "closed"
    await poster.update(PLACE, made, wanted("Done", pull={**PULL, "body": "b"}))
    assert len(repo.talks) == 2
    assert "#2 is closed" in talk.comments[0].body
    first.ends.merged, first.ends.head_sha = "2026-11-20T10:00:00Z", "b" * 40
    await poster.update(PLACE, made, wanted("Done", pull={**PULL, "body": "c"}))
    assert len(repo.talks) == 3
    assert "Pull request: #3" in talk.comments[0].body


async def test_on_a_pull_request_the_work_goes_towards_its_branch(
    github: GitHubStandin, poster: GitHubPoster, repo: Repo
) -> None:
    ends = Ends(head="feature", head_repo="acme/site", base="main", head_sha="c" * 40)
    talk = github.world.add_issue(repo, login="Bob", title="Feature", ends=ends)
    made = await poster.create("acme/site#1", wanted("Done", pull=PULL))
    opened = repo.talks[2]
    assert opened.ends is not None
    assert opened.ends.base == "feature"
    assert "For #1" in opened.body
    await poster.update("acme/site#1", made, wanted("Done", pull={**PULL, "commit": "c" * 40}))
    assert len(repo.talks) == 2
    assert "on this pull request's branch" in talk.comments[0].body


async def test_work_that_landed_on_the_pull_request_opens_nothing_and_names_branch_and_commit(
    github: GitHubStandin, poster: GitHubPoster, repo: Repo
) -> None:
    ends = Ends(head="feature", head_repo="acme/site", base="main", head_sha="c" * 40)
    talk = github.world.add_issue(repo, login="Bob", title="Feature", ends=ends)
    await poster.create("acme/site#1", wanted("Done", pull={**PULL, "onto": "feature"}))
    assert len(repo.talks) == 1
    assert "on this pull request's branch, `feature` in aaaaaaaaaaaa." in talk.comments[0].body


async def test_work_that_came_too_late_for_a_pull_request_gets_one_of_its_own(
    github: GitHubStandin, poster: GitHubPoster, repo: Repo
) -> None:
    ends = Ends(head="feature", head_repo="acme/site", base="main", head_sha="c" * 40)
    talk = github.world.add_issue(repo, login="Bob", title="Feature", ends=ends)
    repo.close(talk, merged=True)
    made = await poster.create("acme/site#1", wanted("Done", pull={**PULL, "onto": "feature"}))
    assert repo.talks[2].ends is not None
    assert repo.talks[2].ends.base == "main"
    ends.head_sha = "a" * 40
    await poster.update("acme/site#1", made, wanted("Done", pull={**PULL, "onto": "feature", "body": "b"}))
    assert "on this pull request's branch" in talk.comments[0].body
    assert len(repo.talks) == 2


async def test_the_pull_request_of_the_thread_itself_keeps_its_text(
    github: GitHubStandin, poster: GitHubPoster, repo: Repo
) -> None:
    ends = Ends(head=PULL["head"], head_repo="acme/site", base="main", head_sha="c" * 40)
    own = github.world.add_issue(repo, login="branchline[bot]", title="Blue", body="Closes #9", ends=ends)
    await poster.create("acme/site#1", wanted("Done", pull=PULL))
    assert own.body == "Closes #9"
    assert "on this pull request's branch" in own.comments[0].body
    assert len(repo.talks) == 1


async def test_a_pull_request_that_is_refused_does_not_hold_the_answer_back(
    github: GitHubStandin, poster: GitHubPoster, talk: Talk
) -> None:
    github.fail("POST .*/pulls$", status=403, message="Resource not accessible by integration")
    await poster.create(PLACE, wanted("The answer", pull=PULL))
    assert "The answer" in talk.comments[0].body
    assert "could not be opened" in talk.comments[0].body


async def test_the_check_run_is_shown_once_and_its_absence_hurts_nobody(
    github: GitHubStandin, poster: GitHubPoster, api: GitHub, repo: Repo, talk: Talk
) -> None:
    made = await poster.create(PLACE, wanted("Done", check=CHECK))
    again = GitHubPoster(github=api, pulls=Pulls(github=api, draft=True))
    await again.update(PLACE, made, wanted("Done", check=CHECK))
    assert len(repo.checks) == 1
    assert repo.checks[0]["conclusion"] == "success"
    del github.world.granted["checks"]
    async with speaking(github) as poor:
        late = GitHubPoster(github=poor, pulls=Pulls(github=poor, draft=True))
        await late.update(PLACE, made, wanted("Still done", check={**CHECK, "conclusion": "failure"}))
    assert "Still done" in talk.comments[0].body
    assert len(repo.checks) == 1


@pytest.mark.parametrize(
    ("status", "headers", "message", "seconds"),
    [
        (429, {"retry_after": "7"}, "slow down", 7.0),
        (403, {"retry_after": "30"}, "You have exceeded a secondary rate limit", 30.0),
        (403, {}, "You have exceeded a secondary rate limit", 60.0),
        (502, {}, "bad gateway", None),
    ],
)
async def test_limits_and_failures_are_for_later(
    github: GitHubStandin,
    poster: GitHubPoster,
    talk: Talk,
    status: int,
    headers: dict[str, str],
    message: str,
    seconds: float | None,
) -> None:
    github.fail("POST .*/comments", status=status, message=message, **headers)
    with pytest.raises(Later) as later:
        await poster.create(PLACE, wanted())
    assert later.value.seconds == seconds
    await poster.create(PLACE, wanted())
    assert len(talk.comments) == 1


async def test_the_hourly_limit_waits_for_its_end(
    github: GitHubStandin, poster: GitHubPoster, talk: Talk
) -> None:
    limits = {"x_ratelimit_limit": "5000", "x_ratelimit_remaining": "0", "x_ratelimit_reset": "1"}
    github.fail("POST .*/comments", status=403, message="API rate limit exceeded", **limits)
    with pytest.raises(Later) as later:
        await poster.create(PLACE, wanted())
    assert later.value.everywhere
    assert later.value.seconds == 1.0


async def test_a_locked_issue_and_a_removed_app_are_undeliverable(
    github: GitHubStandin, poster: GitHubPoster, repo: Repo, talk: Talk
) -> None:
    talk.locked = True
    with pytest.raises(Undeliverable, match="locked"):
        await poster.create(PLACE, wanted())
    with pytest.raises(Undeliverable):
        await poster.create("acme/elsewhere#1", wanted())


async def test_tokens_are_for_one_repository_with_no_more_than_is_needed_and_are_kept(
    github: GitHubStandin, api: GitHub, repo: Repo
) -> None:
    other = github.world.add_repo("acme/other", ada="write")
    github.world.add_issue(other, login="Ada", title="x")
    first = await api.app.token("acme/site", permissions=PUSHING)
    assert await api.app.token("acme/site", permissions=PUSHING) == first
    caller, _ = github.grants[first.value]
    assert (caller.repo, caller.permissions) == ("acme/site", {"contents": "write"})
    talking = await api.app.token("acme/site", permissions=TALKING)
    assert github.grants[talking.value][0].permissions["contents"] == "read"
    assert github.count("access_tokens") == 2
    assert first.value not in repr(first)


async def test_a_token_that_is_about_to_end_is_not_given_out(
    api: GitHub, github: GitHubStandin, repo: Repo
) -> None:
    github.token_seconds = 599
    first = await api.app.token("acme/site", permissions=PUSHING)
    assert await api.app.token("acme/site", permissions=PUSHING) != first


async def test_a_token_that_was_revoked_is_minted_again(
    github: GitHubStandin, poster: GitHubPoster, talk: Talk
) -> None:
    made = await poster.create(PLACE, wanted())
    github.grants.clear()
    await poster.update(PLACE, made, wanted("x"))
    assert "x" in talk.comments[0].body
    github.grants.clear()
    assert await poster.find(PLACE, STICKY) == made


async def test_a_new_token_that_is_not_accepted_either_makes_the_place_undeliverable(
    github: GitHubStandin, poster: GitHubPoster, talk: Talk
) -> None:
    made = await poster.create(PLACE, wanted())
    github.fail("PATCH .*", times=2, status=401, message="Bad credentials")
    with pytest.raises(Undeliverable, match="Bad credentials"):
        await poster.update(PLACE, made, wanted("x"))
    assert github.count("access_tokens") == 2


async def test_the_standin_wants_a_real_proof_of_the_app(github: GitHubStandin, repo: Repo) -> None:
    async with speaking(github) as other:
        with running_github() as stranger:
            forged = jwt.encode(
                {"iss": "4242", "iat": 1, "exp": 9_999_999_999}, stranger.private_key, "RS256"
            )
        reply = github.reply(
            method="GET",
            target="/repos/acme/site/installation",
            headers={"authorization": f"bearer {forged}"},
            body=b"",
        )
        assert reply is not None
        assert reply.status == 401
        assert (await other.app.token("acme/site", permissions=PUSHING)).value.startswith("ghs_")


@pytest.mark.parametrize(
    ("remote", "api_url", "repo"),
    [
        ("https://github.com/Acme/Site.git", "https://api.github.com", "acme/site"),
        ("https://github.com/acme/site", "https://api.github.com/", "acme/site"),
        ("https://x@github.com/acme/site", "https://api.github.com", "acme/site"),
        ("https://ghe.example/acme/site", "https://ghe.example/api/v3", "acme/site"),
        ("http://github.com/acme/site", "https://api.github.com", None),
        ("https://github.com.evil.example/acme/site", "https://api.github.com", None),
        ("https://github.com@evil.example/acme/site", "https://api.github.com", None),
        ("https://github.com/acme/site/more", "https://api.github.com", None),
        ("git@github.com:acme/site.git", "https://api.github.com", None),
        ("/srv/site.git", "https://api.github.com", None),
    ],
)
def test_a_token_is_only_for_remotes_on_that_github(remote: str, api_url: str, repo: str | None) -> None:
    assert repo_of(remote, api_url=api_url) == repo
