"""What the checkout asks of the preview: which kind of site it is, and which dependencies it needs.

Only reads files, apart from the stamp inside ``node_modules``. Whatever is in the checkout may be half
written or nonsense; nothing in here raises because of it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from worker.preview_plan import Site

_STAMP = Path("node_modules") / ".branchline-lock"
_ACTUAL = Path("node_modules") / ".package-lock.json"
"""npm's own record of what is really in ``node_modules``."""


def look(path: Path, *, command: str | None) -> Site:
    """The site in the checkout at ``path``; ``command`` is the project's own way to serve it, if any."""
    package = _json(path / "package.json")
    if command == "none":
        return Site(kind="none")
    if command:
        return Site(kind="shell", dependencies=_wanted(path, package=package) if package else "")
    if any("astro" in _table(package, key) for key in ("dependencies", "devDependencies")):
        return Site(kind="astro", dependencies=_wanted(path, package=package))
    return Site(kind="none")


def installed(path: Path, *, wanted: str) -> str | None:
    """``wanted`` if those dependencies are there, else what else is, else None."""
    if not (path / "node_modules").is_dir():
        return None
    try:
        stamp = (path / _STAMP).read_text()
    except (OSError, UnicodeDecodeError):
        stamp = ""
    # Claude Code may have installed them itself: then all that the lock file names is there.
    return wanted if stamp == wanted or _covered(path) else stamp or None


def forget_installed(path: Path) -> None:
    """Before an install: if it is cut short, nothing must say that it was done."""
    (path / _STAMP).unlink(missing_ok=True)
    (path / _ACTUAL).unlink(missing_ok=True)


def stamp_installed(path: Path, *, dependencies: str) -> None:
    """After an install. A project without any package gets its empty ``node_modules`` here."""
    (path / _STAMP).parent.mkdir(exist_ok=True)
    (path / _STAMP).write_text(dependencies)


def install_argv(path: Path) -> tuple[str, ...]:
    """Arguments for npm. Without a lock file none is written: it would be committed as somebody's work."""
    quiet = ("--no-audit", "--no-fund")
    if (path / "package-lock.json").is_file():
        return ("ci", *quiet)
    return ("install", "--no-package-lock", *quiet)


def astro_script(path: Path) -> Path:
    """The script behind the ``astro`` program; npm's launcher for it costs a second Node.js."""
    entry = _json(path / "node_modules" / "astro" / "package.json").get("bin")
    script = entry.get("astro") if isinstance(entry, dict) else entry
    return path / "node_modules" / "astro" / (script if isinstance(script, str) else "bin/astro.mjs")


def _wanted(path: Path, *, package: dict[str, Any]) -> str:
    try:
        source = (path / "package-lock.json").read_bytes()
    except OSError:
        keys = ("dependencies", "devDependencies", "optionalDependencies", "overrides")
        source = json.dumps([package.get(key) for key in keys], sort_keys=True).encode()
    return hashlib.sha256(source).hexdigest()


def _covered(path: Path) -> bool:
    wanted = _table(_json(path / "package-lock.json"), "packages")
    actual = _table(_json(path / _ACTUAL), "packages")
    named = {name: entry for name, entry in wanted.items() if name and isinstance(entry, dict)}
    # The record alone is not proof: ``npm install --package-lock-only`` writes it and installs nothing.
    return bool(named) and all(
        name in actual
        and actual[name].get("version") == entry.get("version")
        and (path / name / "package.json").is_file()
        for name, entry in named.items()
        if not entry.get("optional")
    )


def _table(value: dict[str, Any], key: str) -> dict[str, Any]:
    table = value.get(key)
    return table if isinstance(table, dict) else {}


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
