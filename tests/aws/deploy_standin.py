"""Stands in for processes that ``branchline deploy`` starts: notes that it was asked, and hands out what was
synthesized before.

``python -m tests.aws.deploy_standin NOTES ASSEMBLY TOOL ARGUMENT...``
"""

import json
import shutil
import sys
from pathlib import Path


def main(notes: str, assembly: str, tool: str, *given: str) -> int:
    """Do what the tool would do. ``fail`` as a file beside the notes makes docker fail."""
    said = {"tool": tool, "given": given, "stdin": sys.stdin.read() if "--password-stdin" in given else None}
    with Path(notes).open("a") as file:
        file.write(json.dumps(said) + "\n")
    if tool == "engine" and given[0] == "build" and Path(notes).with_name("fail").exists():
        return 1
    if tool == "cdk-python":
        shutil.copytree(assembly, given[given.index("--out") + 1], dirs_exist_ok=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
