"""Where settings come from, and what of them may be shown."""

import json
from pathlib import Path

import pytest

from fleet import environment
from fleet.problem import USAGE, Problem
from fleet.settings import fleet_config, load, redacted, without_credentials


@pytest.fixture(autouse=True)
def _plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "PORT", "PREVIEW_PORT", "URL", "CONFIG", "TOKEN", "HOST"):
        monkeypatch.delenv(f"BRANCHLINE_{name}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_arguments_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "branchline.toml").write_text("port = 1001\npreview_port = 1002\nregion = 'eu-1'\n")
    monkeypatch.setenv("BRANCHLINE_PREVIEW_PORT", "2002")
    monkeypatch.setenv("BRANCHLINE_PORT", "2001")
    settings = load(port=3001, preview_port=None)
    assert (settings.port, settings.preview_port, settings.region) == (3001, 2002, "eu-1")


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRANCHLINE_PORT", "")
    assert load().port == 8080


def test_a_relative_home_with_spaces_becomes_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRANCHLINE_HOME", "my state")
    assert load().home == (tmp_path / "my state").resolve()


def test_the_address_follows_the_port_unless_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(port=9000).address == "http://127.0.0.1:9000"
    assert load(host="0.0.0.0").address == "http://127.0.0.1:8080"
    monkeypatch.setenv("BRANCHLINE_URL", "https://fleet.example/")
    assert load().address == "https://fleet.example"


@pytest.mark.parametrize("text", ["port = ", "port = 70000"])
def test_a_wrong_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "branchline.toml").write_text(text)
    with pytest.raises(Problem) as caught:
        load()
    assert caught.value.code == USAGE
    assert "\n" not in caught.value.sentence


def test_a_wrong_project_is_one_sentence_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "branchline.toml").write_text("[project.x]\nnonsense = 1")
    with pytest.raises(Problem, match=r"branchline\.toml.*project\.x"):
        fleet_config()


def test_a_configuration_that_is_named_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRANCHLINE_CONFIG", "nowhere.toml")
    with pytest.raises(Problem, match=r"nowhere\.toml"):
        load()


def test_what_is_shown_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRANCHLINE_TOKEN", "s3cret-a")
    outside = {
        "ANTHROPIC_API_KEY": "s3cret-b",
        "GITHUB_TOKEN": "s3cret-c",
        "SLACK_SIGNING_SECRET": "s3cret-d",
        "GITHUB_APP_PRIVATE_KEY": "s3cret-e",
        "ANTHROPIC_BASE_URL": "https://me:s3cret-f@model.example/v1",
        "CLAUDE_CODE_OAUTH_TOKEN": "s3cret-g",
    }
    text = json.dumps(redacted(load(), outside))
    assert "s3cret" not in text
    assert all(name in text for name in outside)
    assert "https://model.example/v1" in text


def test_a_url_loses_its_user_and_password() -> None:
    assert without_credentials("https://x:y@host/a@b") == "https://host/a@b"
    assert without_credentials("/a/path@here") == "/a/path@here"


OUTSIDE = {
    "PATH": "/bin",
    "ANTHROPIC_API_KEY": "model",
    "GITHUB_TOKEN": "repository",
    "SLACK_BOT_TOKEN": "chat",
    "GITHUB_WEBHOOK_SECRET": "hook",
    "AWS_PROFILE": "mine",
    "AWS_SECRET_ACCESS_KEY": "account",
    "BRANCHLINE_TOKEN": "api",
    "BRANCHLINE_HANDLE": "@bot",
    "CLAUDECODE": "outer",
    "UNRELATED_PASSWORD": "other",
}


def test_a_secret_is_only_where_it_is_used() -> None:
    worker = environment.for_worker(OUTSIDE, offline_url=None)
    dispatcher = environment.for_dispatcher(OUTSIDE)
    minimal = environment.minimal(OUTSIDE)
    assert set(worker.values()) & set(OUTSIDE.values()) == {"/bin", "model", "repository", "@bot"}
    assert set(dispatcher.values()) & set(OUTSIDE.values()) == {"/bin", "chat", "hook", "api", "@bot"}
    assert set(minimal.values()) & set(OUTSIDE.values()) == {"/bin"}


def test_the_offline_model_is_used_only_when_no_model_is_configured() -> None:
    assert environment.model_is_configured({"ANTHROPIC_BASE_URL": "http://m"})
    assert not environment.model_is_configured({"ANTHROPIC_API_KEY": ""})
    worker = environment.for_worker({"PATH": "/bin"}, offline_url="http://127.0.0.1:1")
    assert worker["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:1"
    assert worker["ANTHROPIC_API_KEY"] == "offline"
