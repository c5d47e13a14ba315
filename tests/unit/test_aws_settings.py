"""Settings of AWS: where they come from, and what is refused before it costs anything."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from cdk.settings import AwsSettings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BRANCHLINE_CONFIG", raising=False)
    return tmp_path


def test_the_environment_is_over_the_file_and_the_file_over_defaults(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "branchline.toml").write_text('table = "x"\n[aws]\nmemory = 8192\nidle_minutes = 5\n')
    monkeypatch.setenv("BRANCHLINE_AWS_IDLE_MINUTES", "7")
    settings = AwsSettings()
    assert (settings.memory, settings.idle_minutes, settings.cpu) == (8192, 7, 1024)


def test_a_misspelled_key_is_refused(folder: Path) -> None:
    (folder / "branchline.toml").write_text("[aws]\nidle_minute = 5\n")
    with pytest.raises(ValidationError, match="idle_minute"):
        AwsSettings()


def test_memory_that_fargate_does_not_sell_is_refused() -> None:
    with pytest.raises(ValidationError, match="512 CPU units come with 1024 to 4096 MiB"):
        AwsSettings(cpu=512, memory=8192)


def test_a_budget_needs_somebody_to_tell() -> None:
    with pytest.raises(ValidationError, match="a budget needs alarm_email"):
        AwsSettings(budget_dollars=10)
