"""Settings: environment over file over defaults, and what the file's tables become."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from dispatcher.settings import Settings

FILE = """
port = 9000
[project.site]
client = "acme"
repo = "a.git"
preview.command = "npm start"
[project.shop]
repo = "b.git"
[user.ada]
projects = ["site"]
[worker]
something = "of another process"
"""


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("CONFIG", "PORT", "REPO", "PROJECT", "USER", "CLIENT", "HOST", "TABLE"):
        monkeypatch.delenv(f"BRANCHLINE_{name}", raising=False)


def test_without_file_and_environment_the_defaults_hold() -> None:
    settings = Settings()
    assert (settings.host, settings.port, settings.table) == ("127.0.0.1", 8080, "branchline")
    assert (settings.user, settings.client, settings.projects) == ("local", "local", {})


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("branchline.toml").write_text(FILE)
    assert Settings().port == 9000
    monkeypatch.setenv("BRANCHLINE_PORT", "9001")
    assert Settings().port == 9001


def test_another_file_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("port = 7000")
    monkeypatch.setenv("BRANCHLINE_CONFIG", str(tmp_path / "other.toml"))
    assert Settings().port == 7000


def test_a_named_file_that_is_missing_is_said_clearly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRANCHLINE_CONFIG", "nowhere.toml")
    with pytest.raises(FileNotFoundError, match="BRANCHLINE_CONFIG names nowhere"):
        Settings()


def test_the_files_tables_become_projects_and_users(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("branchline.toml").write_text(FILE)
    monkeypatch.setenv("BRANCHLINE_USER", "ada")
    settings = Settings()
    assert settings.user == "ada"
    assert set(settings.projects) == {"site", "shop"}
    assert settings.projects["site"].preview.command == "npm start"
    assert settings.fleet.user["ada"].projects == ("site",)
    assert settings.default_project is None


def test_a_repository_alone_is_one_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRANCHLINE_REPO", "/srv/site.git")
    settings = Settings()
    assert settings.default_project == "site"
    assert settings.projects["site"].repo == "/srv/site.git"
    monkeypatch.setenv("BRANCHLINE_PROJECT", "shop")
    assert set(Settings().projects) == {"shop"}


def test_the_only_project_of_a_file_is_the_default() -> None:
    Path("branchline.toml").write_text('[project.shop]\nrepo = "b.git"')
    assert Settings().default_project == "shop"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1


def test_every_setting_has_a_sentence() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
