"""The synthesized stacks, made once for all tests of a checkout, and a way to read them.

Synthesis takes seconds and an environment of its own, so what it wrote is kept below ``.branchline`` for as
long as nothing changes that goes into it.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

from worker.node import find_node

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".branchline"
PYTHON = STATE / "cdk-venv" / "bin" / "python"
STACKS = ("BranchlineData", "BranchlineWorkers", "BranchlineDispatcher", "BranchlineWatch")
EDGE = "BranchlineEdge"
"""There with a domain alone."""
IN_ORDER = (*STACKS[:-1], EDGE, STACKS[-1])
SECONDS = 600
"""How long a test may take that synthesizes first, on a busy machine."""
_GOES_IN = ("cdk/*.py", "contracts/*.py", "requirements-cdk.txt", "tests/aws/variants.py")
Resource = dict[str, Any]


def cdk_python() -> Path:
    """The interpreter that has CDK. Skips the test without it; under CI=true fails instead."""
    if not PYTHON.exists():
        _missing("no environment with CDK: run ./scripts/synth --install")
    return PYTHON


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def cdk_command() -> str:
    """CDK's own command as it is pinned. Skips the test without it; under CI=true fails instead."""
    path = ROOT / "cdk" / "node_modules" / "aws-cdk" / "bin" / "cdk"
    if not path.exists():
        _missing("CDK's command is not installed: run ./scripts/synth --install")
    return str(path)


def node_path() -> str:
    """A PATH on which a Node.js comes first that CDK likes."""
    folder = STATE / "test-node"
    folder.mkdir(parents=True, exist_ok=True)
    return f"{find_node(state_dir=folder).bin_dir}{os.pathsep}{os.environ['PATH']}"


def cdk_environment() -> dict[str, str]:
    """For processes that describe AWS: nothing of this process's settings, nor of its credentials."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "BRANCHLINE_"))}
    return {**kept, "PATH": node_path(), "PYTHONPATH": str(ROOT)}


def synthesized() -> Path:
    """The folder with all variants; made when something has changed since."""
    python = cdk_python()
    content = [p.read_bytes() for pattern in _GOES_IN for p in sorted(ROOT.glob(pattern))]
    digest = hashlib.sha256(b"\0".join(content)).hexdigest()[:16]
    where = STATE / "test-synth"
    where.mkdir(parents=True, exist_ok=True)
    with (where / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (where / digest / "reasons.json").exists():
            for old in where.iterdir():
                if old.is_dir():
                    shutil.rmtree(old)
            _synthesize(python, where / digest)
    return where / digest


def _synthesize(python: Path, folder: Path) -> None:
    argv = [python, "-m", "tests.aws.variants", folder]
    done = subprocess.run(
        argv, cwd=ROOT, env=cdk_environment(), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


class Template:
    """One stack's template."""

    def __init__(self, plain: Mapping[str, Any]) -> None:
        self.resources: dict[str, Resource] = dict(plain["Resources"])
        self.outputs: dict[str, Any] = dict(plain.get("Outputs", {}))
        self.imports = frozenset(_imported(plain))

    @property
    def exports(self) -> dict[str, str]:
        """What others may refer to: name and value, as text."""
        shown = [o for o in self.outputs.values() if "Export" in o]
        return {o["Export"]["Name"]: text(o["Value"]) for o in shown}

    def of(self, type_: str) -> list[Resource]:
        """The properties of all resources of a type such as ``SQS::Queue``."""
        found = [r for r in self.resources.values() if r["Type"] == f"AWS::{type_}"]
        return [dict(r.get("Properties", {})) for r in found]

    def one(self, type_: str) -> Resource:
        """Those of the only one."""
        (found,) = self.of(type_)
        return found

    def statements(self) -> Iterator[Resource]:
        """Every statement of every policy, with single values as lists and ARNs as text."""
        for resource in self.resources.values():
            properties = resource.get("Properties", {})
            inline = [policy["PolicyDocument"] for policy in properties.get("Policies", ())]
            for document in [properties.get("PolicyDocument"), *inline]:
                for statement in document["Statement"] if document else ():
                    yield {**statement, "Action": _list(statement["Action"]), "Resource": _texts(statement)}


class Assembly:
    """All stacks of one variant."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        texts = {p.name.split(".")[0]: p.read_text() for p in folder.glob("*.template.json")}
        self.texts = texts
        self.templates = {name: Template(json.loads(text)) for name, text in texts.items()}
        self.report = json.loads((folder / "validation-report.json").read_text())

    def __getitem__(self, name: str) -> Template:
        return self.templates[f"Branchline{name}"]

    def of(self, type_: str) -> list[Resource]:
        """The properties of all resources of a type, in all stacks."""
        return [found for template in self.templates.values() for found in template.of(type_)]


def text(value: Any) -> str:
    """An expression of CloudFormation's as a person would write it; anything else as JSON."""
    match value:
        case str():
            return value
        case {"Ref": name}:
            return f"${{{plain_name(name)}}}"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"${{{plain_name(name)}.{attribute}}}"
        case {"Fn::ImportValue": str(name)}:
            return f"${{{re.sub('Exports?Output(Ref|FnGetAtt)?', '', plain_name(name))}}}"
        case {"Fn::Join": [between, parts]}:
            return str(between).join(text(part) for part in parts)
    return json.dumps(value, sort_keys=True)


def _imported(value: Any) -> Iterator[str]:
    """The names of all exports that are referred to."""
    if isinstance(value, Mapping):
        if "Fn::ImportValue" in value:
            yield value["Fn::ImportValue"]
        for part in value.values():
            yield from _imported(part)
    elif isinstance(value, list):
        for part in value:
            yield from _imported(part)


def plain_name(name: str) -> str:
    """A logical id without the digests that CDK puts into it."""
    return re.sub(r"[0-9A-F]{8}(?=[A-Z][a-z])", "", re.sub(r"([0-9A-F]{8})+$", "", name))


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def _texts(statement: Resource) -> list[str]:
    return [text(resource) for resource in _list(statement.get("Resource", []))]
