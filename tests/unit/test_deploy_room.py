"""Whether AWS has room for what is kept for the sweep: asked before, because the stack would fail without."""

from pathlib import Path

import pytest

from cdk.settings import AwsSettings
from fleet.deploy.cloud import Cloud
from fleet.deploy.deploy import Deployment, Place
from fleet.deploy.parts import Tools


def deployment(tmp_path: Path, *, spare: int | None, keep: int = 10) -> Deployment:
    (tmp_path / "branchline.toml").write_text('[project.site]\nrepo = "https://example.invalid/site.git"\n')
    return Deployment(
        settings=AwsSettings(beside_concurrency=keep),
        place=Place(account="1" * 12, region="eu-central-1", spare=spare),
        tools=Tools.named(),
        cloud=Cloud(region="eu-central-1"),
        config=tmp_path / "branchline.toml",
        home=tmp_path,
        tag="tag",
        keys={},
        bootstrap=False,
        wait=1,
    )


@pytest.mark.parametrize(
    ("spare", "keep", "kept"),
    [(890, 10, True), (10, 10, True), (9, 10, False), (0, 0, True), (None, 10, True)],
)
def test_nothing_is_kept_where_aws_would_refuse_it_and_that_is_said(
    tmp_path: Path, spare: int | None, keep: int, kept: bool
) -> None:
    made = deployment(tmp_path, spare=spare, keep=keep)
    said: list[str] = []
    made.announce(said.append)
    (synth,) = [step for step in made.steps() if step.says == "write the stacks"]
    assert (synth.env.get("BRANCHLINE_AWS_BESIDE_CONCURRENCY") != "0") == kept
    assert any("too few Lambdas" in line for line in said) != kept
