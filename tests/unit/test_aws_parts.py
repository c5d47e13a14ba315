"""What a deployment is made of on this machine."""

import tomllib
from pathlib import Path

import pytest

from contracts.config import FleetConfig
from fleet.deploy import parts
from fleet.deploy.deploy import first_user
from fleet.problem import Problem


def checkout(folder: Path) -> Path:
    """A folder with what an image is made of."""
    for name in ("container/Containerfile", "contracts/a.py", "worker/b.py", "requirements.txt", "README.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_an_image_has_another_tag_exactly_when_something_of_it_changes(tmp_path: Path) -> None:
    root = checkout(tmp_path)
    before = parts.image_tag(root)
    (root / "README.md").write_text("something else")
    (root / "worker" / "__pycache__").mkdir()
    (root / "worker" / "__pycache__" / "b.pyc").write_text("compiled")
    assert parts.image_tag(root) == before
    (root / "worker" / "b.py").chmod(0o755)
    executable = parts.image_tag(root)
    (root / "worker" / "b.py").rename(root / "worker" / "c.py")
    assert len({before, executable, parts.image_tag(root)}) == 3


@pytest.mark.parametrize(
    "repo", ["https://example.invalid/you/site.git", "https://example.invalid/a.b/", 'q"\\.git']
)
def test_the_first_file_names_one_project_and_one_operator(repo: str) -> None:
    config = FleetConfig.model_validate(tomllib.loads(parts.first_config(repo=repo, user="mona.lisa")))
    (project,) = config.project
    assert config.project[project].repo == repo
    assert config.user["mona.lisa"].projects == (project,)
    assert first_user(config) == "mona.lisa"


def test_the_first_account_is_an_operators(tmp_path: Path) -> None:
    (tmp_path / "f").write_text('[project.p]\nrepo="r"\n[user.a]\n[user.b]\noperator=true\n')
    assert first_user(parts.checked_config(tmp_path / "f")) == "b"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('slack_bot_token = "x"\n', "holds slack_bot_token"),
        ('[project.p]\nrepo = "r"\n', "names no project or no user"),
        ("[user.a]\n", "names no project or no user"),
    ],
)
def test_a_file_that_tells_secrets_or_names_nobody_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "branchline.toml").write_text(text)
    with pytest.raises(Problem, match=said):
        parts.checked_config(tmp_path / "branchline.toml")


def test_without_docker_and_podman_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        Problem, match=r"neither docker nor podman .*docker was not found; podman was not found"
    ):
        parts.find_tools(home=tmp_path, node=tmp_path, region="eu-west-1")
    for name, answer in (("docker", "exit 1"), ("podman", "echo 4.3.1")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{answer}\n")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(Problem, match=r"run \./scripts/deploy instead"):
        parts.find_tools(home=tmp_path, node=tmp_path, region="eu-west-1")
    (tmp_path / "podman").unlink()
    with pytest.raises(Problem, match=r"docker does not answer.*start its service"):
        parts.find_tools(home=tmp_path, node=tmp_path, region="eu-west-1")


def test_only_what_is_the_dispatchers_goes_into_its_secret() -> None:
    given = {"SLACK_BOT_TOKEN": "x", "GITHUB_APP_ID": "", "ANTHROPIC_API_KEY": "y", "PATH": "z"}
    assert parts.own_secrets(given) == {"SLACK_BOT_TOKEN": "x"}
