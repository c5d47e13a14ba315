"""Runs in the environment of its own: the stacks as they come, with everything that can be chosen, and as
other choices make them.

``python -m tests.aws.variants FOLDER`` writes ``FOLDER/plain``, ``FOLDER/full``, ``FOLDER/keyless`` (where
all users bring keys), ``FOLDER/named`` (with a domain alone, whose records are elsewhere), ``FOLDER/pool``
(which excludes what is chosen in ``full``), ``FOLDER/quiet`` (nobody who looks) and ``FOLDER/reasons.json``.
One process for all, because what takes long is to start.
"""

import json
import sys
from pathlib import Path

from cdk.app import build
from cdk.dispatcher import Code
from cdk.nag import REASONS, checks
from cdk.settings import AwsSettings

FULL = AwsSettings(
    workspace="efs",
    disk_gb=50,
    github_secret=True,
    own_keys="allowed",
    reserved_concurrency=50,
    alarm_email="ops@example.com",
    budget_dollars=200,
    worker_environment={"ANTHROPIC_BASE_URL": "https://model.example"},
    environment={"BRANCHLINE_POSTS_PER_MINUTE": "60"},
    domain="fleet.example.com",
    certificate="arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012",
    hosted_zone="Z0123456789ABCDEFGHIJ",
)
KEYLESS = AwsSettings(own_keys="required")
NAMED = AwsSettings(
    domain="fleet.example.com",
    certificate=str(FULL.certificate),
)

QUIET = AwsSettings(watch=False)


def main(folder: Path) -> None:
    """Write all."""
    asset, config = folder / "asset", folder / "config"
    for made in (asset, config):
        made.mkdir(parents=True)
    (asset / "standin.py").write_text("# stands in for the dispatcher's zip\n")
    (config / "branchline.toml").write_text('[project.site]\nrepo = "https://example.invalid/site.git"\n')
    variants = {
        "plain": AwsSettings(),
        "full": FULL,
        "keyless": KEYLESS,
        "named": NAMED,
        "pool": AwsSettings(warm_pool=2),
        "quiet": QUIET,
    }
    for name, settings in variants.items():
        code = Code(asset=asset, config=config if settings is FULL else None)
        app = build(settings=settings, code=code, image_tag="tag", out=folder / name)
        checks(app)
        app.synth()
    (folder / "reasons.json").write_text(json.dumps(REASONS))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
