"""The stacks of a fleet on AWS, synthesized: ``python -m cdk.app --out FOLDER --asset ZIP``.

Needs no account and calls nobody. What is in a stack says the stack's own file; here is only their order.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from aws_cdk import App, DefaultStackSynthesizer, Tags
from pydantic import ValidationError

from cdk.data import Data
from cdk.dispatcher import Code, Dispatcher
from cdk.edge import Edge
from cdk.nag import checks
from cdk.settings import AwsSettings
from cdk.watch import Watch
from cdk.workers import Workers

DATA, WORKERS, DISPATCHER, EDGE, WATCH = (
    "BranchlineData",
    "BranchlineWorkers",
    "BranchlineDispatcher",
    "BranchlineEdge",
    "BranchlineWatch",
)


def build(*, settings: AwsSettings, code: Code, image_tag: str, out: Path) -> App:
    """The app with all its stacks; ``app.synth()`` writes them to ``out``.

    They fit any account and region: for a given one CDK would have to ask the account for its zones.
    """
    app = App(
        outdir=str(out),
        analytics_reporting=False,
        default_stack_synthesizer=DefaultStackSynthesizer(generate_bootstrap_version_rule=False),
    )
    data = Data(app, DATA, settings=settings)
    workers = Workers(app, WORKERS, settings=settings, data=data, image_tag=image_tag)
    dispatcher = Dispatcher(app, DISPATCHER, settings=settings, data=data, workers=workers, code=code)
    if settings.domain:
        Edge(
            app,
            EDGE,
            settings=settings,
            data=data,
            workers=workers,
            dispatcher=dispatcher,
            code=code,
        )
    if settings.watch:
        Watch(app, WATCH, settings=settings, dispatcher=dispatcher)
    Tags.of(app).add("product", "branchline")
    return app


def main(given: Sequence[str] | None = None) -> int:
    """Exit codes: 0 synthesized, 2 the settings are wrong."""
    wanted = _parser().parse_args(given)
    try:
        settings = AwsSettings()
    except (ValidationError, ValueError) as error:
        print(f"cdk: {error}")
        return 2
    code = Code(asset=wanted.asset, config=wanted.config)
    app = build(settings=settings, code=code, image_tag=wanted.image_tag, out=wanted.out)
    if wanted.nag:
        checks(app)
    app.synth()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cdk.app", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the assembly")
    parser.add_argument("--asset", type=Path, required=True, help="the dispatcher's zip, or a folder")
    parser.add_argument("--config", type=Path, help="folder that holds branchline.toml alone")
    parser.add_argument("--image-tag", default="none", help="tag of the worker's image")
    parser.add_argument("--nag", action="store_true", help="check with cdk-nag; findings fail")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
