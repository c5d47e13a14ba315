"""What the tests of the Lambda asset share: the zip, unpacked, and processes that see nothing else."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dispatcher.signin_records import digest
from fleet.asset.build import ROOT, Asset, build
from tests.fakes.dispatcher import environment
from tests.fakes.runtime_api import LambdaFunction, function

TOKEN = "blt_of-the-lambda"
BEARER = {"authorization": f"Bearer {TOKEN}"}
JSON = {"content-type": "application/json"}
PACKAGES = Path(sysconfig.get_path("purelib"))
_ASK = """
import json, sys
sys.path.insert(0, ".")
from dispatcher.lambda_entry import handle
asked = json.load(sys.stdin)
with open(asked["to"], "w") as told:
    json.dump([handle(event, None) for event in asked["events"]], told)
"""


def built(folder: Path) -> Asset:
    """The asset of this checkout, without bytecode, which takes a while."""
    return build(folder / "dispatcher.zip", packages=PACKAGES, python=None)


def unpacked(asset: Asset, folder: Path) -> Path:
    """The folder that a Lambda would see."""
    with zipfile.ZipFile(asset.path) as zipped:
        zipped.extractall(folder)
        for entry in zipped.infolist():  # extractall forgets what may be executed
            (folder / entry.filename).chmod(entry.external_attr >> 16 & 0o777)
    return folder


def lambda_env(engine_url: str, account: str, **more: str) -> dict[str, str]:
    """The environment of the Lambda: a sign-in, a token that may do everything, nothing of this process's."""
    login = {"BRANCHLINE_LOGIN": "accounts", "BRANCHLINE_OPERATOR_TOKEN_HASH": digest(TOKEN)}
    env = environment(engine_url=engine_url, account=account, **{**login, **more})
    return {k: v for k, v in env.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}


def interpreter(folder: Path) -> Path:
    """An interpreter with its standard library and the current folder, and nothing else. Unlike Lambda it may
    keep what it compiles, so that only the first process of a run takes long."""
    shim = folder / "python3"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    shim.chmod(0o755)
    return shim


@contextmanager
def streaming(folder: Path, *, tmp_path: Path, seconds: float = 30.0, **env: str) -> Iterator[LambdaFunction]:
    """The function as it is deployed: Lambda starts the wrapper with the runtime's own arguments."""
    argv = [str(folder / "dispatcher-stream"), str(interpreter(tmp_path)), "/var/runtime/bootstrap.py"]
    with function(argv, env=env, cwd=folder, seconds=seconds) as running:
        yield running


def ric_packages() -> Path:
    """Where AWS's client of the Runtime API is installed. Skips the test without it; under CI=true fails."""
    default = ROOT / ".branchline" / "lambda-venv" / "bin" / "python"
    python = Path(os.environ.get("BRANCHLINE_LAMBDA_PYTHON", default))
    if not python.exists():
        reason = f"no environment with awslambdaric at {python}: run ./scripts/lambda-runtime"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    code = "import sysconfig; print(sysconfig.get_path('platlib'))"
    return Path(
        subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    )


@contextmanager
def managed(
    folder: Path, *, seconds: float = 30.0, handler: str = "dispatcher.lambda_entry.handle", **env: str
) -> Iterator[LambdaFunction]:
    """The function in Python's managed runtime, which answers in one piece."""
    argv = [sys.executable, "-S", "-m", "awslambdaric", handler]
    env = {**env, "PYTHONPATH": str(ric_packages()), "_HANDLER": handler}
    with function(argv, env=env, cwd=folder, seconds=seconds) as running:
        yield running


def alone(folder: Path, code: str, *, given: str = "", **env: str) -> str:
    """Run code with the standard library and the unpacked asset, and nothing else; what it printed."""
    argv = [sys.executable, "-I", "-S", "-B", "-c", code]
    done = subprocess.run(argv, cwd=folder, input=given, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ask(folder: Path, events: list[dict[str, Any]], *, tmp_path: Path, **env: str) -> list[dict[str, Any]]:
    """What the entry point says to events, one process for all of them."""
    told = tmp_path / "told.json"
    alone(folder, _ASK, given=json.dumps({"events": events, "to": str(told)}), **env)
    answers: list[dict[str, Any]] = json.loads(told.read_text())
    return answers
