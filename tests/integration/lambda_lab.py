"""What the tests of the Lambda asset share: the zip, unpacked, and processes that see nothing else."""

import json
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

from fleet.asset.build import Asset, build

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
    return folder


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
