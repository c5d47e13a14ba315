"""What a deployment is made of on this machine: tools, the image's tag, the configuration that goes along."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from contracts.config import FleetConfig
from fleet import boxes
from fleet.deploy.secrecy import refuse_secrets_of
from fleet.problem import USAGE, Problem
from fleet.settings import CONFIG_NAME, ROOT, read_toml

_IN_IMAGE = (
    "container",
    "contracts",
    "worker",
    "requirements.txt",
    "requirements-worker.txt",
    "scripts/build",
)
_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
LAMBDA_PYTHON = "3.13"
_ENGINES: tuple[boxes.Name, ...] = ("docker", "podman")
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION", "CDK_DEFAULT_REGION")
SECRETS = (
    "SLACK_SIGNING_SECRET",
    "SLACK_BOT_TOKEN",
    "GITHUB_WEBHOOK_SECRET",
    "GITHUB_APP_ID",
    "GITHUB_APP_PRIVATE_KEY",
    "BRANCHLINE_GITHUB_CLIENT_ID",
    "BRANCHLINE_GITHUB_CLIENT_SECRET",
)
"""Variables that are put into the dispatcher's secret when they are set here."""


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What does the work: CDK's command, the Python that has it, ours, docker or podman, what builds.

    ``region``: where all of it goes. What else says where (a profile) they find by themselves.
    """

    cdk: str
    cdk_python: str
    python: str
    engine: str
    build: str
    path: str
    region: str = ""

    @classmethod
    def named(cls) -> "Tools":
        """By name only, for a plan."""
        return cls(
            cdk="cdk", cdk_python="python", python="python", engine="docker", build="./scripts/build", path=""
        )

    @property
    def env(self) -> dict[str, str]:
        """For processes that describe AWS."""
        # The stacks fit any region, so CDK takes the one that it is told; each part of it reads another name.
        told = dict.fromkeys(_REGIONS, self.region) if self.region else {}
        return {"PATH": self.path, "CDK_DISABLE_CLI_TELEMETRY": "1", "PYTHONPATH": str(ROOT), **told}


def find_tools(*, home: Path, node: Path, region: str) -> Tools:
    """The tools of this checkout, or those that ``BRANCHLINE_DEPLOY_TOOLS`` names (a JSON object, for tests).

    ``node``: a folder with Node.js. Raises Problem for one that is missing.
    """
    if given := os.environ.get("BRANCHLINE_DEPLOY_TOOLS"):
        return Tools(**json.loads(given), region=region)
    engine = _engine(home)
    cdk = ROOT / "cdk" / "node_modules" / "aws-cdk" / "bin" / "cdk"
    python = home / "cdk-venv" / "bin" / "python"
    if not cdk.exists() or not python.exists():
        raise Problem("what describes AWS is not installed yet: run ./scripts/deploy instead.", code=USAGE)
    build = str(ROOT / "scripts" / "build")
    path = f"{node}{os.pathsep}{os.environ.get('PATH', '')}"
    return Tools(
        cdk=str(cdk),
        cdk_python=str(python),
        python=sys.executable,
        engine=engine,
        build=build,
        path=path,
        region=region,
    )


def image_tag(root: Path = ROOT) -> str:
    """A tag for what the image is made of: another one exactly when something of it has changed."""
    digest = hashlib.sha256()
    for name in _IN_IMAGE:
        place = root / name
        files = sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
        for file in files:
            if "__pycache__" not in file.parts and file.exists():
                digest.update(f"{file.relative_to(root)}\0{file.stat().st_mode & 0o111}\0".encode())
                digest.update(file.read_bytes() + b"\0")
    return digest.hexdigest()[:20]


def new_tag(digest: str, *, rebuild: bool) -> str:
    """The tag of an image that is built now.

    A tag never names another image later, so one that is built again of the same parts is told by the time;
    an upgrade takes the latest (``Cloud.newest_image``).
    """
    return f"{digest}-{datetime.now(UTC):%Y%m%dT%H%M%S}" if rebuild else digest


def packages_argv(tools: Tools, *, folder: Path) -> tuple[str, ...]:
    """What puts the dispatcher's packages for the Lambda's platform into a folder."""
    platforms = [part for name in _PLATFORMS for part in ("--platform", name)]
    fixed = ("--no-deps", "--only-binary", ":all:", "--upgrade", "--quiet", "--python-version", LAMBDA_PYTHON)
    wanted = ("--target", str(folder), "-r", str(ROOT / "requirements-dispatcher.txt"))
    return (tools.python, "-m", "pip", "install", *fixed, *platforms, *wanted)


def compiler() -> str | None:
    """A Python of the Lambda's version, if there is one here."""
    found = shutil.which(f"python{LAMBDA_PYTHON}")
    return found if found and _runs(found) else None


def packing(compiler: str | None) -> str:
    """What is said of packing the zip."""
    if compiler is not None:
        return "pack the dispatcher"
    return (
        f"pack the dispatcher, uncompiled (with a python{LAMBDA_PYTHON} here it would start a second sooner)"
    )


def asset_argv(tools: Tools, *, packages: Path, out: Path, compiler: str | None) -> tuple[str, ...]:
    """What packs the zip."""
    compiled = ("--python", compiler) if compiler else ("--no-bytecode",)
    return (tools.python, "-m", "fleet.asset", "--packages", str(packages), "--out", str(out), *compiled)


def first_config(*, repo: str, user: str) -> str:
    """``branchline.toml`` of a fleet with one project and one person."""
    name = repo.rstrip("/").rsplit("/", 1)[-1].removesuffix(".git") or "project"
    lines = [f"[project.{_quoted(name)}]", f"repo = {_quoted(repo)}", ""]
    return "\n".join(
        [*lines, f"[user.{_quoted(user)}]", f"projects = [{_quoted(name)}]", "operator = true", ""]
    )


def checked_config(path: Path) -> FleetConfig:
    """Projects and users of the file. Raises Problem for one that names nobody or holds a secret."""
    plain = read_toml(path)
    refuse_secrets_of(path, plain)
    try:
        config = FleetConfig.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Problem(f"{path}: {place} is wrong: {first['msg']}. Correct it.", code=USAGE) from None
    if not config.project or not config.user:
        raise Problem(
            f"{path} names no project or no user: write [project.NAME] and [user.NAME] into it.", code=USAGE
        )
    return config


def own_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """What of this environment belongs into the dispatcher's secret."""
    return {name: environment[name] for name in SECRETS if environment.get(name)}


def put_config(path: Path, *, folder: Path) -> Path:
    """A folder that holds the file alone: a layer of the dispatcher."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_NAME).write_bytes(path.read_bytes())
    return folder


def _engine(home: Path) -> str:
    """The first that answers: a docker whose service does not run must not hide a podman that works."""
    said = []
    for name in _ENGINES:
        try:
            return str(shutil.which(boxes.find(state=home, wanted=name).name))
        except Problem as problem:
            said.append(problem.sentence.partition(",")[0].partition(";")[0])
    raise Problem(
        f"neither docker nor podman builds the worker's image here ({'; '.join(said)}): install one, or start"
        " its service.",
        code=USAGE,
    )


def _runs(python: str) -> bool:
    """A version manager's shim may stand for an interpreter that is not there."""
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def _quoted(text: str) -> str:
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    tomllib.loads(f"x = {quoted}")
    return quoted
