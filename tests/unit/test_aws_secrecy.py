"""What is refused because it would be readable where it goes."""

from pathlib import Path

import pytest

from cdk.settings import AwsSettings
from fleet.deploy import parts
from fleet.deploy.secrecy import refuse_secrets_in, refuse_secrets_of_address
from fleet.problem import Problem

PEOPLE = '[project.p]\nrepo = "https://example.invalid/site.git"\n[user.a]\nprojects = ["p"]\n'
TOKEN = "ghp_" + "a1" * 18


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('slack_bot_token = "x"\n', "slack_bot_token"),
        ('[aws]\nenvironment = {SLACK_BOT_TOKEN = "x"}\n', "aws.environment.SLACK_BOT_TOKEN"),
        (
            '[aws]\nworker_environment = {ANTHROPIC_AUTH_TOKEN = "x"}\n',
            "aws.worker_environment.ANTHROPIC_AUTH_TOKEN",
        ),
        (f'[project.q]\nrepo = "https://user:{TOKEN}@example.invalid/a.git"\n', "project.q.repo"),
        (f'[project.q]\nrepo = "https://{TOKEN}@example.invalid/a.git"\n', "project.q.repo"),
        ('[project.q]\nrepo = "ssh://git:word@example.invalid/a.git"\n', "project.q.repo"),
        ('[aws]\nenvironment = {PROXY = "http://u:p@proxy.invalid"}\n', "aws.environment.PROXY"),
        (f'[project.q]\nrepo = "r"\npreview.command = "X={TOKEN} npm start"\n', "project.q.preview.command"),
        (f'[[more]]\nname = ["{TOKEN}"]\n', "more.name"),
    ],
)
def test_a_secret_is_found_wherever_it_stands(tmp_path: Path, text: str, place: str) -> None:
    (tmp_path / "branchline.toml").write_text(text + PEOPLE)
    with pytest.raises(Problem) as told:
        parts.checked_config(tmp_path / "branchline.toml")
    assert place in told.value.sentence
    assert " instead" in told.value.sentence or "write the address without it" in told.value.sentence
    assert TOKEN not in told.value.sentence


def test_what_only_speaks_of_secrets_is_let_through(tmp_path: Path) -> None:
    text = """
    [aws]
    model_key = "CLAUDE_CODE_OAUTH_TOKEN"
    github_secret = true
    worker_environment = {MAX_THINKING_TOKENS = "8000", ANTHROPIC_BASE_URL = "https://model.example"}
    [project.monkey]
    repo = "ssh://git@example.invalid/monkey.git"
    slack_channels = ["T1/C1"]
    [project.other]
    repo = "git@example.invalid:you/other.git"
    """
    (tmp_path / "branchline.toml").write_text(text + PEOPLE)
    assert set(parts.checked_config(tmp_path / "branchline.toml").project) == {"monkey", "other", "p"}


@pytest.mark.parametrize("part", ["environment", "worker_environment"])
@pytest.mark.parametrize("name", ["SLACK_BOT_TOKEN", "PLAIN"])
def test_variables_are_looked_at_wherever_they_were_set(
    part: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"BRANCHLINE_AWS_{part.upper()}", f'{{"{name}": "{TOKEN}"}}')
    with pytest.raises(Problem, match=rf"aws\.{part}\.{name}.*instead"):
        refuse_secrets_in(AwsSettings())


def test_an_address_with_a_token_is_refused_before_it_is_written() -> None:
    with pytest.raises(Problem, match="--repo holds an address"):
        refuse_secrets_of_address(f"https://{TOKEN}@example.invalid/a.git")
    refuse_secrets_of_address("https://example.invalid/a.git")
