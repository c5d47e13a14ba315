"""F22: the model or one of its tools prints a secret, whole or in pieces.

Expected: it is redacted in every event, in the reply, in the worker's log and in the commit message, however
the stream is cut: known values of the worker's environment and whatever has the shape of a key.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.lab2 import wire_cli
from tests.integration.worker_lab import Lab, git, worker_lab
from tests.unit.test_redact import KNOWN, PASSWORD, SHAPED, redactor

OWN = {
    "GITHUB_TOKEN": "canary-github-0123456789",
    "ANTHROPIC_API_KEY": "canary-model-0123456789",
    "SLACK_SIGNING_SECRET": "canary-slack-0123456789",
    "AWS_SECRET_ACCESS_KEY": "canary-aws/0123456789+abc",
}
SHAPES = ["ghp_" + "a1B2" * 9, "sk-ant-api03-AbCdEf0123456789-_xyz", "AKIAIOSFODNN7EXAMPLE"]


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path) -> Iterator[Lab]:
    with worker_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


def assert_in_no_sink(lab: Lab, thread: str, secrets: list[str]) -> None:
    """No secret, and no half of one, in the thread's events, the commits' messages or the logs."""
    sinks = {
        "events": "".join(e.model_dump_json() for e in lab.events(thread)),
        "commits": git(lab.remote, "log", "--all", "--format=%an %ae %B"),
        "refs": git(lab.remote, "for-each-ref"),
        "log": lab.logs(),
    }
    for where, text in sinks.items():
        assert text, where
        for secret in secrets:
            assert secret not in text, where
            assert secret[len(secret) // 2 :] not in text, where


@pytest.mark.slow
def test_what_tools_and_the_model_print_is_redacted_in_every_sink(lab: Lab) -> None:
    secrets = [*OWN.values(), *SHAPES]
    lab.start(**OWN)
    shown = "\n".join(f"do: bash echo '{secret}'" for secret in secrets)
    said = " and ".join(secrets)
    lab.post("a", 1, f"Use {said}\n{shown}\ndo: bash env\ndo: write a.txt one\ndo: say They are {said}.")
    assert lab.outcome("a", 1) == "completed"
    (final,) = lab.data("a", "turn.completed")
    assert final.text.count("[redacted]") == len(secrets)
    assert "Use [redacted]" in lab.log("thread-a")[0]
    assert_in_no_sink(lab, "a", secrets)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 3, 16])
def test_a_secret_that_arrives_in_pieces_is_redacted_as_a_whole(lab: Lab, size: int) -> None:
    secrets = [OWN["GITHUB_TOKEN"], SHAPES[0]]
    lab.start(BRANCHLINE_CLI_PATH=str(wire_cli(lab.folder)), **OWN)
    pieces = [s[n : n + size] for s in ["It is:", *secrets] for n in range(0, len(s), size)]
    lab.post("a", 1, "\n".join(["Tell me", "do: write a.txt one", *(f"do: say {p}" for p in pieces)]))
    assert lab.outcome("a", 1) == "completed"
    assert "[redacted]" in "".join(d.text for d in lab.data("a", "turn.text"))
    assert_in_no_sink(lab, "a", secrets)


@pytest.mark.slow
def test_a_failure_that_quotes_a_secret_is_told_without_it(lab: Lab) -> None:
    cli = lab.folder / "leaves"
    cli.write_text(f"#!/bin/sh\necho 'refused: {OWN['GITHUB_TOKEN']} {SHAPES[0]}' >&2\nexit 3\n")
    cli.chmod(0o700)
    lab.start(BRANCHLINE_CLI_PATH=str(cli), **OWN)
    lab.post("a", 1, "do: say never")
    assert lab.outcome("a", 1) == "failed"
    assert "refused: [redacted] [redacted]" in lab.data("a", "turn.failed")[0].text
    assert_in_no_sink(lab, "a", [OWN["GITHUB_TOKEN"], SHAPES[0]])


@given(
    secret=st.sampled_from([*SHAPED, PASSWORD, KNOWN]), before=st.text(), after=st.text(), cut=st.integers()
)
def test_no_secret_is_in_what_was_released_at_any_time(
    secret: str, before: str, after: str, cut: int
) -> None:
    text = f"{before} {secret} {after}"
    stream = redactor.stream()
    where = cut % (len(text) + 1)
    released = stream.feed(text[:where])
    assert secret not in released
    released += stream.feed(text[where:])
    assert secret not in released
    assert secret not in released + stream.flush()
