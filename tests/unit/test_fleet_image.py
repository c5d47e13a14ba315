"""Building the worker's image where something is missing."""

import subprocess
import sys

from tests.acceptance.fleet import ROOT

_BUILD = """
import resource
from fleet.boxes import Engine
from fleet.image.build import Wanted, build
from fleet.problem import Problem
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    build(Engine(name="docker", version=(28,)), Wanted())
except Problem as problem:
    print(problem.sentence)
"""


def test_a_full_disk_is_one_sentence_with_what_to_do() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _BUILD], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    assert "free some space, or set TMPDIR" in done.stdout
