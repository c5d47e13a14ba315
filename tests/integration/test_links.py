"""Who is who: links of the file, links that a person makes, and `branchline link` on a real dispatcher."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from contracts.config import FleetConfig
from contracts.places import LinkKind, canonical
from dispatcher.errors import Invalid
from dispatcher.people import People
from tests.fakes.dispatcher import running_launcher
from tests.fakes.engine import EngineProcess
from tests.integration.dispatcher_lab import Lab as Site
from tests.integration.dispatcher_lab import lab as dispatcher
from tests.integration.replies_lab import TABLE, lab
from tests.integration.test_fleet_redrive import branchline

FILE = {
    "project": {"site": {"repo": "r", "slack_channels": ["T1/C1"], "github_repos": ["Acme/Site"]}},
    "user": {"mona": {"projects": ["site"], "slack": ["T1/U1"], "github": ["Octocat"]}},
}
CHANNEL, REPO = LinkKind.SLACK_CHANNEL, LinkKind.GITHUB_REPO
PERSON, LOGIN = LinkKind.SLACK_USER, LinkKind.GITHUB_USER


@pytest.fixture
async def people(engine_url: str, account: str) -> AsyncIterator[People]:
    async with lab(url=engine_url, account=account) as site:
        yield People(site.clients.dynamodb, table=TABLE)


async def test_the_file_says_who_is_who_however_a_name_is_spelled(people: People) -> None:
    await people.seed(FleetConfig.model_validate(FILE))
    assert await people.project_of(CHANNEL, "T1/C1") == "site"
    assert await people.project_of(REPO, "acme/SITE") == "site"
    assert await people.user_of(PERSON, "t1/u1") == "mona"
    assert await people.user_of(LOGIN, "octocat") == "mona"
    assert await people.user_of(LOGIN, "stranger") is None
    assert await people.user_of(LOGIN, "no login at all") is None
    with pytest.raises(ValueError):
        await people.user_of(CHANNEL, "T1/C1")


async def test_links_of_the_file_follow_it_and_those_of_persons_stay(people: People) -> None:
    await people.seed(FleetConfig.model_validate(FILE))
    await people.add(LOGIN, "octocat", "lisa")
    await people.add(LOGIN, "hubot", "mona")
    changed = {**FILE, "user": {"mona": {"slack": ["T1/U2"], "github": ["Octocat"]}}}
    await people.seed(FleetConfig.model_validate(changed))
    assert await people.user_of(LOGIN, "octocat") == "lisa"
    assert await people.user_of(LOGIN, "hubot") == "mona"
    assert await people.user_of(PERSON, "T1/U1") is None
    assert await people.user_of(PERSON, "T1/U2") == "mona"
    await people.remove(LOGIN, "Octocat")
    await people.seed(FleetConfig.model_validate(changed))
    assert await people.user_of(LOGIN, "octocat") == "mona"
    assert [link.source for link in await people.links() if link.kind is LOGIN] == ["person", "file"]


@pytest.mark.parametrize(
    ("kind", "name"), [(PERSON, "U1"), (CHANNEL, "#general"), (LOGIN, "a b"), (REPO, "site"), (REPO, "a/b/c")]
)
async def test_a_name_that_cannot_be_of_its_kind_is_refused_with_an_example(
    people: People, kind: LinkKind, name: str
) -> None:
    with pytest.raises(Invalid, match="such as"):
        await people.add(kind, name, "mona")
    with pytest.raises(ValueError, match="such as"):
        canonical(kind, name)


@pytest.mark.parametrize("twice", ["slack_channels", "github_repos"])
def test_a_file_that_gives_a_name_to_two_is_refused(twice: str) -> None:
    name = {"slack_channels": "T1/C1", "github_repos": "acme/site"}[twice]
    both = {"project": {"a": {"repo": "r", twice: [name]}, "b": {"repo": "r", twice: [name.lower()]}}}
    if twice == "slack_channels":
        both["project"]["b"][twice] = [name]
    with pytest.raises(ValueError, match="both"):
        FleetConfig.model_validate(both)


def test_a_file_with_a_name_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="TEAM/CHANNEL"):
        FleetConfig.model_validate({"project": {"a": {"repo": "r", "slack_channels": ["general"]}}})


# -------------------------------------------------------------------- the command


@pytest.fixture
def site(engine: EngineProcess, tmp_path: Path) -> Iterator[Site]:
    with running_launcher() as launcher, dispatcher(engine, launcher, tmp_path) as site:
        yield site


def test_links_are_listed_added_and_removed(site: Site) -> None:
    url = site.dispatcher.url
    assert "Nobody is linked yet" in branchline(url, "link").stdout
    added = branchline(url, "link", "add", "slack-channel", "t1/c1", "site")
    assert (added.returncode, added.stdout.strip()) == (0, "linked: slack-channel T1/C1 is site")
    assert branchline(url, "link", "add", "github-user", "Octocat", "mona").returncode == 0
    listed = json.loads(branchline(url, "link", "list", "--json").stdout)
    assert {(x["kind"], x["name"], x["target"], x["source"]) for x in listed} == {
        ("slack-channel", "T1/C1", "site", "person"),
        ("github-user", "octocat", "mona", "person"),
    }
    assert "octocat" in branchline(url, "link", "list").stdout
    removed = branchline(url, "link", "remove", "github-user", "octocat")
    assert removed.stdout.strip() == "removed: github-user octocat was mona"
    again = branchline(url, "link", "remove", "github-user", "octocat")
    assert (again.returncode, len(again.stderr.splitlines())) == (2, 1)
    assert "github-user octocat" in again.stderr


def test_a_link_with_what_does_not_exist_or_cannot_be_is_refused_in_one_sentence(site: Site) -> None:
    for arguments, said in (
        (("slack-channel", "T1/C1", "nowhere"), "nowhere"),
        (("slack-channel", "general", "site"), "TEAM/CHANNEL"),
        (("discord", "x", "site"), "slack-user"),
    ):
        refused = branchline(site.dispatcher.url, "link", "add", *arguments)
        assert refused.returncode == 2
        assert said in refused.stderr
    wrong = site.client.post("/v1/links", json={"kind": "discord", "name": "x", "target": "y"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "invalid_link")
    assert site.client.get("/v1/undeliverable").json() == {"undeliverable": []}


def test_the_help_shows_examples() -> None:
    for arguments in ((), ("add",), ("remove",)):
        assert "branchline link" in branchline("http://127.0.0.1:1", "link", *arguments, "--help").stdout
