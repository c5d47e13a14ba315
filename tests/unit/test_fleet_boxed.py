"""The call that runs a worker's container."""

import os
import subprocess
from pathlib import Path

from fleet import boxed
from fleet.boxes import Engine

# Docker as far as it matters here: a name is taken until its container is removed.
_DOCKER = """#!/bin/sh
case $1 in
  rm) rm -f "$TAKEN" ;;
  run) [ ! -e "$TAKEN" ] || { echo "Conflict. The container name is already in use" >&2; exit 125; }
       echo "started $*" ;;
esac
"""


def test_a_container_that_outlived_dockers_client_does_not_keep_the_next_from_starting(
    tmp_path: Path,
) -> None:
    (tmp_path / "docker").write_text(_DOCKER)
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "taken").touch()
    box = boxed.Box(
        name="b", volume="b", home="h", image="i", port=33000, env=("A",), limits=boxed.Limits()
    )  # fmt: skip
    argv = boxed.run_argv(Engine(name="docker", version=(28,)), box)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TAKEN": str(tmp_path / "taken")}
    done = subprocess.run(argv, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("started run --rm --name b ")
    assert done.stdout.endswith(" i\n")
