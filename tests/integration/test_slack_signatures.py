"""Only Slack is listened to: signatures forged, late, missing or unreadable, over real HTTP."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet.standin.slack import SECRET, signed
from tests.integration.slack_lab import ADA, CHANNEL, MENTION, Lab, lab


@pytest.fixture
async def site(
    engine_url: str, account: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Lab]:
    async with lab(
        engine_url=engine_url, account=account, tmp_path=tmp_path, monkeypatch=monkeypatch
    ) as site:
        yield site


async def test_the_challenge_of_a_new_address_is_answered(site: Lab) -> None:
    answer = await site.deliver({"type": "url_verification", "challenge": "3eZbrw1aB", "token": "x"})
    assert (answer.status_code, answer.json()) == (200, {"challenge": "3eZbrw1aB"})


async def send_raw(site: Lab, body: bytes, headers: dict[str, str]) -> int:
    async with httpx.AsyncClient() as client:
        kind = {"Content-Type": "application/json"}
        answer = await client.post(f"{site.url}/slack/events", content=body, headers={**kind, **headers})
        return answer.status_code


async def test_a_signature_older_or_newer_than_five_minutes_is_refused(site: Lab) -> None:
    _, events = site.slack.says(channel=CHANNEL, user=ADA, text=f"{MENTION} replayed")
    for late in (-301, -600, 310, -(10**10), 10**12):
        answer = await site.deliver(events[0], timestamp=time.time() + late)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_signature"
    assert await site.nothing_recorded()
    assert (await site.deliver(events[0], timestamp=time.time() - 280)).status_code == 200


async def test_forged_missing_and_unreadable_signatures_are_refused(site: Lab) -> None:
    _, events = site.slack.says(channel=CHANNEL, user=ADA, text=f"{MENTION} forged")
    body = json.dumps(events[0]).encode()
    good = signed(body)
    wrong: list[dict[str, Any]] = [
        {},
        signed(body, secret="another"),
        {k: v for k, v in good.items() if k == "X-Slack-Signature"},
        {k: v for k, v in good.items() if k != "X-Slack-Signature"},
        {**good, "X-Slack-Signature": good["X-Slack-Signature"][:-1]},
        {**good, "X-Slack-Signature": "v0="},
        {**good, "X-Slack-Signature": "v0=\u00e9".encode("latin-1")},
        {**good, "X-Slack-Request-Timestamp": "now"},
        {**good, "X-Slack-Request-Timestamp": "1e3"},
        {**good, "X-Slack-Request-Timestamp": "9" * 5000},
    ]
    assert [await send_raw(site, body, headers) for headers in wrong] == [401] * len(wrong)
    assert await send_raw(site, b"\xff\xfe", {**signed(b"\xff\xfe")}) == 401
    assert await site.nothing_recorded()
    assert await send_raw(site, body, good) == 200


async def test_a_body_that_was_changed_by_one_byte_is_refused(site: Lab) -> None:
    _, events = site.slack.says(channel=CHANNEL, user=ADA, text=f"{MENTION} changed")
    body = json.dumps(events[0]).encode()
    headers = {"Content-Type": "application/json", **signed(body)}

    @given(place=st.integers(0, len(body) - 1), flip=st.integers(1, 255))
    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    def refused(place: int, flip: int) -> None:
        changed = body[:place] + bytes([body[place] ^ flip]) + body[place + 1 :]
        assert httpx.post(f"{site.url}/slack/events", content=changed, headers=headers).status_code == 401

    await asyncio.to_thread(refused)
    assert await site.nothing_recorded()


async def test_any_signed_bytes_are_acknowledged_and_record_nothing(site: Lab) -> None:
    @given(body=st.binary(max_size=200).filter(lambda b: _is_text(b)))
    @settings(max_examples=40, suppress_health_check=list(HealthCheck))
    def taken(body: bytes) -> None:
        answer = httpx.post(f"{site.url}/slack/events", content=body, headers=signed(body, secret=SECRET))
        assert answer.status_code == 200

    await asyncio.to_thread(taken)
    assert await site.nothing_recorded()


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


async def test_a_body_without_end_is_refused(site: Lab) -> None:
    assert await send_raw(site, b"x" * (1024 * 1024 + 1), {}) == 413
