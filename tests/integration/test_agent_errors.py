"""A model that cannot answer: one clear sentence each, never an endless wait."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from agent_lab import Lab, ask, laboratory, text_of

from worker.ports import Retry

pytestmark = pytest.mark.slow


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with laboratory(tmp_path) as lab:
        yield lab


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "The model at {host} refused the key (status 401): check ANTHROPIC_API_KEY."),
        (403, "The model at {host} refused the key (status 403): check ANTHROPIC_API_KEY."),
        (404, "The model at {host} is not known there or not open to this key: check ANTHROPIC_MODEL."),
        (500, "The model at {host} failed (status 500): try again in a few minutes."),
    ],
)
async def test_a_refusal_of_the_model_is_one_sentence(lab: Lab, status: int, sentence: str) -> None:
    events, result = await ask(lab.agent(), lab.turn(f"do: error {status}"))
    assert (result.ended, result.crashed) == ("failed", False)
    assert result.text == sentence.format(host=lab.model.url.removeprefix("http://"))
    assert text_of(events) == ""
    assert lab.alive() == []


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (429, "The model at {host} takes no more requests for now (status 429)."),
        (529, "The model at {host} is overloaded (status 529)."),
    ],
)
async def test_a_busy_model_is_a_limit_without_an_end(lab: Lab, status: int, sentence: str) -> None:
    _, result = await ask(lab.agent(), lab.turn(f"do: error {status}"))
    assert (result.ended, result.crashed, result.resets_at) == ("limited", False, None)
    assert result.text == sentence.format(host=lab.model.url.removeprefix("http://"))


async def test_a_bad_request_is_told_with_what_the_model_said(lab: Lab) -> None:
    _, result = await ask(lab.agent(), lab.turn("do: error 400"))
    assert result.ended == "failed"
    assert "refused the request (status 400)" in result.text


async def test_an_unreachable_model_is_named(lab: Lab) -> None:
    with socket.socket() as taken:  # bound, not listening: nobody else gets the port, and it refuses
        taken.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        model_env = {"ANTHROPIC_BASE_URL": f"http://{host}", "ANTHROPIC_API_KEY": "k"}
        events, result = await ask(lab.agent(model_env=model_env), lab.turn("x"))
    assert result.ended == "failed"
    assert result.text.startswith(f"The model at {host} could not be reached")
    assert [(event.attempt, event.status) for event in events if isinstance(event, Retry)] == [(1, None)]


async def test_a_missing_key_is_told(lab: Lab) -> None:
    _, result = await ask(lab.agent(model_env={"ANTHROPIC_BASE_URL": lab.model.url}), lab.turn("x"))
    assert result.ended == "failed"
    assert result.text.startswith("There is no key for the model")
