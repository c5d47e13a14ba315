"""Stands in for docker, pip and ``scripts/build``, which ``branchline deploy`` starts: notes what was asked.

``python -m tests.aws.deploy_standin NOTES TOOL ARGUMENT...``
"""

import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION", "CDK_DEFAULT_REGION")
"""Each of which somebody reads: our own, CDK's command, or the stacks."""


def main(notes: str, tool: str, *given: str) -> int:
    """Do what the tool would do. ``fail`` as a file beside the notes makes building fail."""
    said: dict[str, Any] = {"tool": tool, "given": given}
    said["stdin"] = sys.stdin.read() if "--password-stdin" in given else None
    said["regions"] = {name: os.environ.get(name) for name in REGIONS}
    said["config"] = os.environ.get("BRANCHLINE_CONFIG")
    with Path(notes).open("a") as file:
        file.write(json.dumps(said) + "\n")
    if "fleet.asset" in given:
        with zipfile.ZipFile(given[given.index("--out") + 1], "w") as zipped:
            zipped.writestr("standin.py", "# stands in for the dispatcher\n")
    refused = tool == "build" and Path(notes).with_name("fail").exists()
    return int(refused)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
