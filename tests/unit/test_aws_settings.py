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


def test_a_warm_pool_and_a_shared_disk_exclude_each_other() -> None:
    assert AwsSettings(warm_pool=2).warm_pool == 2
    with pytest.raises(ValidationError, match="a warm pool needs workspace"):
        AwsSettings(warm_pool=1, workspace="efs")


def test_a_budget_needs_somebody_to_tell() -> None:
    with pytest.raises(ValidationError, match="a budget needs alarm_email"):
        AwsSettings(budget_dollars=10)


# ---------------------------------------------------------------- a domain

CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"


def test_a_domain_comes_with_its_certificate_and_a_zone_with_a_domain() -> None:
    AwsSettings(domain="chat.example.com", certificate=CERTIFICATE, hosted_zone="Z0123456789ABC")
    with pytest.raises(ValidationError, match="domain and certificate belong together"):
        AwsSettings(domain="chat.example.com")
    with pytest.raises(ValidationError, match="domain and certificate belong together"):
        AwsSettings(certificate=CERTIFICATE)
    with pytest.raises(ValidationError, match="set domain as well"):
        AwsSettings(hosted_zone="Z0123456789ABC")


def test_a_certificate_of_another_region_is_refused() -> None:
    with pytest.raises(ValidationError, match="certificate"):
        AwsSettings(domain="chat.example.com", certificate=CERTIFICATE.replace("us-east-1", "eu-west-1"))


@pytest.mark.parametrize(
    "name", ["https://chat.example.com", "*.example.com", "chat.example.com/", "chat", "A.b.de"]
)
def test_what_is_no_bare_name_is_no_domain(name: str) -> None:
    with pytest.raises(ValidationError, match="domain"):
        AwsSettings(domain=name, certificate=CERTIFICATE)


@pytest.mark.parametrize("name", ["BRANCHLINE_PUBLIC_URL", "BRANCHLINE_PUBLIC_HOST", "BRANCHLINE_EDGE_KEY"])
def test_what_the_domain_says_cannot_be_said_otherwise(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name} comes from domain"):
        AwsSettings(domain="chat.example.com", certificate=CERTIFICATE, environment={name: "x"})
    assert AwsSettings(environment={name: "x"}).environment == {name: "x"}
