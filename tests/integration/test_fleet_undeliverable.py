"""``branchline threads`` and ``redrive --replies`` before the whole dispatcher and Slack's stand-in."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.slack_lab import MENTION, Lab, lab, quiet, until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
async def site(
    engine_url: str, account: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Lab]:
    async with lab(
        engine_url=engine_url, account=account, tmp_path=tmp_path, monkeypatch=monkeypatch
    ) as site:
        yield site


async def branchline(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "BRANCHLINE_URL": url, "PYTHONUTF8": "1"}
    argv = [sys.executable, "-m", "fleet", *arguments]
    return await asyncio.to_thread(subprocess.run, argv, env=env, capture_output=True, text=True, timeout=100)


async def test_a_revoked_token_is_shown_with_its_threads_and_after_a_new_one_all_is_delivered(
    site: Lab,
) -> None:
    assert "Every reply has arrived" in (await branchline(site.url, "redrive", "--replies")).stdout
    site.slack.revoked = True
    first = await site.says(f"{MENTION} make it blue")
    await site.start(first)
    await site.complete(first, "Blue now.")
    worker, thread = await site.thread(first)
    async with asyncio.timeout(60):
        while not await site.records.places.undeliverable_of(worker):
            await asyncio.sleep(0.05)

    shown = (await branchline(site.url, "threads")).stdout
    assert f"(thread {thread}): The bot's token was revoked" in shown
    assert "branchline redrive --replies --all" in shown
    (row,) = json.loads((await branchline(site.url, "threads", "--json")).stdout)
    (place,) = row["undeliverable"]
    assert (row["thread_id"], place["frontend"]) == (thread, "slack")
    looked = (await branchline(site.url, "redrive", "--replies")).stdout
    assert f"slack:{place['address']}" in looked
    assert "token was revoked" in looked

    assert (await branchline(site.url, "redrive", "--replies", "nobody")).returncode == 2
    asked = await branchline(site.url, "redrive", "--replies", "--drop", "--all")
    assert (asked.returncode, "this deletes 0 of 1 for good" in asked.stderr) == (2, True)
    assert site.posts(first) == []

    site.slack.heal()
    done = await branchline(site.url, "redrive", "--replies", thread)
    assert (done.returncode, done.stdout.strip()) == (0, "1 tried again")
    await until(lambda: [p for p in site.posts(first) if "Blue now." in p.shown()])
    await quiet(site)
    assert len(site.posts(first)) == 1
    assert "Nothing can be posted" not in (await branchline(site.url, "threads")).stdout


async def test_replies_belong_to_no_worker_of_the_line() -> None:
    done = await branchline("http://127.0.0.1:1", "redrive", "--replies", "--worker", "w")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
