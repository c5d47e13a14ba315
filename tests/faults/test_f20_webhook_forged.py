"""F20: a webhook with a forged, missing or mutilated signature, or with a body that was changed.

Expected: 401, nothing is recorded, no other service is asked, and whatever the bytes are, the dispatcher
stays up: the next genuine webhook is taken in.
"""

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet.standin import slack as standin
from fleet.standin.github_hooks import signed
from tests.integration.github_lab import SECRET
from tests.integration.github_lab import Lab as GitHubLab
from tests.integration.slack_lab import ADA, CHANNEL, MENTION
from tests.integration.slack_lab import Lab as SlackLab

pytestmark = pytest.mark.slow

EVENT = "issue_comment"


async def send_raw(slack: SlackLab, body: bytes, headers: dict[str, str]) -> int:
    async with httpx.AsyncClient() as client:
        kind = {"Content-Type": "application/json"}
        answer = await client.post(f"{slack.url}/slack/events", content=body, headers={**kind, **headers})
        return answer.status_code


async def test_forged_missing_and_unreadable_signatures_are_refused(slack: SlackLab) -> None:
    _, events = slack.slack.says(channel=CHANNEL, user=ADA, text=f"{MENTION} forged")
    body = json.dumps(events[0]).encode()
    good = standin.signed(body)
    wrong: list[dict[str, Any]] = [
        {},
        standin.signed(body, secret="another"),
        {k: v for k, v in good.items() if k == "X-Slack-Signature"},
        {k: v for k, v in good.items() if k != "X-Slack-Signature"},
        {**good, "X-Slack-Signature": good["X-Slack-Signature"][:-1]},
        {**good, "X-Slack-Signature": "v0="},
        {**good, "X-Slack-Signature": "v0=\u00e9".encode("latin-1")},
        {**good, "X-Slack-Request-Timestamp": "now"},
        {**good, "X-Slack-Request-Timestamp": "1e3"},
        {**good, "X-Slack-Request-Timestamp": "9" * 5000},
    ]
    assert [await send_raw(slack, body, headers) for headers in wrong] == [401] * len(wrong)
    assert await send_raw(slack, b"\xff\xfe", {**standin.signed(b"\xff\xfe")}) == 401
    assert await slack.nothing_recorded()
    assert await send_raw(slack, body, good) == 200


async def test_a_body_of_slack_that_was_changed_by_one_byte_is_refused(slack: SlackLab) -> None:
    _, events = slack.slack.says(channel=CHANNEL, user=ADA, text=f"{MENTION} changed")
    body = json.dumps(events[0]).encode()
    headers = {"Content-Type": "application/json", **standin.signed(body)}

    @given(place=st.integers(0, len(body) - 1), flip=st.integers(1, 255))
    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    def refused(place: int, flip: int) -> None:
        changed = body[:place] + bytes([body[place] ^ flip]) + body[place + 1 :]
        assert httpx.post(f"{slack.url}/slack/events", content=changed, headers=headers).status_code == 401

    await asyncio.to_thread(refused)
    assert await slack.nothing_recorded()


async def test_forged_and_mutated_webhooks_get_401_and_leave_nothing(github: GitHubLab) -> None:
    talk = github.github.world.add_issue(github.repo, login="Ada", title="Blue")
    comment = github.github.world.add_comment(talk, login="Ada", body="@branchline make it blue")
    body = json.dumps(github.github.hooks.commented(github.repo, talk, comment)).encode()
    good = signed(body, event=EVENT, secret=SECRET, guid="g")
    before = len(github.items())
    bad = [
        (body.replace(b"blue", b"pink"), good),
        (body + b" ", good),
        (body, {k: v for k, v in good.items() if k != "X-Hub-Signature-256"}),
        (body, signed(body, event=EVENT, secret="another", guid="g")),
        (body, signed(body, event=EVENT, secret="", guid="g")),
        (body, {**good, "X-Hub-Signature-256": "sha256=" + "0" * 64}),
        (body, {**good, "X-Hub-Signature-256": "sha1=" + "0" * 40}),
        (body, {**good, "X-Hub-Signature-256": ""}),
        (b"", good),
    ]
    for raw, headers in bad:
        assert (await github.post(raw, headers)).status_code == 401
    assert len(github.items()) == before
    assert not github.github.requests


async def test_a_signature_with_letters_beyond_ascii_is_401(github: GitHubLab) -> None:
    headers = signed(b"{}", event=EVENT, secret=SECRET, guid="g")
    raw = {k: v.encode() for k, v in headers.items()} | {"X-Hub-Signature-256": "sha256=ä".encode("latin-1")}
    assert (await github.post(b"{}", raw)).status_code == 401  # type: ignore[arg-type]


async def test_a_body_of_github_that_was_changed_by_one_byte_is_refused(github: GitHubLab) -> None:
    body = comment(github)
    headers = signed(body, event=EVENT, secret=SECRET, guid="g")

    @given(place=st.integers(0, len(body) - 1), flip=st.integers(1, 255))
    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    def refused(place: int, flip: int) -> None:
        changed = body[:place] + bytes([body[place] ^ flip]) + body[place + 1 :]
        answer = httpx.post(f"{github.url}/github/webhook", content=changed, headers=headers, trust_env=False)
        assert answer.status_code == 401

    await asyncio.to_thread(refused)
    assert not github.messages()
    assert (await github.post(body, headers)).status_code == 202


async def test_no_text_in_the_place_of_the_signature_lets_anybody_in(github: GitHubLab) -> None:
    body = comment(github)
    headers = signed(body, event=EVENT, secret=SECRET, guid="g")

    @given(given_signature=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=200))
    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    def refused(given_signature: str) -> None:
        forged = {**headers, "X-Hub-Signature-256": given_signature}
        answer = httpx.post(f"{github.url}/github/webhook", content=body, headers=forged, trust_env=False)
        assert answer.status_code == 401

    await asyncio.to_thread(refused)
    assert not github.messages()
    assert not github.github.requests


def comment(github: GitHubLab) -> bytes:
    """The body of a webhook that calls."""
    talk = github.github.world.add_issue(github.repo, login="Ada", title="Blue")
    said = github.github.world.add_comment(talk, login="Ada", body="@branchline make it blue")
    return json.dumps(github.github.hooks.commented(github.repo, talk, said)).encode()
