"""Thread to Slack, through the whole dispatcher: what people see from the first second to the answer."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from fleet.standin.slack import Fault
from tests.integration.slack_lab import ADA, BOB, CHANNEL, MENTION, Lab, lab, quiet, until

pytestmark = pytest.mark.slow


@pytest.fixture
async def site(
    engine_url: str, account: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Lab]:
    async with lab(
        engine_url=engine_url, account=account, tmp_path=tmp_path, monkeypatch=monkeypatch
    ) as site:
        yield site


def reads(site: Lab, first, number: int = 0, *, channel: str = CHANNEL) -> str:  # type: ignore[no-untyped-def]
    posts = site.posts(first, channel=channel)
    return posts[number].shown() if len(posts) > number else ""


async def test_a_message_is_one_living_post_that_ends_with_answer_proof_and_buttons(site: Lab) -> None:
    first = await site.says(f"{MENTION} make it blue")
    await until(lambda: "Received." in reads(site, first))
    await site.tell(first, "message.queued", ahead=2)
    await until(lambda: "queued behind 2" in reads(site, first))
    await site.start(first)
    task = {"id": "1", "subject": "Paint it", "status": "in_progress"}
    await site.tell(first, "turn.tasks", tasks=[task])
    await site.tell(
        first, "turn.tool", tool_use_id="1", name="Edit", state="started", input={"file_path": "a.css"}
    )
    await until(lambda: "▸ Paint it" in reads(site, first) and "Edit a.css" in reads(site, first))
    await site.tell(first, "turn.interrupted", reason="preempted", text="Paused for another thread.")
    await until(lambda: "Paused for another thread." in reads(site, first))
    await site.tell(first, "turn.resumed", reason="preempted", text="Going on.", branch="thread-x", attempt=1)
    await until(lambda: "Going on." in reads(site, first))
    await site.tell(first, "preview.ready", url="http://127.0.0.1:4321/")
    await site.complete(first, "It is **blue** now.", duration_ms=5000, cost_usd=0.02)
    await until(lambda: "It is *blue* now." in reads(site, first))
    await quiet(site)
    (post,) = site.posts(first)
    assert "`thread-x` · commit `abcdef12` · 1 file, +0 -0 · pushed · 5 s" in post.shown()
    assert all(label in post.shown() for label in ("Show diff", "Open preview"))
    assert "Stop" in str(post.versions[0].blocks)
    edits = [version.at for version in post.versions]
    assert all(later - earlier >= 0.99 for earlier, later in pairwise(edits))
    assert [s["status"] for s in site.slack.world.statuses][-1] == ""


async def test_a_worker_that_is_being_started_is_said(site: Lab) -> None:
    first = await site.says(f"{MENTION} make it blue")
    worker, _ = await site.thread(first)
    await site.tell(first, "worker.starting", worker_id=worker)
    await until(lambda: "The worker is being started." in reads(site, first))


async def test_forty_thousand_characters_arrive_as_a_post_and_a_file(site: Lab) -> None:
    first = await site.says(f"{MENTION} explain")
    await site.start(first)
    text = "\n\n".join(f"Paragraph {n}. " + "word " * 60 for n in range(130))
    await site.complete(first, text)
    await quiet(site)
    living, answer, file = site.posts(first)
    assert "The answer is below." in living.shown()
    assert "Paragraph 0." in answer.shown()
    assert site.slack.world.uploads[file.files[0]["id"]].decode() == text


async def test_an_answer_that_was_lost_on_the_way_stands_once(site: Lab) -> None:
    site.slack.fail(Fault(method="chat.update", kind="lost"))
    first = await site.says(f"{MENTION} make it blue")
    await until(lambda: site.posts(first))
    await site.start(first)
    await site.complete(first, "Blue now.")
    await quiet(site)
    (post,) = site.posts(first)
    assert "Blue now." in post.shown()


async def test_after_a_revoked_token_a_new_message_brings_the_answers(site: Lab) -> None:
    site.slack.revoked = True
    first = await site.says(f"{MENTION} make it blue")
    await site.start(first)
    await site.complete(first, "Blue now.")
    worker, _ = await site.thread(first)
    async with asyncio.timeout(30):
        while not (gone := await site.records.places.undeliverable_of(worker)):
            await asyncio.sleep(0.05)
    assert "SLACK_BOT_TOKEN" in str(gone[0].undeliverable)
    assert site.posts(first) == []
    site.slack.heal()
    await site.says("and now?", user=BOB, root=first.ts)
    await until(lambda: "Blue now." in reads(site, first))
    await until(lambda: len(site.posts(first)) == 2)


@pytest.fixture
async def socket(
    engine_url: str, account: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Lab]:
    async with lab(
        engine_url=engine_url, account=account, tmp_path=tmp_path, monkeypatch=monkeypatch, socket_mode=True
    ) as site:
        yield site


async def test_socket_mode_takes_messages_and_buttons_and_acknowledges_what_is_durable(socket: Lab) -> None:
    slack = socket.slack
    await until(lambda: slack.connected() == 1)
    first, events = slack.says(channel=CHANNEL, user=ADA, text=f"{MENTION} make it blue")
    for number, event in enumerate(events):
        await asyncio.to_thread(slack.push, event, envelope=f"e{number}")
    await until(lambda: slack.acknowledged("e0") and slack.acknowledged("e1"))
    assert [m.text for m in await socket.recorded(first)] == ["make it blue"]
    await until(lambda: socket.posts(first))
    stop = slack.presses(socket.posts(first)[0], channel=CHANNEL, user=ADA, action="branchline_stop")
    await asyncio.to_thread(slack.push, stop, envelope="e9")
    await until(lambda: slack.acknowledged("e9"))
    worker, thread_id = await socket.thread(first)
    _, stops = await socket.records.table.open(worker=worker, thread_id=thread_id)
    assert [s.through for s in stops] == [1]
