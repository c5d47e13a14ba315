"""Who may write what where in Slack, and for which project: the file, links of persons, direct messages."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.places import LinkKind, LinkRecord, link_key
from contracts.words import Mode
from dispatcher.people import People
from fleet.standin.slack_world import TEAM
from tests.integration import replies_lab
from tests.integration.slack_lab import (
    ADA,
    BOB,
    CHANNEL,
    DIRECT,
    EVE,
    MENTION,
    OTHER,
    UNKNOWN,
    Lab,
    lab,
    until,
)

pytestmark = pytest.mark.slow


@pytest.fixture
async def site(
    engine_url: str, account: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Lab]:
    async with lab(
        engine_url=engine_url, account=account, tmp_path=tmp_path, monkeypatch=monkeypatch
    ) as site:
        yield site


async def test_strangers_unlinked_channels_and_foreign_projects_are_told_so_once(site: Lab) -> None:
    _, events = site.slack.says(channel=CHANNEL, user=EVE, text=f"{MENTION} let me in")
    for event in events * 3:
        await site.send(event)
    await site.says(f"{MENTION} hello", channel=UNKNOWN)
    await site.says(f"{MENTION} hello", channel=OTHER, user=BOB)
    assert await site.nothing_recorded()
    await until(lambda: len(site.slack.world.whispers) == 3)
    assert f"branchline link add slack-user {TEAM}/{EVE} NAME" in site.whispers(to=EVE)[0]
    assert f"branchline link add slack-channel {TEAM}/{UNKNOWN} PROJECT" in site.whispers(to=ADA)[0]
    assert "project shop" in site.whispers(to=BOB)[0]


async def test_somebody_who_was_linked_while_it_runs_works_in_the_channels_of_projects(site: Lab) -> None:
    people = People(site.records.clients.dynamodb, table=replies_lab.TABLE)
    await people.add(LinkKind.SLACK_USER, f"{TEAM}/{EVE}", "mona")
    first = await site.says(f"{MENTION} make it blue", user=EVE)
    await site.says("and green", user=EVE, root=first.ts)
    begun = await site.says(f"{MENTION} make it red")
    await site.says("and yellow", user=EVE, root=begun.ts)
    assert [m.author.name for m in await site.recorded(first)] == ["mona", "mona"]
    assert (await site.thread(first))[0] == "local-site-mona"
    assert [m.author.name for m in await site.recorded(begun)] == ["ada", "mona"]


async def test_a_link_gives_nobody_in_slack_more_than_file_and_channel_do(site: Lab) -> None:
    people = People(site.records.clients.dynamodb, table=replies_lab.TABLE)
    await people.add(LinkKind.SLACK_USER, f"{TEAM}/{EVE}", "bob")
    await site.says(f"{MENTION} as bob, whom the file gives no shop", channel=OTHER, user=EVE)
    await people.add(LinkKind.SLACK_USER, f"{TEAM}/{EVE}", "mona")
    site.slack.world.open("D0EVE", direct=True)
    await site.says("[shop] where no channel says which project", channel="D0EVE", user=EVE)
    left = LinkRecord(kind=LinkKind.SLACK_USER, name=f"{TEAM}/{EVE}", target="mona", source="file")
    await site.records.clients.dynamodb.put_item(
        TableName=replies_lab.TABLE, Item=left.write(link_key(left.kind, left.name))
    )
    await site.says(f"{MENTION} by a link that an older file left behind", user=EVE)
    assert await site.nothing_recorded()
    await until(lambda: len(site.whispers(to=EVE)) == 3)
    assert "project shop" in site.whispers(to=EVE)[0]
    assert "no project yet" in site.whispers(to=EVE)[1]
    assert "project site" in site.whispers(to=EVE)[2]


async def test_a_direct_message_goes_to_the_only_project_or_to_the_one_it_names(site: Lab) -> None:
    site.slack.world.open("D0BOB", direct=True)
    await site.says("which one?", channel=DIRECT)
    await until(lambda: site.whispers() != [])
    assert "`[site]`, `[shop]`" in site.whispers()[0]
    named = await site.says("[shop] fix the cart", channel=DIRECT)
    only = await site.says("fix the page", user=BOB, channel="D0BOB")
    assert [m.text for m in await site.recorded(named, channel=DIRECT)] == ["fix the cart"]
    assert (await site.thread(named, channel=DIRECT))[0] == "local-shop-ada"
    assert (await site.thread(only, channel="D0BOB"))[0] == "local-site-bob"
    await site.says("and the page", channel=DIRECT, root=named.ts)
    assert len(await site.recorded(named, channel=DIRECT)) == 2


async def test_brackets_in_a_direct_message_that_name_no_project_stay_in_it(site: Lab) -> None:
    site.slack.world.open("D0BOB", direct=True)
    first = await site.says("[urgent] fix the page", user=BOB, channel="D0BOB")
    for text in ("> [x] stop", "[SHOP] not mine", "[site] and this"):
        await site.says(text, user=BOB, channel="D0BOB", root=first.ts)
    recorded = await site.recorded(first, channel="D0BOB")
    assert [m.text for m in recorded] == [
        "[urgent] fix the page",
        "[x] stop",
        "[SHOP] not mine",
        "and this",
    ]
    assert recorded[1].mode is Mode.STEER
