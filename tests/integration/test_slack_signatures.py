"""Only Slack is listened to: signatures forged, late, missing or unreadable, over real HTTP."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet.standin.slack import SECRET, signed
from tests.integration.slack_lab import Lab, lab


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
