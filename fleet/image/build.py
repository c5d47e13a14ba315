"""The worker's image: what goes into the build, the call that builds it, tags and pushes.

Only what the image holds is handed to the engine, so that nothing else can get into a layer.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleet.boxes import Engine, follow
from fleet.problem import USAGE, Problem
from fleet.settings import ROOT, Settings

_ONE_HERE = (
    "docker keeps an image for one platform only: add --push, name one platform, or take --engine podman."
)
TAG = str(Settings.model_fields["image"].default)
PARTS = ("container", "contracts", "worker")
_AUTHORITIES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
_PIP = ("/etc/pip.conf", "~/.config/pip/pip.conf", "~/.pip/pip.conf")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to build. ``platforms`` empty: this machine's. ``fresh``: base images and packages are fetched
    anew. ``pushed``: the tags go to their registry."""

    tags: tuple[str, ...] = (TAG,)
    platforms: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    fresh: bool = False
    pushed: bool = False


def build(engine: Engine, wanted: Wanted) -> None:
    """Build and tag; the engine's progress goes to our output. Raises Problem."""
    with _context() as context:
        argv = [
            *build_argv(engine, wanted),
            "--file",
            str(ROOT / "container" / "Containerfile"),
            str(context),
        ]
        if follow(engine, argv):
            raise Problem(f"the image could not be built; {_hint(engine, wanted)}.")
    if engine.name == "podman":
        for tag in wanted.tags[1:]:
            engine.run("tag", wanted.tags[0], tag)


def push(engine: Engine, wanted: Wanted) -> None:
    """Send every tag to its registry, unless building did. Raises Problem."""
    if engine.name == "docker" and len(wanted.platforms) > 1:
        return
    for tag in wanted.tags:
        argv = (
            ["manifest", "push", "--all", tag, f"docker://{tag}"]
            if _several(engine, wanted)
            else ["push", tag]
        )
        if follow(engine, argv):
            raise Problem(f"{tag} could not be pushed; sign in to its registry ({engine.name} login) first.")


def _several(engine: Engine, wanted: Wanted) -> bool:
    return engine.name == "podman" and len(wanted.platforms) > 1


def build_argv(engine: Engine, wanted: Wanted) -> list[str]:
    """The engine's arguments up to what is built. Raises Problem for what Docker cannot do."""
    fresh = ["--pull", "--no-cache"] if wanted.fresh else []
    arguments = [*fresh, *_lent(), *(f"--build-arg={pair}" for pair in wanted.arguments)]
    return [*_verb(engine, wanted), *arguments]


def _verb(engine: Engine, wanted: Wanted) -> list[str]:
    platforms = [f"--platform={','.join(wanted.platforms)}"] if wanted.platforms else []
    several = len(wanted.platforms) > 1
    if engine.name == "docker":
        if several and not wanted.pushed:
            raise Problem(_ONE_HERE, code=USAGE)
        # What is built for several platforms Docker can only send away, and only while it builds.
        end = "--push" if several else "--load"
        return ["buildx", "build", end, *platforms, *(f"--tag={tag}" for tag in wanted.tags)]
    # Health checks are no part of the other format.
    name = "--manifest" if several else "--tag"
    return ["build", "--format=docker", "--layers", *platforms, f"{name}={wanted.tags[0]}"]


def _hint(engine: Engine, wanted: Wanted) -> str:
    if engine.name == "docker" and len(wanted.platforms) > 1:
        return (
            "see the lines above; several platforms need a builder of their own"
            " (docker buildx create --use) and a registry that you are signed in to (docker login)"
        )
    return "see the lines above"


def _lent() -> Sequence[str]:
    """Files of this machine that one step of the build may read; nothing of them is in the image."""
    lent = []
    for name, places in (("authority", _AUTHORITIES), ("pip", _pip_files())):
        found = next((place for place in map(os.path.expanduser, places) if Path(place).is_file()), None)
        if found is not None:
            lent.append(f"--secret=id={name},src={found}")
    return lent


def _pip_files() -> tuple[str, ...]:
    named = os.environ.get("PIP_CONFIG_FILE")
    return (named, *_PIP) if named else _PIP


@contextmanager
def _context() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="branchline-image-") as folder:
        context = Path(folder)
        try:
            _fill(context)
        except OSError:  # of many files at once, which has no reason of its own
            raise Problem(
                f"the image's parts could not be put into {context.parent}: it is full, or not to be written"
                " to; free some space, or set TMPDIR to another folder."
            ) from None
        yield context


def _fill(context: Path) -> None:
    for part in PARTS:
        shutil.copytree(
            ROOT / part,
            context / "code" / part,
            ignore=shutil.ignore_patterns("__pycache__", "Containerfile", "golden", "schema"),
        )
    shutil.copy2(ROOT / "requirements-worker.txt", context)
