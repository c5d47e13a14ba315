"""``./scripts/build``: build the worker's image, tag it, and push it when told to."""

import argparse
import sys
import time
from collections.abc import Sequence

from fleet import boxes
from fleet.image import bases
from fleet.image.build import TAG, Wanted, build, push
from fleet.problem import Problem
from fleet.settings import load


def main(given: Sequence[str] | None = None) -> int:
    """Exit codes: 0 built, else that of the problem."""
    asked = _parser().parse_args(given)
    began = time.monotonic()
    try:
        engine = boxes.find(state=load().home, wanted=asked.engine)
        _say(f"building with {engine.name} {'.'.join(map(str, engine.version))}")
        if asked.local_base:
            bases.make(engine, say=_say)
        wanted = Wanted(
            tags=tuple(asked.tag or [TAG]),
            platforms=tuple(asked.platform.split(",")) if asked.platform else (),
            arguments=tuple(asked.build_arg),
            fresh=asked.fresh,
            pushed=asked.push,
        )
        build(engine, wanted)
        size = engine.run(
            "image", "inspect", "--format", "{{.Size}}", wanted.tags[0], check=False
        ).stdout.strip()
        megabytes = f", {int(size) / 1e6:.0f} MB" if size.isdigit() else ""
        _say(f"built {', '.join(wanted.tags)} in {time.monotonic() - began:.1f} s{megabytes}")
        if asked.push:
            push(engine, wanted)
            _say(f"pushed {', '.join(wanted.tags)}")
    except Problem as problem:
        print(f"build: {problem.sentence}", file=sys.stderr)
        return problem.code
    return 0


def _say(text: str) -> None:
    print(f"- {text}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/build", description=__doc__)
    parser.add_argument("--tag", action="append", help=f"name of the image, may be repeated ({TAG})")
    parser.add_argument("--push", action="store_true", help="push the tags afterwards")
    parser.add_argument("--engine", choices=("podman", "docker"), help="with which engine (the first found)")
    parser.add_argument(
        "--platform", help="for which platforms, with commas between them: linux/amd64,linux/arm64"
    )
    parser.add_argument("--fresh", action="store_true", help="fetch base images and packages anew")
    parser.add_argument(
        "--local-base", action="store_true", help="make the base images here, without a registry of images"
    )
    parser.add_argument(
        "--build-arg", action="append", default=[], metavar="NAME=VALUE", help="PYTHON_IMAGE or NODE_IMAGE"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
